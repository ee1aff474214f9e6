//! What `policy explain` and `policy test` know: a packet, who decided on it, and how it leaves.

use qos_common::{
    abi::{Limited, Uncounted},
    ds::{DsField, Dscp},
    meter::Color,
};

use crate::hook::Via;

/// A packet at a hook, and what its twin did with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What it was read as.
    pub packet: String,
    /// What became of it.
    pub decision: Decision,
    /// Earlier rules that did not match, and what of each was not so.
    pub passed_over: Vec<PassedOver>,
}

/// The hook whose program has a twin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `wan0:egress`.
    pub hook: String,
    /// By what it is attached, if it is.
    pub via: Option<Via>,
    /// The policy's name and hash, if one is for this hook.
    pub policy: Option<(String, String)>,
    /// The file of that policy.
    pub file: String,
    /// Its remark table.
    pub table: Option<String>,
    /// Whether it is out of the path.
    pub bypassed: bool,
    /// Whether the policy is the one that the hook has.
    pub in_force: bool,
    /// What the hook does otherwise than the policy in force says, since interfaces are not what they were.
    pub outdated: Vec<String>,
    /// The version whose program runs there, if that is not this one: its twin is of this version.
    pub other_version: Option<String>,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who had the word.
    pub by: Decider,
    /// The DS field as it came; `None` if it is no usable IP packet.
    pub came: Option<DsField>,
    /// The codepoint as it leaves.
    pub leaves: Leaves,
    /// The skb priority that it is given.
    pub priority: Option<u32>,
    /// The skb mark that it leaves with, if that is another one than it came with.
    pub mark: Option<u32>,
    /// What its meter found.
    pub color: Option<Color>,
    /// The rules that counted it and went on.
    pub counted: Vec<RulePlace>,
    /// Why a rule could not see all of it.
    pub limited: Option<Limited>,
}

/// Who decides on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decider {
    /// A rule.
    Rule(RulePlace),
    /// An entry of the remark table; `other` is one too.
    Entry {
        /// The table.
        table: String,
        /// The key as written.
        key: String,
        /// The line in the file.
        line: usize,
    },
    /// An entry of the table for outer headers, by the codepoint inside.
    Outer {
        /// The codepoint inside.
        inner: Dscp,
        /// The table.
        table: String,
        /// The key as written.
        key: String,
        /// The line in the file.
        line: usize,
    },
    /// `local`, by this word of the policy.
    Local(&'static str),
    /// No rule, and there is no table.
    Nobody,
    /// It is not counted as an IP packet.
    Uncounted(Uncounted),
}

/// A rule in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePlace {
    /// Its name.
    pub name: String,
    /// Its line.
    pub line: usize,
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// With this codepoint.
    As(Dscp),
    /// As it came: it has no DS field.
    Untouched,
    /// Not at all.
    Dropped,
}

/// A rule that did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The rule.
    pub rule: RulePlace,
    /// The first condition that does not hold, in the words of the file.
    pub because: String,
}

/// How many packets of a capture somebody decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Who; `None`: the packets that could not be tried.
    pub by: Option<Decider>,
    /// How many.
    pub packets: u64,
}

/// Who decided on how many of these packets, the most first.
#[must_use]
pub fn summary(packets: &[Result<Explained, String>]) -> Vec<Summary> {
    let mut sums: Vec<Summary> = Vec::new();
    for packet in packets {
        let by = packet.as_ref().ok().map(|explained| explained.decision.by.clone());
        match sums.iter_mut().find(|sum| sum.by == by) {
            Some(sum) => sum.packets += 1,
            None => sums.push(Summary { by, packets: 1 }),
        }
    }
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.packets));
    sums
}

/// A `[[test]]`, run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// Its name.
    pub name: String,
    /// Its line in the file.
    pub line: usize,
    /// The hook.
    pub hook: String,
    /// The packet in words.
    pub packet: String,
    /// How it has to leave.
    pub expected: Leaves,
    /// What became of it.
    pub got: Decision,
}

impl TestRun {
    /// Whether it is as expected.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.got.leaves == self.expected
    }
}

impl Leaves {
    /// `EF`, `dropped`, `untouched`.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::As(dscp) => dscp.to_string(),
            Self::Untouched => "untouched".to_owned(),
            Self::Dropped => "dropped".to_owned(),
        }
    }
}

impl Decider {
    /// Who it is, and where that is written: `rule "voice" (policy.toml:12)`.
    #[must_use]
    pub fn words(&self, file: &str) -> String {
        match self {
            Self::Rule(rule) => rule.words(file),
            Self::Entry { table, key, line } => format!("table {table}, entry {key} ({file}:{line})"),
            Self::Outer { inner, table, key, line } => {
                format!("outer table {table}, by {inner} inside, entry {key} ({file}:{line})")
            }
            Self::Local(word) => format!("local = \"{word}\": this host made it"),
            Self::Nobody => "nobody: no rule matches, and no table is bound".to_owned(),
            Self::Uncounted(reason) => uncounted(*reason).to_owned(),
        }
    }
}

const fn uncounted(reason: Uncounted) -> &'static str {
    match reason {
        Uncounted::NotIp => "nobody: it is not directly IP",
        Uncounted::Malformed => "nobody: it is malformed, which says that it is IP and has no usable header",
    }
}

impl RulePlace {
    /// `rule "voice" (policy.toml:12)`.
    #[must_use]
    pub fn words(&self, file: &str) -> String {
        format!("rule \"{}\" ({file}:{})", self.name, self.line)
    }
}
