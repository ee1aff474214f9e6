//! What was counted, at one moment: the sums over all CPUs, and what follows from them.
//!
//! Before is what was kept and what was changed; after is what was kept and what was remarked into a codepoint. Both are
//! sums of counters that only grow, so they only grow themselves.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use qos_common::{
    abi::{Counter, Counters},
    ds::Dscp,
};

use crate::{
    hook::{Direction, Via},
    rules::model::Rule,
    snapshot::{asked::Asked, tabled::Began, trend::Trend},
};

pub mod asked;
pub mod baseline;
pub mod cells;
mod counts;
pub mod diff;
pub mod history;
pub mod keeper;
pub mod listed;
pub mod made;
pub mod named;
pub mod rates;
#[cfg(test)]
pub(crate) mod sample;
pub mod tabled;
pub mod told;
pub mod trend;

pub use counts::{Totals, total};

/// The counters of one hook, summed over all CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// By family (0: IPv4, 1: IPv6) and whole DS byte, and drops, reasons and protected beside it.
    pub sums: Box<Counters>,
    /// From, then to; only where they differ.
    pub remarked: Box<[[Counter; 64]; 64]>,
    /// What came to the hook, and not to the table that is in force there: see [`tabled`].
    pub untabled: Box<[Counter; 64]>,
    /// What of the changes an earlier policy has made; `None` if that is not known.
    pub earlier: Option<made::Earlier>,
}

/// Which policy a hook has: mostly the one in force, but `--only` leaves others as they are.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HookPolicy {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// The file it came from.
    pub file: String,
}

/// A rule of a hook, and what it has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCount {
    /// The rule.
    pub rule: Rule,
    /// What it has matched; for one that decides, what it has decided.
    pub counted: Counter,
    /// Since when, if that is later than the hook.
    pub since: Option<SystemTime>,
    /// How long ago the last packet was.
    pub last: Option<Duration>,
    /// Events that it did not tell of, since its rate did not allow it.
    pub suppressed: u64,
    /// What its meter has given, if it has one: green, yellow, red; packets and bytes of IP.
    pub colors: Option<[Counter; 3]>,
}

/// The colors of a meter (RFC 2697), in the order in which they are counted.
pub const COLORS: [&str; 3] = ["green", "yellow", "red"];

/// One hook at one moment.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The interface's name now.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Which way.
    pub direction: Direction,
    /// By which mechanism.
    pub via: Via,
    /// What it is doing.
    pub state: State,
    /// Since when it counts.
    pub since: SystemTime,
    /// Whether that is when the terminal's table was cleared, and not when it was attached.
    pub cleared: bool,
    /// When its table came into force, if that is known.
    pub began: Option<Began>,
    /// Since when its rules are asked as they are, if that is known.
    pub asked: Option<Asked>,
    /// The remark table in force, with what its entries say.
    pub table: Option<TableLabel>,
    /// The table for outer headers that this host makes, if there is one; it is asked with the codepoint inside.
    pub outer: Option<TableLabel>,
    /// The policy that the table and the rules are from.
    pub policy: Option<HookPolicy>,
    /// Which of this host's own packets that policy spares, in its word; at egress alone.
    pub local: Option<&'static str>,
    /// The rules in force, in the order in which they are asked.
    pub rules: Vec<RuleCount>,
    /// Rules that have counted and are not in force: one that comes back into force counts on from there.
    pub resting: Vec<(String, Counter)>,
    /// The program's id in the kernel; 0 if the pins cannot be read, and then neither mechanism nor time is known.
    pub program_id: u32,
    /// What was counted, or why it cannot be read.
    pub counts: Result<Counts, String>,
    /// The interface's own counters since `since`, in this direction.
    pub device: Option<Device>,
    /// The root qdisc since `since`; at egress alone.
    pub qdisc: Option<Qdisc>,
    /// What the service remembers of it, if one serves.
    pub trend: Option<Arc<Trend>>,
}

impl Hook {
    /// Whether more is known of it than that it cannot be read.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.program_id != 0
    }

    /// What each rule has counted by its name: those in force, in their order, then the others.
    pub fn ruled(&self) -> impl Iterator<Item = (&str, Counter)> {
        let in_force = self.rules.iter().map(|count| (count.rule.name.as_str(), count.counted));
        in_force.chain(self.resting.iter().map(|(name, counted)| (name.as_str(), *counted)))
    }

    /// What the meters in force have given, by the names of their rules.
    pub fn colored(&self) -> impl Iterator<Item = (&str, [Counter; 3])> {
        self.rules.iter().filter_map(|count| Some((count.rule.name.as_str(), count.colors?)))
    }

    /// The table for outer headers, if it may have sent packets from one codepoint to another: of `from` some were decided
    /// by something else than the table of the hook, and not all by a rule, and something inside leads to `to`.
    #[must_use]
    pub fn outer_that_sends(&self, from: Dscp, to: Dscp) -> Option<&TableLabel> {
        let decided = self.counts.as_ref().is_ok_and(|counts| counts.sums.ruled[from.index()].packets > 0);
        let asked = decided && !self.rules.iter().any(|count| count.rule.decides_all(from));
        self.outer.as_ref().filter(|table| asked && table.leads_to(to))
    }
}

/// A hook that the policy binds, or that ran until its pins were gone, and where nothing is attached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Missing {
    /// The interface.
    pub interface: String,
    /// Its index, if it exists.
    pub ifindex: Option<u32>,
    /// Which way.
    pub direction: Direction,
    /// The remark table that is bound to it, if one is.
    pub table: Option<String>,
    /// Why it is not there, and what to do.
    pub reason: String,
}

/// What a hook is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Counts, and enforces a table.
    Active,
    /// Counts; no policy is bound to it.
    Counting,
    /// Counts; its policy is out of the path.
    Bypassed,
    /// Wanted, but not there.
    Missing,
    /// Something is wrong with it.
    Error,
}

/// A device's own counters, since the hook began to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Device {
    /// Packets received (ingress) or sent (egress).
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Drops in that direction.
    pub drops: u64,
}

/// The root qdisc of a device.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Qdisc {
    /// Its kind, such as `fq_codel`.
    pub kind: String,
    /// What it dropped since the hook began to count: after our count, before the NIC's.
    pub drops: u64,
}

/// A remark table as the policy file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLabel {
    /// Its name.
    pub name: String,
    /// For each of the 64 codepoints, in order, the entry that decides on it.
    pub entries: Vec<EntryLabel>,
}

/// The entry of a table that decides on one codepoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryLabel {
    /// The key as written: a codepoint, a class, or `other`.
    pub key: String,
    /// The codepoint that it gives.
    pub to: Dscp,
    /// Its line in the file.
    pub line: usize,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyLabel {
    /// Its name.
    pub name: String,
    /// The first eight hexadecimal digits of its hash.
    pub hash: String,
    /// Whether the saved policy is this one.
    pub saved: bool,
    /// The file it came from.
    pub file: String,
    /// Classes and their codepoints, in the order of the file.
    pub classes: Vec<(String, Vec<Dscp>)>,
}

/// Everything that `stats` knows.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was read.
    pub time: SystemTime,
    /// This host's name.
    pub host: String,
    /// The network namespace as it was named on the command line.
    pub netns: Option<String>,
    /// The policy in force there.
    pub policy: Option<PolicyLabel>,
    /// Its hooks, by interface, ingress first.
    pub hooks: Vec<Hook>,
    /// What is wanted beside them.
    pub missing: Vec<Missing>,
    /// Whether no policy is in force, and one is saved.
    pub unapplied: bool,
    /// When the policy in force is taken back unless it is confirmed.
    pub confirm_deadline: Option<SystemTime>,
}

impl Snapshot {
    /// Adds hooks that are wanted for another reason, unless they are among the others.
    pub fn add_missing(&mut self, more: Vec<Missing>) {
        for missing in more {
            let place = (missing.interface.as_str(), missing.direction);
            let hooks = self.hooks.iter().map(|hook| (hook.interface.as_str(), hook.direction));
            let known = self.missing.iter().map(|missing| (missing.interface.as_str(), missing.direction));
            if !hooks.chain(known).any(|other| other == place) {
                self.missing.push(missing);
            }
        }
    }
}

impl State {
    /// The word of `stats --json`'s field `state`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Counting => "counting",
            Self::Bypassed => "bypassed",
            Self::Missing => "missing",
            Self::Error => "error",
        }
    }

    /// Whether a person should look at it.
    #[must_use]
    pub const fn needs_human(self) -> bool {
        matches!(self, Self::Bypassed | Self::Missing | Self::Error)
    }
}
