//! The last samples of a hook, for `stats --watch`.

use std::collections::VecDeque;

use qos_common::ds::Dscp;

use super::rates::{HookRates, Rate, total};

/// The last [`History::LENGTH`] samples of one hook, and when each codepoint last moved.
#[derive(Clone, Debug)]
pub struct History {
    samples: VecDeque<Sample>,
    /// Seconds since the codepoint last came; `None` if not since the watch began.
    quiet: [Option<f64>; Dscp::COUNT],
}

#[derive(Clone, Debug)]
struct Sample {
    seconds: f64,
    before: [Rate; Dscp::COUNT],
}

impl History {
    /// How many samples are kept.
    pub const LENGTH: usize = 60;

    /// No samples yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { samples: VecDeque::new(), quiet: [None; Dscp::COUNT] }
    }

    /// Takes in the newest sample.
    pub fn push(&mut self, rates: &HookRates) {
        if self.samples.len() == Self::LENGTH {
            self.samples.pop_front();
        }
        for (quiet, rate) in self.quiet.iter_mut().zip(&rates.before) {
            *quiet = if rate.packets > 0.0 { Some(0.0) } else { quiet.map(|quiet| quiet + rates.seconds) };
        }
        self.samples.push_back(Sample { seconds: rates.seconds, before: rates.before });
    }

    /// How many seconds the samples cover.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.samples.iter().map(|sample| sample.seconds).sum()
    }

    /// The mean rate of some codepoints over the newest samples that cover `seconds`, or over all there are.
    #[must_use]
    pub fn mean(&self, dscps: &[Dscp], seconds: f64) -> Rate {
        let (mut covered, mut packets, mut bits) = (0.0, 0.0, 0.0);
        for sample in self.samples.iter().rev() {
            if covered >= seconds {
                break;
            }
            let rate = sample.rate(dscps);
            packets += rate.packets * sample.seconds;
            bits += rate.bits * sample.seconds;
            covered += sample.seconds;
        }
        if covered > 0.0 { Rate { packets: packets / covered, bits: bits / covered } } else { Rate::default() }
    }

    /// Bits a second of some codepoints, sample by sample, the oldest first.
    #[must_use]
    pub fn bits(&self, dscps: &[Dscp]) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.rate(dscps).bits).collect()
    }

    /// Seconds since one of the codepoints last came, as of the newest sample; `None` if none came in the watch.
    #[must_use]
    pub fn quiet(&self, dscps: &[Dscp]) -> Option<f64> {
        dscps.iter().filter_map(|dscp| self.quiet[dscp.index()]).reduce(f64::min)
    }

    /// Whether what came steadily has stopped: it came in more than half of the older samples, and in none of the
    /// newest third. Below twelve samples there is no telling.
    #[must_use]
    pub fn stopped(&self, dscps: &[Dscp]) -> bool {
        let bits = self.bits(dscps);
        let (older, newest) = bits.split_at(bits.len() - bits.len() / 3);
        let came = older.iter().filter(|bits| **bits > 0.0).count();
        bits.len() >= 12 && came * 2 > older.len() && newest.iter().all(|bits| *bits == 0.0)
    }
}

impl Sample {
    fn rate(&self, dscps: &[Dscp]) -> Rate {
        total(dscps.iter().map(|dscp| self.before[dscp.index()]))
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Direction;

    fn sample(packets: f64) -> HookRates {
        let mut before = [Rate::default(); 64];
        before[46] = Rate { packets, bits: packets * 800.0 };
        let remarked = Vec::new();
        let (after, dropped) = (before, [Rate::default(); 64]);
        HookRates {
            ifindex: 1,
            direction: Direction::Egress,
            seconds: 2.0,
            before,
            after,
            dropped,
            rules: Vec::new(),
            tabled: before,
            remarked,
            qdisc_drops: None,
        }
    }

    #[test]
    fn what_has_stopped_is_told_from_what_never_came() {
        let mut history = History::new();
        (0..20).for_each(|_| history.push(&sample(50.0)));
        assert!(!history.stopped(&[Dscp::EF]));
        assert_eq!(history.quiet(&[Dscp::EF]), Some(0.0));
        (0..15).for_each(|_| history.push(&sample(0.0)));
        assert!(history.stopped(&[Dscp::EF]));
        assert!(!history.stopped(&[Dscp::LE]));
        assert_eq!((history.quiet(&[Dscp::EF]), history.quiet(&[Dscp::LE])), (Some(30.0), None));
    }

    #[test]
    fn the_mean_is_over_the_time_asked_for() {
        let mut history = History::new();
        (0..30).for_each(|_| history.push(&sample(10.0)));
        (0..30).for_each(|_| history.push(&sample(20.0)));
        assert_eq!(history.mean(&[Dscp::EF], 60.0).packets, 20.0);
        assert_eq!(history.mean(&[Dscp::EF], 1e9).packets, 15.0);
        assert_eq!(history.seconds(), 120.0);
        history.push(&sample(20.0));
        assert_eq!(history.bits(&[Dscp::EF]).len(), History::LENGTH);
    }
}
