//! What follows from the counters of one hook, by arithmetic alone.

use qos_common::{
    abi::{Counter, Counters, RemarkedHalf},
    ds::Dscp,
};

use super::{Counts, made::Earlier};

impl Counts {
    /// Nothing counted yet.
    #[must_use]
    pub fn zero() -> Self {
        let remarked = Box::new([[Counter::default(); Dscp::COUNT]; Dscp::COUNT]);
        let untabled = Box::new([Counter::default(); Dscp::COUNT]);
        Self { sums: Box::new(Counters::ZERO), remarked, untabled, earlier: Some(Earlier::default()) }
    }

    /// Adds up what each CPU counted, as the words of its values in the maps.
    #[must_use]
    pub fn sum(cpus: &[[u64; Counters::WORDS]], remarked: [&[[u64; RemarkedHalf::WORDS]]; 2]) -> Self {
        let mut counts = Self::zero();
        cpus.iter().for_each(|cpu| counts.sums.merge(cpu));
        for (half, cpus) in counts.remarked.as_chunks_mut::<32>().0.iter_mut().zip(remarked) {
            for cpu in cpus {
                let cells = half.as_flattened_mut().iter_mut().zip(cpu.as_chunks().0);
                cells.for_each(|(sum, words)| sum.add(Counter::from(*words)));
            }
        }
        counts
    }

    /// A codepoint as it came, both families and all ECN together.
    #[must_use]
    pub fn before(&self, dscp: Dscp) -> Counter {
        total([self.kept(dscp), of_dscp(&self.sums.changed, dscp)])
    }

    /// A codepoint that left as it came.
    #[must_use]
    pub fn kept(&self, dscp: Dscp) -> Counter {
        of_dscp(&self.sums.kept, dscp)
    }

    /// A codepoint as it left.
    #[must_use]
    pub fn after(&self, dscp: Dscp) -> Counter {
        let mut after = self.kept(dscp);
        for from in Dscp::all() {
            after.add(self.remarked[from.index()][dscp.index()]);
        }
        after
    }

    /// What a policy dropped of a codepoint.
    #[must_use]
    pub fn dropped(&self, dscp: Dscp) -> Counter {
        self.sums.dropped[dscp.index()]
    }

    /// What the table was asked for of a codepoint: what came, less what a rule decided, and less what came before the
    /// table was in force. They are read together, but counted one after the other.
    #[must_use]
    pub fn tabled(&self, dscp: Dscp) -> Counter {
        let others = [self.sums.ruled[dscp.index()], self.untabled[dscp.index()]];
        others.into_iter().fold(self.before(dscp), |rest, other| Counter {
            packets: rest.packets.saturating_sub(other.packets),
            bytes: rest.bytes.saturating_sub(other.bytes),
        })
    }

    /// Everything that changed its mark: from, to, how much. Cells at zero are left out.
    pub fn changes(&self) -> impl Iterator<Item = (Dscp, Dscp, Counter)> + '_ {
        let cells = Dscp::all().flat_map(|from| Dscp::all().map(move |to| (from, to)));
        cells
            .map(|(from, to)| (from, to, self.remarked[from.index()][to.index()]))
            .filter(|(_, _, counter)| *counter != Counter::default())
    }

    /// All of it together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            before: total(Dscp::all().map(|dscp| self.before(dscp))),
            after: total(Dscp::all().map(|dscp| self.after(dscp))),
            remarked: total(self.changes().map(|(_, _, counter)| counter)),
            dropped: total(self.sums.dropped),
            protected: self.sums.protected,
            uncounted: total(self.sums.uncounted),
        }
    }
}

/// Sums over all codepoints of a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// As it came.
    pub before: Counter,
    /// As it left; before less dropped.
    pub after: Counter,
    /// What left with another mark than it came with.
    pub remarked: Counter,
    /// What a policy dropped.
    pub dropped: Counter,
    /// What `local` kept from the policy.
    pub protected: Counter,
    /// Not IP, and malformed: frames beside `before`.
    pub uncounted: Counter,
}

impl Totals {
    /// Every frame that came by.
    #[must_use]
    pub fn frames(&self) -> Counter {
        total([self.before, self.uncounted])
    }
}

/// The sum of some counters.
pub fn total(counters: impl IntoIterator<Item = Counter>) -> Counter {
    counters.into_iter().fold(Counter::default(), |mut sum, counter| {
        sum.add(counter);
        sum
    })
}

/// The counters of a codepoint, both families and all ECN together.
fn of_dscp(counters: &[[Counter; 256]; 2], dscp: Dscp) -> Counter {
    let first = dscp.index() * 4;
    total(counters.iter().flat_map(|family| family[first..first + 4].iter().copied()))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One packet as the kernel would count it: its DS byte, its length, and what became of it.
    #[derive(Clone, Debug)]
    pub(in crate::snapshot) enum Fate {
        Kept,
        Remarked(u8),
        Dropped,
    }

    pub(in crate::snapshot) fn packets() -> impl Strategy<Value = Vec<(usize, u8, u64, Fate)>> {
        let fate = prop_oneof![Just(Fate::Kept), (0u8..64).prop_map(Fate::Remarked), Just(Fate::Dropped)];
        proptest::collection::vec((0usize..2, any::<u8>(), 20u64..9000, fate), 0..200)
    }

    /// What the kernel counts of these packets.
    pub(in crate::snapshot) fn count(packets: &[(usize, u8, u64, Fate)]) -> Counts {
        let mut counts = Counts::zero();
        for (family, ds, bytes, fate) in packets {
            let one = Counter { packets: 1, bytes: *bytes };
            let from = usize::from(*ds >> 2);
            let ds = usize::from(*ds);
            match fate {
                Fate::Remarked(to) if usize::from(*to) != from => {
                    counts.sums.changed[*family][ds].add(one);
                    counts.remarked[from][usize::from(*to)].add(one);
                }
                Fate::Dropped => {
                    counts.sums.changed[*family][ds].add(one);
                    counts.sums.dropped[from].add(one);
                }
                Fate::Kept | Fate::Remarked(_) => counts.sums.kept[*family][ds].add(one),
            }
        }
        counts
    }

    proptest! {
        #[test]
        fn what_left_and_what_was_dropped_is_what_came(packets in packets()) {
            let counts = count(&packets);
            let totals = counts.totals();
            prop_assert_eq!(total([totals.after, totals.dropped]), totals.before);
            prop_assert_eq!(totals.before.packets, packets.len() as u64);
        }

        #[test]
        fn after_is_never_negative(packets in packets()) {
            let counts = count(&packets);
            for dscp in Dscp::all() {
                let after = counts.after(dscp);
                prop_assert!(after.packets <= packets.len() as u64, "{dscp:?}: {after:?}");
                prop_assert!(after.bytes <= counts.totals().before.bytes, "{dscp:?}: {after:?}");
            }
        }
    }

    #[test]
    fn cpus_are_summed_and_each_half_of_the_matrix_has_its_place() {
        let mut cpu = [0; Counters::WORDS];
        let (changed_ipv4, kept_ipv6) = (1024, 512);
        [cpu[changed_ipv4 + 2 * 184], cpu[changed_ipv4 + 2 * 184 + 1]] = [1, 100];
        [cpu[2 * 184], cpu[2 * 184 + 1]] = [1, 100];
        [cpu[kept_ipv6 + 2 * 185], cpu[kept_ipv6 + 2 * 185 + 1]] = [1, 100];
        let (mut low, mut high) = ([0; RemarkedHalf::WORDS], [0; RemarkedHalf::WORDS]);
        [low[10 * 128], low[10 * 128 + 1]] = [5, 500];
        [high[(46 - 32) * 128], high[(46 - 32) * 128 + 1]] = [1, 100];
        let counts = Counts::sum(&[cpu, cpu], [&[low], &[high, high]]);
        assert_eq!(counts.before(Dscp::EF), Counter { packets: 6, bytes: 600 });
        assert_eq!(counts.remarked[46][0], Counter { packets: 2, bytes: 200 });
        assert_eq!(counts.remarked[10][0], Counter { packets: 5, bytes: 500 });
        assert_eq!(counts.after(Dscp::EF), Counter { packets: 4, bytes: 400 });
    }
}
