//! The lines of all inputs, and whose text they are.

use super::{Left, Line, Remark, Unreadable, writer::Quote};

/// A text with its name.
#[derive(Clone, Debug)]
pub struct Input {
    /// The file, or `stdin`.
    pub file: String,
    /// What is in it.
    pub text: String,
}

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `iptables-save`, `ip6tables-save`.
    Iptables,
    /// `nft list ruleset`, or a file for `nft -f`.
    Nft,
    /// `show running-config` of Cisco IOS.
    Cisco,
    /// The files of OpenWrt's qosify.
    Qosify,
}

impl Kind {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nft => "nft",
            Self::Cisco => "cisco",
            Self::Qosify => "qosify",
        }
    }
}

#[derive(Debug)]
pub(super) struct Lines(Vec<Input>);

impl Lines {
    pub const fn new(inputs: Vec<Input>) -> Self {
        Self(inputs)
    }

    /// Every line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Line, &str)> {
        self.0.iter().enumerate().flat_map(|(file, input)| {
            input.text.lines().enumerate().map(move |(at, text)| (Line { file, number: at + 1 }, text))
        })
    }

    /// A line without the blanks around it.
    pub fn text(&self, line: Line) -> &str {
        let input = self.0.get(line.file);
        input.and_then(|input| input.text.lines().nth(line.number.saturating_sub(1))).unwrap_or_default().trim()
    }

    pub fn remark(&self, left: &Left) -> Remark {
        let file = self.0.get(left.line.file).map_or_else(String::new, |input| input.file.clone());
        let Left { line, text, reason, in_part } = left.clone();
        Remark { file, line: line.number, text, reason, in_part }
    }

    /// The names of the inputs.
    pub fn names(&self) -> String {
        self.0.iter().map(|input| &*input.file).collect::<Vec<_>>().join(", ")
    }

    /// Whose text it is, all of it.
    pub fn kind(&self, wanted: Option<Kind>) -> Result<Kind, Unreadable> {
        let mut kinds = Vec::new();
        for input in &self.0 {
            if input.text.trim_start().starts_with('{') {
                return Err(Unreadable::new(
                    format!("{} is JSON", input.file),
                    "the text of `nft list ruleset` is read, without -j",
                ));
            }
            kinds.extend(wanted.or_else(|| guess(&input.text)));
            if kinds.is_empty() {
                let message = format!("{}: it cannot be told whose rules these are", input.file);
                return Err(Unreadable::new(message, "say it: --from iptables, nft, cisco or qosify"));
            }
        }
        match &*kinds {
            [] => Err(Unreadable::new("there is nothing to read", "name a file, or - for stdin")),
            [first, rest @ ..] if rest.iter().all(|kind| kind == first) => Ok(*first),
            _ => Err(Unreadable::new("these are rules of more than one tool", "import those of each tool by itself")),
        }
    }
}

impl Quote for Lines {
    fn place(&self, line: Line) -> String {
        match &*self.0 {
            [] | [_] => format!("line {}", line.number),
            all => format!("{}:{}", all.get(line.file).map_or("", |input| &*input.file), line.number),
        }
    }

    fn text(&self, line: Line) -> String {
        Self::text(self, line).to_owned()
    }
}

/// What most of its lines look like.
fn guess(text: &str) -> Option<Kind> {
    let kinds = text.lines().filter_map(|line| guess_line(line.trim()));
    let mut counts = [(Kind::Iptables, 0), (Kind::Nft, 0), (Kind::Cisco, 0), (Kind::Qosify, 0)];
    for kind in kinds {
        counts.iter_mut().filter(|(counted, _)| *counted == kind).for_each(|(_, count)| *count += 1);
    }
    counts.into_iter().filter(|(_, count)| *count > 0).max_by_key(|(_, count)| *count).map(|(kind, _)| kind)
}

fn guess_line(line: &str) -> Option<Kind> {
    let line = line.trim_start_matches("iptables ").trim_start_matches("ip6tables ");
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let second = words.next().unwrap_or_default();
    Some(match first {
        "-A" | "-I" | "-t" | "*mangle" | "*filter" | "*nat" | "COMMIT" => Kind::Iptables,
        "table" | "chain" | "type" if line.ends_with('{') || line.contains("hook") => Kind::Nft,
        "add" if second == "rule" || second == "table" || second == "chain" => Kind::Nft,
        "class-map" | "policy-map" | "service-policy" | "table-map" | "access-list" => Kind::Cisco,
        "config" | "option" | "list" => Kind::Qosify,
        _ if first.starts_with("tcp:") || first.starts_with("udp:") || first.starts_with("dns:") => Kind::Qosify,
        _ if second.trim_start_matches('+').chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && words.next().is_none()
            && first.parse::<core::net::IpAddr>().is_ok() =>
        {
            Kind::Qosify
        }
        _ => return None,
    })
}
