//! Our counters beside the device's own, over the same time.

use qos_common::abi::Counter;

use super::{Command, Cure, Finding, facts::Port};
use crate::{
    hook::Direction,
    snapshot::{Device, Snapshot, total},
};

/// Below this many packets a share says nothing.
pub(super) const FEW: u64 = 20;

/// Thousandths by which two readings that are not one may differ.
pub(super) const NOISE: u64 = 10;

/// Packets by which they may differ, however few came.
pub(super) const BETWEEN: u64 = 2;

/// Thousandths by which we may be ahead: whoever reads may be kept from it between the two. Super-packets make more.
const AHEAD: u64 = 100;

/// Bytes of a packet that a device may count beside ours: padding, FCS, tags, the headers that a tunnel puts around it. Nor do
/// the headers have more that each segment of a super-packet has, and the device counts once.
const OVERHEAD: u64 = 96;

/// Why it is not known how much we do not see.
pub(super) const fn hidden(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => {
            "super-packets are one to it and their segments to us, so what we do not see cannot be told from the numbers"
        }
        Direction::Egress => {
            "super-packets are one to it and their segments to us, or a qdisc that is gone has dropped some, so what we do not \
             see cannot be told from the numbers"
        }
    }
}

/// What came past one hook in a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The interface.
    pub interface: String,
    /// Which way.
    pub direction: Direction,
    /// Frames that we saw.
    pub ours: Counter,
    /// What of it did not come to the device.
    pub dropped: Dropped,
    /// What the device counted.
    pub device: Counter,
    /// Milliseconds.
    pub millis: u64,
}

/// What did not come to the device of what we saw: at egress we count before the policy, the qdisc and the device drop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// By a policy's word.
    pub policy: Counter,
    /// Packets, by the qdisc.
    pub qdisc: u64,
    /// Packets, by the device, which may have counted them as sent all the same.
    pub device: u64,
}

impl Dropped {
    /// Since the hook was attached.
    fn whole(hook: &crate::snapshot::Hook) -> Option<Self> {
        if hook.direction == Direction::Ingress {
            return Some(Self::default());
        }
        Some(Self {
            policy: hook.counts.as_ref().ok()?.totals().dropped,
            qdisc: hook.qdisc.as_ref().map_or(0, |qdisc| qdisc.drops),
            device: hook.device?.drops,
        })
    }

    /// A qdisc that took another's place began at zero.
    fn less(self, then: Self) -> Option<Self> {
        let device = self.device.checked_sub(then.device)?;
        let qdisc = self.qdisc.checked_sub(then.qdisc).unwrap_or(self.qdisc);
        Some(Self { policy: less(self.policy, then.policy)?, qdisc, device })
    }

    /// `; dropped between our count and the device's: 400 by the qdisc`, or nothing.
    #[must_use]
    pub fn words(&self) -> String {
        let by = self.by();
        if by.is_empty() { by } else { format!("; dropped between our count and the device's: {by}") }
    }

    /// `400 by the qdisc`, or nothing.
    fn by(&self) -> String {
        let by = [(self.policy.packets, "our policy"), (self.qdisc, "the qdisc"), (self.device, "the device")];
        let by = by.iter().filter(|(packets, _)| *packets > 0).map(|(packets, by)| format!("{packets} by {by}"));
        by.collect::<Vec<_>>().join(", ")
    }
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
                dropped: Dropped::whole(now)?.less(Dropped::whole(then)?)?,
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
        let (ours, dropped, device) = (seen(hook)?, Dropped::whole(hook)?, counted(hook.device?));
        Some(Self { interface, direction, ours, dropped, device, millis: 0 })
    }

    /// `62 of the device's 100 packets`.
    #[must_use]
    pub fn numbers(&self, of: &str) -> String {
        let number = |counter: Counter| if of == "bytes" { counter.bytes } else { counter.packets };
        format!("{} of the device's {} {of}", number(self.ours), number(self.device))
    }

    /// Whether we saw what the device counted. Super-packets are one to it and their segments to us, so that packets that
    /// we saw make up for others that we did not: bytes do so less. Of what the qdisc dropped only packets are known.
    #[must_use]
    pub const fn seen(&self) -> Seen {
        let (ours, device) = (self.passed(), self.device);
        let lost = self.lost();
        if lost > 0 {
            return Seen::Lost { packets: lost };
        }
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
        let ahead = ours.packets.saturating_sub(device.packets).saturating_sub(self.dropped.device);
        if thousandths(ahead, device.packets) > AHEAD { Seen::Hidden } else { Seen::All }
    }

    /// How many packets went out by us, and came to no device, qdisc or policy that dropped them: where it is not so many that
    /// it may be the time between two readings, and not what super-packets would make of the numbers.
    const fn lost(&self) -> u64 {
        let (passed, device) = (self.passed(), self.device);
        let missing = passed.packets.saturating_sub(device.packets).saturating_sub(self.dropped.device);
        let is_out = matches!(self.direction, Direction::Egress);
        if !is_out || self.dropped.qdisc > 0 || missing < FEW || thousandths(missing, passed.packets) <= AHEAD {
            return 0;
        }
        let surely = passed.bytes.saturating_sub(OVERHEAD * missing).saturating_sub(device.bytes);
        if device.packets == 0 || thousandths(surely, passed.bytes) > NOISE { missing } else { 0 }
    }

    /// What of ours the device was given.
    const fn passed(&self) -> Counter {
        let Dropped { policy, qdisc, .. } = self.dropped;
        Counter {
            packets: self.ours.packets.saturating_sub(policy.packets).saturating_sub(qdisc),
            bytes: self.ours.bytes.saturating_sub(policy.bytes),
        }
    }
}

/// Whether we saw what the device counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Too few packets to say.
    Few,
    /// All of it.
    All,
    /// So many of ours did not come to the device, whatever super-packets it had.
    Lost {
        /// Packets.
        packets: u64,
    },
    /// At least so much we did not see.
    NotAll {
        /// The share.
        thousandths: u64,
        /// Of packets, or of bytes.
        of: &'static str,
    },
    /// More than the device counted: it had super-packets, or a qdisc that is gone took what it dropped with it, and what we
    /// did not see may be hidden behind them.
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

/// Which share we do not see at a port.
#[must_use]
pub fn share(sample: &Sample, port: Option<&Port>) -> Finding {
    let Sample { interface, direction, device, millis, .. } = sample;
    let dropped = sample.dropped.words();
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
            return Finding::ok(interface, "share", format!("{hook}: we saw {numbers} in {seconds:.1} s{dropped}"));
        }
        Seen::Hidden => {
            let why = hidden(*direction);
            let text = format!("{hook}: we saw {numbers} in {seconds:.1} s{dropped}: {why}");
            return Finding::unknown(interface, "share-hidden", text);
        }
        Seen::Lost { packets } => {
            let text = format!(
                "{hook}: we saw {numbers} in {seconds:.1} s{dropped}: {packets} are lost behind us, or it counts them later or \
                 not at all"
            );
            return Finding::unknown(interface, "lost-behind", text)
                .cure(Cure::ask(Command::new("why").operand(&hook)));
        }
        Seen::NotAll { thousandths, of } => (thousandths, of),
    };
    let (percent, numbers) = (thousandths as f64 / 10.0, sample.numbers(of));
    let text = format!("{hook}: we do not see {percent:.1} % of the {of} ({numbers} in {seconds:.1} s{dropped})");
    Finding::warn(interface, "unseen", text).with_ways(port, interface, *direction)
}

/// What a qdisc or a device drops behind our count is counted as AFTER, and not sent: told where it is more than the few
/// packets by which a shaper tells its senders.
#[must_use]
pub fn dropped(sample: &Sample) -> Option<Finding> {
    let Sample { interface, direction, ours, millis, .. } = sample;
    let dropped = Dropped { policy: Counter::default(), ..sample.dropped };
    let after = ours.packets.saturating_sub(sample.dropped.policy.packets);
    let share = thousandths(dropped.qdisc + dropped.device, after);
    if after < FEW || share <= NOISE {
        return None;
    }
    let (percent, seconds) = (share as f64 / 10.0, *millis as f64 / 1000.0);
    let text = format!(
        "{interface}:{direction}: {percent:.1} % of what is counted as AFTER is not sent, in {seconds:.1} s: {}",
        dropped.by()
    );
    let look = Command::new("tc -s qdisc show dev").word(interface);
    Some(Finding::warn(interface, "dropped-behind", text).cure(Cure::look(look)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{diagnosis::Level, snapshot::sample};

    fn found(ours: (u64, u64), device: (u64, u64)) -> Finding {
        let [ours, device] = [ours, device].map(|(packets, bytes)| Counter { packets, bytes });
        share(&of(ours, device, Dropped::default()), None)
    }

    fn of(ours: Counter, device: Counter, dropped: Dropped) -> Sample {
        Sample { interface: "wan0".to_owned(), direction: Direction::Egress, ours, dropped, device, millis: 2000 }
    }

    /// A thousand packets of a thousand bytes, of which so many came to the device.
    fn shaped(sent: u64, dropped: Dropped) -> Finding {
        let [ours, device] = [1000, sent].map(|packets| Counter { packets, bytes: 1000 * packets });
        share(&of(ours, device, dropped), None)
    }

    fn level(ours: u64, device: u64) -> (Level, &'static str) {
        let found = found((ours, 1000 * ours), (device, 1000 * device));
        (found.level, found.code)
    }

    #[test]
    fn a_share_that_is_not_seen_is_told_and_noise_is_not() {
        assert_eq!(level(62, 100), (Level::Warn, "unseen"));
        assert_eq!(level(99, 100), (Level::Ok, "share"));
        let segments = found((1000, 1_000_000), (100, 940_000));
        assert_eq!((segments.level, segments.code), (Level::Unknown, "share-hidden"), "segments of super-packets");
        assert_eq!(level(0, 5), (Level::Info, "share"));
    }

    #[test]
    fn what_no_super_packet_explains_is_lost_behind_us() {
        for (ours, device) in [((20, 1960), (0, 0)), ((1000, 142_000), (500, 71_000)), ((30, 1200), (0, 0))] {
            assert_eq!(found(ours, device).code, "lost-behind", "{ours:?} {device:?}");
        }
        assert_eq!(
            found((1000, 60_000), (500, 30_000)).code,
            "share-hidden",
            "headers of so small segments are all of it"
        );
        assert_eq!(found((1000, 98_000), (950, 93_000)).code, "share", "between two readings");
        assert_eq!(found((19, 1900), (0, 0)).code, "share", "too few");
        assert_eq!(shaped(400, Dropped { qdisc: 10, ..Dropped::default() }).code, "share-hidden", "of whatever size");
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
    fn what_is_dropped_between_our_count_and_the_devices_is_no_super_packet() {
        let policy = Counter { packets: 100, bytes: 100_000 };
        let by_qdisc = Dropped { qdisc: 400, ..Dropped::default() };
        let by_all = Dropped { policy, qdisc: 250, device: 50 };
        for (dropped, words) in [(by_qdisc, "400 by the qdisc"), (by_all, "100 by our policy, 250 by the qdisc, 50 by")]
        {
            let all = shaped(600, dropped);
            assert_eq!((all.level, all.code), (Level::Ok, "share"), "{}", all.text);
            assert!(
                all.text.contains(&format!("; dropped between our count and the device's: {words}")),
                "{}",
                all.text
            );
        }
        assert_eq!(shaped(600, Dropped::default()).code, "lost-behind");
        // As many as were dropped came to the device by another way.
        assert_eq!(shaped(1000, by_qdisc).code, "unseen");
    }

    #[test]
    fn what_is_dropped_behind_our_count_is_told_where_it_is_more_than_a_few() {
        let told = |qdisc, ours| {
            let ours = Counter { packets: ours, bytes: 1000 * ours };
            dropped(&of(ours, ours, Dropped { qdisc, ..Dropped::default() }))
        };
        let found = told(70, 1000).unwrap();
        assert_eq!((found.level, found.code), (Level::Warn, "dropped-behind"));
        let text = "wan0:egress: 7.0 % of what is counted as AFTER is not sent, in 2.0 s: 70 by the qdisc";
        assert_eq!((&*found.text, found.cure), (text, Some(Cure::look(Command::new("tc -s qdisc show dev wan0")))));
        assert_eq!([told(10, 1000), told(5, 10)], [None, None], "as a shaper does, and too few to say");
        let by_policy = Dropped { policy: Counter { packets: 900, bytes: 0 }, ..Dropped::default() };
        assert_eq!(dropped(&of(Counter { packets: 1000, bytes: 0 }, Counter::default(), by_policy)), None);
    }

    #[test]
    fn drops_are_those_of_the_sample_at_egress() {
        let mut earlier = sample::snapshot();
        (earlier.hooks[0].device, earlier.hooks[0].qdisc) = (earlier.hooks[1].device, earlier.hooks[1].qdisc.clone());
        let mut later = earlier.clone();
        for hook in &mut later.hooks {
            hook.qdisc.iter_mut().for_each(|qdisc| qdisc.drops += 7);
            hook.device.iter_mut().for_each(|device| device.drops += 3);
        }
        let dropped = Sample::between(&earlier, &later).into_iter().map(|sample| (sample.direction, sample.dropped));
        let egress = Dropped { qdisc: 7, device: 3, ..Dropped::default() };
        let expected = [(Direction::Ingress, Dropped::default()), (Direction::Egress, egress)];
        assert_eq!(dropped.collect::<Vec<_>>(), expected);
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
        let dropped = Dropped::default();
        assert_eq!(moved, [&Sample { interface, direction, ours, dropped, device, millis: 2000 }]);
        assert_eq!(moved[0].seen(), Seen::NotAll { thousandths: 1000, of: "packets" });
    }
}
