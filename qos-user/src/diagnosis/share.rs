//! Our counters beside the device's own, over the same time.

use super::{Command, Cure, Finding};
use crate::{hook::Direction, snapshot::Snapshot};

/// Below this many packets a share says nothing.
const FEW: u64 = 20;

/// What came past one hook in a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The interface.
    pub interface: String,
    /// Which way.
    pub direction: Direction,
    /// Frames that we saw.
    pub ours: u64,
    /// Packets that the device counted.
    pub device: u64,
    /// Milliseconds.
    pub millis: u64,
}

impl Sample {
    /// From two snapshots of the same hooks.
    #[must_use]
    pub fn between(earlier: &Snapshot, later: &Snapshot) -> Vec<Self> {
        let millis = later.time.duration_since(earlier.time).map_or(0, |time| time.as_millis() as u64);
        let pairs = later.hooks.iter().filter_map(|now| {
            let same = |then: &&crate::snapshot::Hook| {
                (then.ifindex, then.direction, then.since) == (now.ifindex, now.direction, now.since)
            };
            Some((earlier.hooks.iter().find(same)?, now))
        });
        let sample = |(then, now): (&crate::snapshot::Hook, &crate::snapshot::Hook)| {
            Some(Self {
                interface: now.interface.clone(),
                direction: now.direction,
                ours: seen(now)?.checked_sub(seen(then)?)?,
                device: now.device?.packets.checked_sub(then.device?.packets)?,
                millis,
            })
        };
        pairs.filter_map(sample).collect()
    }

    /// All that came past a hook since it was attached.
    #[must_use]
    pub fn whole(hook: &crate::snapshot::Hook) -> Option<Self> {
        let (interface, direction) = (hook.interface.clone(), hook.direction);
        Some(Self { interface, direction, ours: seen(hook)?, device: hook.device?.packets, millis: 0 })
    }

    /// Which share of the device's packets we did not see, in thousandths; `None` if there were too few.
    #[must_use]
    pub const fn unseen(&self) -> Option<u64> {
        if self.device < FEW {
            return None;
        }
        // Super-packets are one to the device, and their segments to us.
        Some(self.device.saturating_sub(self.ours) * 1000 / self.device)
    }
}

/// Frames that a hook saw.
fn seen(hook: &crate::snapshot::Hook) -> Option<u64> {
    let totals = hook.counts.as_ref().ok()?.totals();
    Some(totals.before.packets + totals.uncounted.packets)
}

/// Which share of packets we do not see. One percent is what two readings that are not one may differ by.
#[must_use]
pub fn share(sample: &Sample) -> Finding {
    let Sample { interface, direction, ours, device, millis } = sample;
    let hook = format!("{interface}:{direction}");
    let seconds = *millis as f64 / 1000.0;
    let Some(unseen) = sample.unseen() else {
        let text = format!("{hook}: too few packets in {seconds:.1} s to compare with the device's count ({device})");
        return Finding::info(interface, "share", text);
    };
    let numbers = format!("{ours} of the device's {device} packets in {seconds:.1} s");
    if unseen <= 10 {
        return Finding::ok(interface, "share", format!("{hook}: we saw {numbers}"));
    }
    let percent = unseen as f64 / 10.0;
    let text = format!("{hook}: we do not see {percent:.1} % of the packets ({numbers})");
    let cure = Cure::Own(Command::new("why").operand(&hook));
    Finding::warn(interface, "unseen", text).cure(cure)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{diagnosis::Level, snapshot::sample};

    fn level(ours: u64, device: u64) -> (Level, &'static str) {
        let sample = Sample { interface: "wan0".to_owned(), direction: Direction::Ingress, ours, device, millis: 2000 };
        let found = share(&sample);
        (found.level, found.code)
    }

    #[test]
    fn a_share_that_is_not_seen_is_told_and_noise_is_not() {
        assert_eq!(level(62, 100), (Level::Warn, "unseen"));
        assert_eq!(level(99, 100), (Level::Ok, "share"));
        assert_eq!(level(1000, 100), (Level::Ok, "share"), "segments of super-packets");
        assert_eq!(level(0, 5), (Level::Info, "share"));
    }

    #[test]
    fn a_sample_is_the_difference_of_the_same_hooks() {
        let earlier = sample::snapshot();
        let mut later = earlier.clone();
        later.time += Duration::from_secs(2);
        let hook = later.hooks.iter_mut().find(|hook| hook.device.is_some()).unwrap();
        hook.device.as_mut().unwrap().packets += 38;
        let (interface, direction) = (hook.interface.clone(), hook.direction);
        let samples = Sample::between(&earlier, &later);
        let moved: Vec<_> = samples.iter().filter(|sample| sample.device > 0).collect();
        assert_eq!(moved, [&Sample { interface, direction, ours: 0, device: 38, millis: 2000 }]);
        assert_eq!(moved[0].unseen(), Some(1000));
    }
}
