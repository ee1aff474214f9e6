//! How often the table of a hook was asked since it is in force. The kernel counts on over all policies, so what it had
//! counted before is kept beside the hook.

use std::time::SystemTime;

use qos_common::{abi::Counter, ds::Dscp};
use serde::{Deserialize, Serialize};

use super::Counts;

/// By codepoint; packets and bytes. A list that is too short ends in zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tabled {
    /// What had been counted when the table came into the path.
    since: Vec<[u64; 2]>,
    /// What it was asked when it was in the path before.
    earlier: Vec<[u64; 2]>,
    /// Whether it is out of the path.
    out: bool,
    /// When it came into force; `None` if that is not known.
    #[serde(default)]
    began: Option<Began>,
}

/// When a table came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// When.
    pub at: SystemTime,
    /// How many packets `local` had kept from the policy until then.
    pub protected: u64,
}

impl Tabled {
    /// That of a hook which begins at zero `now`, with the table in the path or `out` of it.
    #[must_use]
    pub fn first(out: bool, now: SystemTime) -> Self {
        Self { out, began: Some(Began { at: now, protected: 0 }), ..Self::default() }
    }

    /// From `now` on, `counts`: the table is in the path or `out` of it, and it is the `same` as before or another one.
    #[must_use]
    pub fn next(&self, counts: &Counts, same: bool, out: bool, now: SystemTime) -> Self {
        let earlier = if same { words(|dscp| self.hits(counts, dscp)) } else { Vec::new() };
        let anew = Began { at: now, protected: counts.sums.protected.packets };
        let began = if same { self.began } else { Some(anew) };
        Self { since: words(|dscp| counts.tabled(dscp)), earlier, out, began }
    }

    /// When it came into force, if that is known.
    #[must_use]
    pub const fn began(&self) -> Option<Began> {
        self.began
    }

    /// Leaves of what a hook has counted those that its table was asked for; `counts` are as the kernel has them.
    pub fn leave(&self, counts: &mut Counts) {
        let rest = Dscp::all().map(|dscp| less(counts.tabled(dscp), self.hits(counts, dscp)));
        let rest: Vec<Counter> = rest.collect();
        counts.untabled.iter_mut().zip(rest).for_each(|(place, rest)| *place = rest);
    }

    fn hits(&self, counts: &Counts, dscp: Dscp) -> Counter {
        let mut hits = at(&self.earlier, dscp);
        if !self.out {
            hits.add(less(counts.tabled(dscp), at(&self.since, dscp)));
        }
        hits
    }
}

fn at(words: &[[u64; 2]], dscp: Dscp) -> Counter {
    words.get(dscp.index()).map_or(Counter::default(), |[packets, bytes]| Counter { packets: *packets, bytes: *bytes })
}

fn words(of: impl Fn(Dscp) -> Counter) -> Vec<[u64; 2]> {
    Dscp::all().map(of).map(|counter| [counter.packets, counter.bytes]).collect()
}

fn less(all: Counter, part: Counter) -> Counter {
    Counter { packets: all.packets.saturating_sub(part.packets), bytes: all.bytes.saturating_sub(part.bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn counted(packets: u64) -> Counts {
        let mut counts = Counts::zero();
        counts.sums.kept[0][184] = Counter { packets, bytes: packets * 100 };
        counts
    }

    fn hits(tabled: &Tabled, packets: u64) -> u64 {
        let mut counts = counted(packets);
        tabled.leave(&mut counts);
        let dscp = Dscp::new(46).unwrap();
        assert_eq!(counts.tabled(dscp).bytes, counts.tabled(dscp).packets * 100);
        assert_eq!(counts.before(dscp).packets, packets);
        counts.tabled(dscp).packets
    }

    #[test]
    fn another_table_begins_at_zero_and_the_same_one_counts_on() {
        let first = Tabled::default();
        assert_eq!(hits(&first, 10), 10);
        let second = first.next(&counted(10), false, false, NOW);
        assert_eq!((hits(&second, 10), hits(&second, 13)), (0, 3));
        let again = second.next(&counted(13), true, false, NOW);
        assert_eq!((hits(&again, 13), hits(&again, 20)), (3, 10));
    }

    #[test]
    fn what_begins_out_of_the_path_has_no_hits_before_it_is_in() {
        let first = Tabled::first(true, NOW);
        assert_eq!(hits(&first, 10), 0);
        let resumed = first.next(&counted(10), true, false, NOW);
        assert_eq!((hits(&resumed, 10), hits(&resumed, 13)), (0, 3));
    }

    #[test]
    fn what_passes_it_by_is_no_hit() {
        let bypassed = Tabled::default().next(&counted(10), true, true, NOW);
        assert_eq!((hits(&bypassed, 10), hits(&bypassed, 50)), (10, 10));
        let resumed = bypassed.next(&counted(50), true, false, NOW);
        assert_eq!((hits(&resumed, 50), hits(&resumed, 57)), (10, 17));
    }

    #[test]
    fn another_table_begins_then_and_the_same_one_has_begun() {
        let mut counts = counted(10);
        counts.sums.protected.packets = 4;
        let first = Tabled::first(false, NOW);
        let later = NOW + core::time::Duration::from_secs(9);
        assert_eq!(first.next(&counts, true, false, later).began(), Some(Began { at: NOW, protected: 0 }));
        assert_eq!(first.next(&counts, false, false, later).began(), Some(Began { at: later, protected: 4 }));
        assert_eq!(Tabled::default().next(&counts, true, false, later).began(), None, "nobody has said so");
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let written = Tabled::default().next(&counted(7), true, true, NOW);
        let text = serde_json::to_string(&written).unwrap();
        assert_eq!(serde_json::from_str::<Tabled>(&text).unwrap(), written);
    }
}
