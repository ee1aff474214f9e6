//! Since when the rules of a hook are asked, all of them as they are now, and what had come to the hook until then: the
//! kernel counts on over all policies.

use std::time::SystemTime;

use qos_common::ds::Dscp;
use serde::{Deserialize, Serialize};

use super::Counts;

/// The moment from which its rules are asked as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When.
    pub at: SystemTime,
    /// Packets by codepoint that had come until then. A list that is too short ends in zeros.
    came: Vec<u64>,
}

impl Asked {
    /// Of a hook that begins to count at that moment.
    #[must_use]
    pub const fn first(at: SystemTime) -> Self {
        Self { at, came: Vec::new() }
    }

    /// Of one that has counted.
    #[must_use]
    pub fn from(counts: &Counts, at: SystemTime) -> Self {
        Self { at, came: Dscp::all().map(|dscp| counts.before(dscp).packets).collect() }
    }

    /// How many packets with a codepoint came since.
    #[must_use]
    pub fn since(&self, counts: &Counts, dscp: Dscp) -> u64 {
        let then = self.came.get(dscp.index()).copied().unwrap_or_default();
        counts.before(dscp).packets.saturating_sub(then)
    }
}

#[cfg(test)]
mod tests {
    use qos_common::abi::Counter;

    use super::*;

    fn counted(packets: u64) -> Counts {
        let mut counts = Counts::zero();
        counts.sums.kept[0][184] = Counter { packets, bytes: packets * 100 };
        counts
    }

    #[test]
    fn what_came_before_is_left_out_and_it_is_read_as_it_was_written() {
        let first = Asked::first(SystemTime::UNIX_EPOCH);
        assert_eq!(first.since(&counted(10), Dscp::EF), 10);
        let later = Asked::from(&counted(10), SystemTime::UNIX_EPOCH);
        assert_eq!([Dscp::EF, Dscp::DF].map(|dscp| later.since(&counted(13), dscp)), [3, 0]);
        let text = serde_json::to_string(&later).unwrap();
        assert_eq!(serde_json::from_str::<Asked>(&text).unwrap(), later);
    }
}
