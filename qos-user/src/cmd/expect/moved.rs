//! What the counters of a hook did while a command ran.

use std::cmp::Reverse;

use qos_common::{abi::Counter, ds::Dscp};

use super::expectation::Expectation;
use crate::snapshot::Counts;

/// Which side of the hook is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As packets came to it.
    Before,
    /// As they left it.
    After,
}

impl Side {
    /// As it is said.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// What the counters did while the command ran.
#[derive(Debug)]
pub struct Moved {
    before: [u64; Dscp::COUNT],
    after: [u64; Dscp::COUNT],
    /// From which codepoint, to which.
    pub remarked: Vec<(Dscp, Dscp, u64)>,
    /// Of which codepoint.
    pub dropped: Vec<(Dscp, u64)>,
    /// What `local` kept.
    pub protected: u64,
    /// What is not IP or malformed.
    pub uncounted: u64,
}

impl Moved {
    /// From one reading to a later one; `None` if a counter fell, which those of one attachment never do.
    #[must_use]
    pub fn between(earlier: &Counts, later: &Counts) -> Option<Self> {
        let moved = later.less(&earlier.cells())?;
        let each = |of: fn(&Counts, Dscp) -> Counter| {
            let mut all = [0; Dscp::COUNT];
            Dscp::all().for_each(|dscp| all[dscp.index()] = of(&moved, dscp).packets);
            all
        };
        let dropped = Dscp::all().map(|dscp| (dscp, moved.dropped(dscp).packets));
        Some(Self {
            dropped: dropped.filter(|(_, packets)| *packets > 0).collect(),
            before: each(Counts::before),
            after: each(Counts::after),
            remarked: moved.changes().map(|(from, to, amount)| (from, to, amount.packets)).collect(),
            protected: moved.sums.protected.packets,
            uncounted: moved.totals().uncounted.packets,
        })
    }

    /// Whether anything came.
    #[must_use]
    pub fn any(&self) -> bool {
        self.before.iter().any(|packets| *packets > 0)
    }

    /// What packets of an expectation's codepoints have become that is none of these.
    pub fn away<'a>(&'a self, expectation: &'a Expectation) -> impl Iterator<Item = (Dscp, u64)> + 'a {
        let within = |dscp: &Dscp| expectation.dscps.contains(dscp);
        let away = self.remarked.iter().filter(move |(from, to, _)| within(from) && !within(to));
        away.map(|(_, to, packets)| (*to, *packets))
    }

    /// How many packets of each of an expectation's codepoints were dropped.
    pub fn dropped_of<'a>(&'a self, expectation: &'a Expectation) -> impl Iterator<Item = (Dscp, u64)> + 'a {
        self.dropped.iter().filter(|(dscp, _)| expectation.dscps.contains(dscp)).copied()
    }

    const fn all(&self, side: Side) -> &[u64; Dscp::COUNT] {
        match side {
            Side::Before => &self.before,
            Side::After => &self.after,
        }
    }

    /// How many packets of an expectation's codepoints moved on one side.
    #[must_use]
    pub fn packets(&self, expectation: &Expectation, side: Side) -> u64 {
        expectation.dscps.iter().map(|dscp| self.all(side)[dscp.index()]).sum()
    }

    /// The codepoints that are meant and moved on one side, the largest first.
    #[must_use]
    pub fn by_size(&self, side: Side, is_meant: impl Fn(Dscp) -> bool) -> Vec<(Dscp, u64)> {
        let all = Dscp::all().map(|dscp| (dscp, self.all(side)[dscp.index()]));
        let mut moved: Vec<_> = all.filter(|(dscp, packets)| *packets > 0 && is_meant(*dscp)).collect();
        moved.sort_by_key(|(_, packets)| Reverse(*packets));
        moved
    }
}
