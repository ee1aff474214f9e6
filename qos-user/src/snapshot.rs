//! What was counted, at one moment: the sums over all CPUs, and what follows from them.
//!
//! `after` is derived: before, less what was remarked away or dropped, plus what was remarked into it. Reading takes
//! the matrix and the drops before `before`, and the kernel counts in the other order, so `after` is never negative.

use std::time::SystemTime;

use qos_common::{
    abi::{Counter, Counters, RemarkedHalf},
    ds::Dscp,
};

use crate::hook::{Direction, Via};

/// The counters of one hook, summed over all CPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// By family (0: IPv4, 1: IPv6) and whole DS byte, and drops, reasons and protected beside it.
    pub sums: Box<Counters>,
    /// The remark matrix, codepoints as they came below 32 and from 32 on.
    pub remarked: [Box<RemarkedHalf>; 2],
}

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
    /// The remark table in force, with what its entries say.
    pub table: Option<TableLabel>,
    /// The program's id in the kernel.
    pub program_id: u32,
    /// What was counted, or why it cannot be read.
    pub counts: Result<Counts, String>,
    /// The interface's own counters since `since`, in this direction.
    pub device: Option<Device>,
    /// The root qdisc since `since`; at egress alone.
    pub qdisc: Option<Qdisc>,
}

/// What a hook is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// For each codepoint the entry that decides on it.
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
}

impl Counts {
    /// Adds up what each CPU counted, as the words of its values in the maps.
    #[must_use]
    pub fn sum(cpus: &[[u64; Counters::WORDS]], remarked: [&[[u64; RemarkedHalf::WORDS]]; 2]) -> Self {
        let mut sums = Box::new(Counters::ZERO);
        cpus.iter().for_each(|cpu| sums.merge(cpu));
        let halves = remarked.map(|cpus| {
            let mut half = Box::new(RemarkedHalf::ZERO);
            cpus.iter().for_each(|cpu| half.merge(cpu));
            half
        });
        Self { sums, remarked: halves }
    }

    /// What became another codepoint.
    #[must_use]
    pub fn remarked(&self, from: Dscp, to: Dscp) -> Counter {
        self.remarked[RemarkedHalf::of(from) as usize].cell(from, to)
    }

    /// A codepoint as it came, both families and all ECN together.
    #[must_use]
    pub fn before(&self, dscp: Dscp) -> Counter {
        let mut sum = Counter::default();
        for family in &self.sums.before {
            let first = dscp.index() * 4;
            family[first..first + 4].iter().for_each(|counter| sum.add(*counter));
        }
        sum
    }

    /// A codepoint as it left.
    #[must_use]
    pub fn after(&self, dscp: Dscp) -> Counter {
        let mut after = self.before(dscp);
        for other in Dscp::all() {
            after.add(self.remarked(other, dscp));
        }
        for to in Dscp::all() {
            subtract(&mut after, self.remarked(dscp, to));
        }
        subtract(&mut after, self.sums.dropped[dscp.index()]);
        after
    }
}

fn subtract(from: &mut Counter, less: Counter) {
    from.packets = from.packets.wrapping_sub(less.packets);
    from.bytes = from.bytes.wrapping_sub(less.bytes);
}
