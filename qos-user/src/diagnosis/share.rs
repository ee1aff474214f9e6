//! Our counters beside the device's own, over the same time.

use qos_common::abi::Counter;

use super::{Command, Cure, Finding};
use crate::{
    hook::Direction,
    snapshot::{Device, Snapshot, total},
};

/// Below this many packets a share says nothing.
pub(super) const FEW: u64 = 20;

/// Thousandths by which two readings that are not one may differ.
const NOISE: u64 = 10;

/// Packets by which they may differ, however few came.
const BETWEEN: u64 = 2;

/// Thousandths by which we may be ahead: whoever reads may be kept from it between the two. Super-packets make more.
const AHEAD: u64 = 100;

/// Bytes of a packet that a device may count beside ours: padding, FCS, tags, the headers that a tunnel puts around it.
const OVERHEAD: u64 = 96;

/// Why it is not known how much we do not see.
pub(super) const HIDDEN: &str =
    "super-packets are one to it and their segments to us, so what we do not see cannot be told from the numbers";

/// What came past one hook in a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The interface.
    pub interface: String,
    /// Which way.
    pub direction: Direction,
    /// Frames that we saw.
    pub ours: Counter,
    /// What the device counted.
    pub device: Counter,
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
                ours: less(seen(now)?, seen(then)?)?,
                device: less(counted(now.device?), counted(then.device?))?,
                millis,
            })
        };
        pairs.filter_map(sample).collect()
    }

    /// All that came past a hook since it was attached.
    #[must_use]
    pub fn whole(hook: &crate::snapshot::Hook) -> Option<Self> {
        let (interface, direction) = (hook.interface.clone(), hook.direction);
        Some(Self { interface, direction, ours: seen(hook)?, device: counted(hook.device?), millis: 0 })
    }

    /// `62 of the device's 100 packets`.
    #[must_use]
    pub fn numbers(&self, of: &str) -> String {
        let number = |counter: Counter| if of == "bytes" { counter.bytes } else { counter.packets };
        format!("{} of the device's {} {of}", number(self.ours), number(self.device))
    }

    /// Whether we saw what the device counted. Super-packets are one to it and their segments to us, so that packets that
    /// we saw make up for others that we did not: bytes do so less.
    #[must_use]
    pub const fn seen(&self) -> Seen {
        let (ours, device) = (self.ours, self.device);
        if device.packets < FEW {
            return Seen::Few;
        }
        let missing = device.packets.saturating_sub(ours.packets);
        let packets = if missing > BETWEEN { thousandths(missing, device.packets) } else { 0 };
        let surely = device.bytes.saturating_sub(OVERHEAD * device.packets);
        let bytes = thousandths(surely.saturating_sub(ours.bytes), device.bytes);
        if packets > NOISE && packets >= bytes {
            return Seen::NotAll { thousandths: packets, of: "packets" };
        }
        if bytes > NOISE {
            return Seen::NotAll { thousandths: bytes, of: "bytes" };
        }
        let more = thousandths(ours.packets.saturating_sub(device.packets), device.packets);
        if more > AHEAD { Seen::Hidden } else { Seen::All }
    }
}

/// Whether we saw what the device counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Too few packets to say.
    Few,
    /// All of it.
    All,
    /// At least so much we did not see.
    NotAll {
        /// The share.
        thousandths: u64,
        /// Of packets, or of bytes.
        of: &'static str,
    },
    /// More than the device counted: it had super-packets, and what we did not see may be hidden behind them.
    Hidden,
}

const fn thousandths(part: u64, of: u64) -> u64 {
    if of == 0 { 0 } else { (part as u128 * 1000 / of as u128) as u64 }
}

/// Frames that a hook saw.
fn seen(hook: &crate::snapshot::Hook) -> Option<Counter> {
    let totals = hook.counts.as_ref().ok()?.totals();
    Some(total([totals.before, totals.uncounted]))
}

const fn counted(device: Device) -> Counter {
    Counter { packets: device.packets, bytes: device.bytes }
}

fn less(now: Counter, then: Counter) -> Option<Counter> {
    Some(Counter { packets: now.packets.checked_sub(then.packets)?, bytes: now.bytes.checked_sub(then.bytes)? })
}

/// Which share we do not see.
#[must_use]
pub fn share(sample: &Sample) -> Finding {
    let Sample { interface, direction, device, millis, .. } = sample;
    let hook = format!("{interface}:{direction}");
    let seconds = *millis as f64 / 1000.0;
    let numbers = sample.numbers("packets");
    let (thousandths, of) = match sample.seen() {
        Seen::Few => {
            let few = device.packets;
            let text = format!("{hook}: too few packets in {seconds:.1} s to compare with the device's count ({few})");
            return Finding::info(interface, "share", text);
        }
        Seen::All => {
            return Finding::ok(interface, "share", format!("{hook}: we saw {numbers} in {seconds:.1} s"));
        }
        Seen::Hidden => {
            let text = format!("{hook}: we saw {numbers} in {seconds:.1} s: {HIDDEN}");
            return Finding::unknown(interface, "share-hidden", text);
        }
        Seen::NotAll { thousandths, of } => (thousandths, of),
    };
    let (percent, numbers) = (thousandths as f64 / 10.0, sample.numbers(of));
    let text = format!("{hook}: we do not see {percent:.1} % of the {of} ({numbers} in {seconds:.1} s)");
    let cure = Cure::Own(Command::new("why").operand(&hook));
    Finding::warn(interface, "unseen", text).cure(cure)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{diagnosis::Level, snapshot::sample};

    fn found(ours: (u64, u64), device: (u64, u64)) -> Finding {
        let [ours, device] = [ours, device].map(|(packets, bytes)| Counter { packets, bytes });
        share(&Sample { interface: "wan0".to_owned(), direction: Direction::Ingress, ours, device, millis: 2000 })
    }

    fn level(ours: u64, device: u64) -> (Level, &'static str) {
        let found = found((ours, 1000 * ours), (device, 1000 * device));
        (found.level, found.code)
    }

    #[test]
    fn a_share_that_is_not_seen_is_told_and_noise_is_not() {
        assert_eq!(level(62, 100), (Level::Warn, "unseen"));
        assert_eq!(level(99, 100), (Level::Ok, "share"));
        assert_eq!(level(1000, 100), (Level::Unknown, "share-hidden"), "segments of super-packets");
        assert_eq!(level(0, 5), (Level::Info, "share"));
    }

    #[test]
    fn super_packets_do_not_hide_what_is_not_seen() {
        // Of a thousand super-packets of ten segments a tenth came to us.
        let half = found((1000, 1_514_000), (1000, 14_546_000));
        assert_eq!((half.level, half.code), (Level::Warn, "unseen"));
        assert!(half.text.contains("% of the bytes (1514000 of the device's 14546000 bytes"), "{}", half.text);
        let all = found((10_000, 15_140_000), (1000, 14_546_000));
        assert_eq!(all.level, Level::Unknown, "a header more for each segment hides some");
        // FCS and padding, which the device counts.
        assert_eq!(found((1000, 54_000), (1000, 64_000)).level, Level::Ok);
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
        let moved: Vec<_> = samples.iter().filter(|sample| sample.device.packets > 0).collect();
        let (ours, device) = (Counter::default(), Counter { packets: 38, bytes: 0 });
        assert_eq!(moved, [&Sample { interface, direction, ours, device, millis: 2000 }]);
        assert_eq!(moved[0].seen(), Seen::NotAll { thousandths: 1000, of: "packets" });
    }
}
