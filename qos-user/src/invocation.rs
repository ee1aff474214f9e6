//! Commands of ours as they are typed in where another one was: with the options that say which network namespace, which
//! pins and which saved policy they are about.

use crate::printable::is_printable;

/// The commands that are about a network namespace. `run` without an option is the service, in prose.
pub const COMMANDS: [&str; 11] = [
    "attach",
    "detach",
    "status",
    "stats",
    "policy",
    "expect",
    "events",
    "why",
    "doctor",
    "run --once",
    "run --reload",
];

/// The commands of other tools in hints and reasons.
const CHANGES: [&str; 3] = ["tc filter del ", "tc qdisc del ", "ip link set dev "];

/// The options of a command line without which the next one would be about something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The network namespace as it was named.
    pub netns: Option<String>,
    /// The bpf file system, if it is not the usual one.
    pub bpffs: Option<String>,
    /// The folder of the saved policy, if it is not the usual one.
    pub etc: Option<String>,
}

impl Invocation {
    /// The command with these arguments.
    #[must_use]
    pub fn command(&self, arguments: &str) -> String {
        format!("qosbpf{} {arguments}", self.options())
    }

    /// A text with each of our commands in it as it is typed here.
    #[must_use]
    pub fn completed(&self, text: &str) -> String {
        Self::completed_with(text, &self.options(), &self.lead_in())
    }

    /// The same of a text that is written as JSON.
    #[must_use]
    pub fn completed_in_json(&self, text: &str) -> String {
        let escaped = |words: String| words.replace('\\', r"\\").replace('"', r#"\""#);
        Self::completed_with(text, &escaped(self.options()), &escaped(self.lead_in()))
    }

    fn completed_with(text: &str, options: &str, lead: &str) -> String {
        let mut parts = text.split("qosbpf ");
        let mut completed = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            completed.push_str("qosbpf");
            completed.push_str(if begins_with_command(part) { options } else { "" });
            completed.push(' ');
            completed.push_str(part);
        }
        there(completed, lead)
    }

    /// The words before a command of another tool that is run in that namespace; none in that of the shell.
    #[must_use]
    pub fn lead(&self) -> Vec<String> {
        match &self.netns {
            None => Vec::new(),
            Some(path) if path.contains('/') => vec!["nsenter".to_owned(), format!("--net={path}")],
            Some(netns) => ["ip", "netns", "exec", netns].map(str::to_owned).to_vec(),
        }
    }

    /// The same as a shell takes them, with a space behind each.
    fn lead_in(&self) -> String {
        self.lead().iter().map(|word| quoted(word) + " ").collect()
    }

    /// With a space before each.
    fn options(&self) -> String {
        let options = [("netns", &self.netns), ("bpffs", &self.bpffs), ("etc", &self.etc)];
        let given = options.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.map(|(name, value)| format!(" --{name} {}", quoted(value))).collect()
    }
}

/// A text in which another tool changes something in the namespace that these words lead to, and not in that of the shell.
fn there(text: String, lead: &str) -> String {
    CHANGES.iter().fold(text, |text, command| {
        let plain = text.replace(&format!("{lead}{command}"), command);
        plain.replace(command, &format!("{lead}{command}"))
    })
}

fn begins_with_command(text: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || "-_:/=".contains(c));
    COMMANDS.iter().any(|command| text.strip_prefix(command).is_some_and(ends))
}

/// A word as a shell takes it whole.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    // A shell takes away line ends at the end of what a command says.
    if !word.chars().all(is_printable) && !word.ends_with('\n') {
        return format!("\"$(printf '{}')\"", escaped(word));
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// For printf(1): what must not reach a terminal, and what means something to it or in quotes, by its bytes.
fn escaped(word: &str) -> String {
    let mut escaped = String::new();
    let mut bytes = [0; 4];
    for (at, c) in word.chars().enumerate() {
        let is_option = at == 0 && c == '-';
        if is_printable(c) && !is_option && !matches!(c, '\'' | '%' | '\\') {
            escaped.push(c);
        } else {
            escaped.extend(c.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:03o}")));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(["a-b", "a b", "a'b", ""].map(quoted), ["a-b", "'a b'", r"'a'\''b'", "''"]);
        assert_eq!(quoted("\u{1b}[3%'a"), r#""$(printf '\033[3\045\047a')""#);
        assert_eq!(quoted("-\u{7}"), r#""$(printf '\055\007')""#);
        assert_eq!(quoted("\u{202e}0"), r#""$(printf '\342\200\2560')""#);
    }

    #[test]
    fn each_command_in_a_text_is_completed_and_prose_is_not() {
        let here = Invocation { netns: Some("edge".to_owned()), bpffs: Some("/tmp/b pf".to_owned()), etc: None };
        let typed = "qosbpf --netns edge --bpffs '/tmp/b pf'";
        let told = "qosbpf policy confirm keeps it, qosbpf status; qosbpf run --reload";
        let completed = format!("{typed} policy confirm keeps it, {typed} status; {typed} run --reload");
        assert_eq!(here.completed(told), completed);
        assert_eq!(here.completed(&completed), completed, "once is enough");
        for prose in
            ["qosbpf run does not do it", "another qosbpf has it", "qosbpf 0.1.0", "qosbpf dscp", "the qosbpf "]
        {
            assert_eq!(here.completed(prose), prose);
        }
        assert_eq!(Invocation::default().completed(told), told);
    }

    #[test]
    fn what_other_tools_are_to_change_is_in_the_namespace() {
        let removal = "tc filter del dev wan0 egress removes it";
        let at = |netns: &str| Invocation { netns: Some(netns.to_owned()), bpffs: None, etc: None }.completed(removal);
        assert_eq!(at("edge"), format!("ip netns exec edge {removal}"));
        assert_eq!(at("/proc/7/ns/net"), format!("nsenter --net=/proc/7/ns/net {removal}"));
        let edge = Invocation { netns: Some("edge".to_owned()), bpffs: None, etc: None };
        assert_eq!(edge.completed(&at("edge")), at("edge"), "once is enough");
        assert_eq!(Invocation::default().completed(removal), removal);
        assert_eq!(edge.completed("ip link set dev a name b"), "ip netns exec edge ip link set dev a name b");
    }
}
