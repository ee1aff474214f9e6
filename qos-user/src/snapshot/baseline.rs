//! From when the terminal's table counts, after `stats clear`. Machine output is always since attach.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Device, Hook, Qdisc, cells::Cells};

/// What a hook had counted when `stats clear` was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// When it was cleared, in nanoseconds since 1970.
    cleared: u64,
    /// Since when the hook counts, in nanoseconds since 1970: which attachment this is the baseline of.
    since: u64,
    counts: Cells,
    device: Option<Device>,
    qdisc: Option<Qdisc>,
}

impl Baseline {
    /// The baseline of a hook as it was read at `time`; `None` if its counters could not be read.
    #[must_use]
    pub fn of(hook: &Hook, time: SystemTime) -> Option<Self> {
        let counts = hook.counts.as_ref().ok()?.cells();
        Some(Self {
            cleared: nanoseconds(time),
            since: nanoseconds(hook.since),
            counts,
            device: hook.device,
            qdisc: hook.qdisc.clone(),
        })
    }
}

impl Hook {
    /// The same hook with what it counted since `baseline`; `None` if the baseline is of another attachment.
    #[must_use]
    pub fn since(&self, baseline: &Baseline) -> Option<Self> {
        if nanoseconds(self.since) != baseline.since {
            return None;
        }
        let counts = match &self.counts {
            Ok(counts) => Ok(counts.less(&baseline.counts)?),
            Err(why) => Err(why.clone()),
        };
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(baseline.cleared))?;
        let device = self.device.zip(baseline.device).and_then(|(now, then)| now.less(then));
        let qdisc = self.qdisc.as_ref().zip(baseline.qdisc.as_ref()).and_then(|(now, then)| now.less(then));
        Some(Self { since, cleared: true, counts, device, qdisc, ..self.clone() })
    }
}

impl Device {
    fn less(self, then: Self) -> Option<Self> {
        Some(Self {
            packets: self.packets.checked_sub(then.packets)?,
            bytes: self.bytes.checked_sub(then.bytes)?,
            drops: self.drops.checked_sub(then.drops)?,
        })
    }
}

impl Qdisc {
    /// A qdisc of another kind is another qdisc, whose drops began at zero.
    fn less(&self, then: &Self) -> Option<Self> {
        let same = self.kind == then.kind;
        let drops = if same { self.drops.checked_sub(then.drops)? } else { self.drops };
        Some(Self { kind: self.kind.clone(), drops })
    }
}

/// A time before 1970 or after 2554 is no time at which anything here was attached; it becomes the nearest.
fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use qos_common::{abi::Counter, ds::Dscp};

    use super::*;
    use crate::snapshot::sample;

    #[test]
    fn the_table_begins_again_at_zero_and_goes_on_from_there() {
        let snapshot = sample::snapshot();
        let mut hook = snapshot.hooks[1].clone();
        let baseline = Baseline::of(&hook, snapshot.time).unwrap();
        let baseline: Baseline = serde_json::from_str(&serde_json::to_string(&baseline).unwrap()).unwrap();
        let cleared = hook.since(&baseline).unwrap();
        assert_eq!(cleared.counts.unwrap().totals().before, Counter::default());
        assert_eq!((cleared.since, cleared.device), (snapshot.time, Some(Device::default())));

        hook.counts.as_mut().unwrap().sums.kept[0][184].add(Counter { packets: 3, bytes: 300 });
        let after = hook.since(&baseline).unwrap().counts.unwrap();
        assert_eq!(after.before(Dscp::EF), Counter { packets: 3, bytes: 300 });
    }

    #[test]
    fn the_baseline_of_another_attachment_is_refused() {
        let snapshot = sample::snapshot();
        let mut hook = snapshot.hooks[1].clone();
        let baseline = Baseline::of(&hook, snapshot.time).unwrap();
        hook.since += Duration::from_secs(1);
        assert!(hook.since(&baseline).is_none());
    }
}
