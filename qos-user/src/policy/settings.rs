//! The settings of the service, `/etc/qosbpf/qosbpf.toml`: the same grammar as a policy, and the same manners with mistakes.

use core::net::SocketAddr;
use std::time::Duration;

use crate::policy::{
    diagnostic::{Finding, Findings, Report, quote},
    source::Source,
    toml,
    tree::{Kind, Node, Table},
    units, words,
};

const KEYS: [&str; 6] = ["listen", "netns", "group", "sample", "upgrade", "link-buffer"];

/// Where metrics are served unless the file says otherwise.
const LISTEN: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), 9776);

/// How often counters may be read for rates: a minute has at least six samples.
const SAMPLES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10);

/// What a socket buffer can be: less is rounded up by the kernel, more is nobody's.
const BUFFERS: std::ops::RangeInclusive<u64> = 4_000..=64_000_000;

/// How the service works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where metrics are served; none: nowhere.
    pub listen: Vec<SocketAddr>,
    /// The network namespace to work in: a name of `ip netns`, or a path.
    pub netns: Option<String>,
    /// Members of this group may confirm, bypass, resume and reload, as root may.
    pub group: Option<String>,
    /// How often counters are read for rates.
    pub sample: Duration,
    /// What becomes of programs that another version attached.
    pub upgrade: Upgrade,
    /// Bytes for what the kernel tells of links until it is read.
    pub link_buffer: usize,
}

/// What becomes of programs that another version attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// They are replaced by this version's, in one step, with their counters.
    Switch,
    /// They stay until the policy changes.
    Keep,
}

/// What a file says, as far as it is right.
#[derive(Debug)]
pub struct Read {
    /// What is wrong or left out is as if the file were not there.
    pub settings: Settings,
    /// What is wrong.
    pub mistakes: Option<Report>,
    /// Whether the file may mean a network namespace that `settings` does not name.
    pub netns_unknown: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: vec![LISTEN],
            netns: None,
            group: None,
            sample: Duration::from_secs(5),
            upgrade: Upgrade::Switch,
            link_buffer: 1_000_000,
        }
    }
}

/// Reads the text of `file`; an empty one says nothing. `is_group` knows the groups of this host.
#[must_use]
pub fn read(file: &str, bytes: Vec<u8>, is_group: impl Fn(&str) -> bool) -> Read {
    let mentioned = String::from_utf8_lossy(&bytes).contains("netns");
    let (settings, mistakes) = match Source::new_or_empty(file, bytes) {
        Ok(source) => check(&source, &is_group),
        Err(report) => (Settings::default(), Some(report)),
    };
    let netns_unknown = mistakes.is_some() && mentioned && settings.netns.is_none();
    Read { settings, mistakes, netns_unknown }
}

fn check(source: &Source, is_group: &dyn Fn(&str) -> bool) -> (Settings, Option<Report>) {
    let mut findings = Findings::new(source.clone());
    let root = toml::read(source, &mut findings);
    let settings = Reader(&mut findings, is_group).settings(&root);
    (settings, findings.into_result().err())
}

struct Reader<'f>(&'f mut Findings, &'f dyn Fn(&str) -> bool);

impl Reader<'_> {
    fn settings(&mut self, root: &Table) -> Settings {
        let mut settings = Settings::default();
        for entry in root.entries() {
            let value = &entry.value;
            match &*entry.key.text {
                "listen" => settings.listen = self.listen(value).unwrap_or(settings.listen),
                "netns" => settings.netns = self.name(value, "the name of a network namespace, or a path"),
                "group" => settings.group = self.group(value),
                "sample" => settings.sample = self.sample(value).unwrap_or(settings.sample),
                "upgrade" => settings.upgrade = self.upgrade(value).unwrap_or(settings.upgrade),
                "link-buffer" => settings.link_buffer = self.buffer(value).unwrap_or(settings.link_buffer),
                _ => words::unknown_key(&entry.key, &KEYS, self.0),
            }
        }
        settings
    }

    /// `"127.0.0.1:9776"`, a list of such, or `"off"`.
    fn listen(&mut self, value: &Node) -> Option<Vec<SocketAddr>> {
        match &value.kind {
            Kind::String(word) if word == "off" => Some(Vec::new()),
            Kind::Array(nodes) => nodes.iter().map(|node| self.address(node)).collect(),
            _ => Some(vec![self.address(value)?]),
        }
    }

    fn address(&mut self, node: &Node) -> Option<SocketAddr> {
        let word = words::string(node, "an address and a port, or \"off\"", self.0)?;
        let address = word.parse().ok();
        if address.is_none() {
            let finding = Finding::error(node.span, format!("{} is no address with a port", quote(word)));
            self.0.error(finding.help(format!("such as \"{LISTEN}\", \"[::1]:9776\", or \"off\"")));
        }
        address
    }

    fn name(&mut self, value: &Node, wanted: &str) -> Option<String> {
        let word = words::string(value, wanted, self.0)?;
        if word.is_empty() {
            self.0.error(Finding::error(value.span, format!("expected {wanted}, and this is empty")));
            return None;
        }
        Some(word.to_owned())
    }

    fn group(&mut self, value: &Node) -> Option<String> {
        let name = self.name(value, "the name of a group")?;
        if self.1(&name) {
            return Some(name);
        }
        let finding = Finding::error(value.span, format!("there is no group {} on this host", quote(&name)));
        self.0.error(finding.help("getent group lists them; without one only root may change anything"));
        None
    }

    fn sample(&mut self, value: &Node) -> Option<Duration> {
        let word = words::string(value, "a time such as \"5s\"", self.0)?;
        let time = humantime::parse_duration(word).ok().filter(|time| SAMPLES.contains(time));
        if time.is_none() {
            let title = format!("{} is no time between samples: 1s to 10s", quote(word));
            self.0.error(Finding::error(value.span, title));
        }
        time
    }

    fn upgrade(&mut self, value: &Node) -> Option<Upgrade> {
        match words::string(value, "\"switch\" or \"keep\"", self.0)? {
            "switch" => Some(Upgrade::Switch),
            "keep" => Some(Upgrade::Keep),
            other => {
                let title = format!("{} is no way to upgrade", quote(other));
                let finding = Finding::error(value.span, title);
                self.0.error(finding.help("\"switch\" takes this version's programs, \"keep\" those that run"));
                None
            }
        }
    }

    fn buffer(&mut self, value: &Node) -> Option<usize> {
        let word = words::string(value, "a size such as \"1MB\"", self.0)?;
        match units::size(word, value.span) {
            Ok(bytes) if BUFFERS.contains(&bytes) => usize::try_from(bytes).ok(),
            Ok(_) => {
                self.0.error(Finding::error(value.span, format!("{} is not 4kB to 64MB", quote(word))));
                None
            }
            Err(finding) => {
                self.0.error(*finding);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, bytes: Vec<u8>) -> Read {
        super::read(file, bytes, |group| group == "netops")
    }

    fn mistakes(text: &str) -> String {
        let read = read("qosbpf.toml", text.as_bytes().to_vec());
        read.mistakes.map_or_else(String::new, |report| report.render(false))
    }

    #[test]
    fn nothing_said_is_loopback_alone() {
        for text in ["", "\n# nothing\n"] {
            let read = read("qosbpf.toml", text.as_bytes().to_vec());
            assert!(read.mistakes.is_none(), "{text:?}");
            assert_eq!(read.settings, Settings::default());
            assert!(read.settings.listen.iter().all(|address| address.ip().is_loopback()));
        }
    }

    #[test]
    fn what_is_said_holds() {
        let text = r#"
            listen = ["127.0.0.1:9776", "[2001:db8::1]:9000"]
            netns = "wan"
            group = "netops"
            sample = "2s"
            upgrade = "keep"
            link-buffer = "64kB"
        "#;
        let read = read("qosbpf.toml", text.as_bytes().to_vec());
        assert!(read.mistakes.is_none());
        let wanted = Settings {
            listen: vec!["127.0.0.1:9776".parse().unwrap(), "[2001:db8::1]:9000".parse().unwrap()],
            netns: Some("wan".to_owned()),
            group: Some("netops".to_owned()),
            sample: Duration::from_secs(2),
            upgrade: Upgrade::Keep,
            link_buffer: 64_000,
        };
        assert_eq!(read.settings, wanted);
    }

    #[test]
    fn the_example_is_right_and_says_what_holds_without_it() {
        let text = include_str!("../../../docs/examples/qosbpf.toml");
        let read = read("docs/examples/qosbpf.toml", text.as_bytes().to_vec());
        assert!(read.mistakes.is_none(), "{:?}", read.mistakes);
        let named = Settings { netns: Some("wan".to_owned()), group: Some("netops".to_owned()), ..Settings::default() };
        assert_eq!(read.settings, named);
        assert!(KEYS.iter().all(|key| text.lines().any(|line| line.starts_with(key))), "every key is in it");
    }

    #[test]
    fn metrics_can_be_off() {
        assert_eq!(read("x", b"listen = \"off\"".to_vec()).settings.listen, []);
        assert_eq!(read("x", b"listen = []".to_vec()).settings.listen, []);
    }

    #[test]
    fn every_mistake_has_its_place() {
        insta::assert_snapshot!(mistakes(
            "listen = \"localhost\"\nlissen = 1\nsample = \"1h\"\nupgrade = \"never\"\nlink-buffer = \"9\"\ngroup = \"\"\n"
        ));
    }

    #[test]
    fn a_group_that_is_not_there_is_a_mistake() {
        insta::assert_snapshot!(mistakes("sample = \"2s\"\ngroup = \"nosuchgrp\"\n"));
        assert_eq!(read("x", b"group = \"nosuchgrp\"".to_vec()).settings.group, None);
    }

    #[test]
    fn what_is_right_holds_beside_what_is_wrong() {
        let read = read("x", b"sample = 3\nnetns = \"wan\"\nupgrade = \"keep\"".to_vec());
        assert!(read.mistakes.is_some() && !read.netns_unknown);
        assert_eq!((read.settings.netns.as_deref(), read.settings.upgrade), (Some("wan"), Upgrade::Keep));
    }

    #[test]
    fn a_namespace_that_cannot_be_read_is_not_guessed() {
        for text in ["netns = 7", "netns = \"wan", "= \nnetns"] {
            assert!(read("x", text.as_bytes().to_vec()).netns_unknown, "{text}");
        }
        assert!(!read("x", b"sample = 3".to_vec()).netns_unknown);
    }
}
