//! Random meters, and how often random rules tell of packets.

use core::num::NonZero;

use qos_common::{ds::Dscp, meter::Charge};
use qos_vectors::random::Random;
use qosbpf::policy::{
    model::{Action, Arrived, LogRate, Meter, MeterKind, Rule, Verdict},
    packet::Packet,
};

use crate::policies::{dscp, pick};

/// Bytes a second at which a byte takes a whole number of nanoseconds, so that token counts are exact.
const RATES: [u64; 4] = [1_000, 8_000, 125_000, 1_000_000];

/// Some hold no packet, some a few, some all that come.
const SIZES: [u64; 7] = [0, 40, 64, 100, 250, 1_000, 20_000];

/// A rule that meters, by one of the three RFCs, color-blind or color-aware.
pub fn action(random: &mut Random) -> Action {
    let (cir, cbs) = (pick(random, &RATES), pick(random, &SIZES));
    let (other, ebs) = (pick(random, &RATES), pick(random, &SIZES));
    let kind = match random.below(3) {
        0 => MeterKind::SrTcm { cir, cbs, ebs },
        1 => MeterKind::TrTcm { cir, cbs, pir: other, pbs: ebs },
        _ => MeterKind::Rfc4115 { cir, cbs, eir: other, ebs },
    };
    let aware = random.one_in(2).then(|| {
        let (yellow, red) = (codepoints(random), codepoints(random));
        Arrived { yellow: yellow & !red, red }
    });
    let overhead = pick(random, &[0, 0, 18, -4, -64, 256]);
    let [green, yellow, red] = [(); 3].map(|()| verdict(random));
    Action::Meter(Meter { kind, aware, overhead, green, yellow, red })
}

/// A rate so low that within a test no event comes back.
pub fn log(random: &mut Random) -> LogRate {
    LogRate { events: NonZero::<u32>::MIN.saturating_add(pick(random, &[0, 1, 4])), seconds: 3600 }
}

fn codepoints(random: &mut Random) -> u64 {
    (0..2).fold(0, |bits, _| bits | 1 << dscp(random).value())
}

fn verdict(random: &mut Random) -> Verdict {
    match random.below(4) {
        0 => Verdict::Keep,
        1 => Verdict::Drop,
        _ => Verdict::Set(dscp(random)),
    }
}

/// What a color does to a packet with this mark.
pub fn becomes(verdict: Verdict, dscp: Dscp) -> qos_common::policy::Decision {
    use qos_common::policy::Decision;
    match verdict {
        Verdict::Set(to) if to != dscp => Decision::Remark(to),
        Verdict::Keep | Verdict::Set(_) => Decision::Keep,
        Verdict::Drop => Decision::Drop,
    }
}

/// The words of buckets that stay empty for seconds from `now` on.
pub fn empty_at(meter: &Meter, now: u64) -> [u64; 2] {
    let buckets = match meter.kind {
        MeterKind::SrTcm { cir, cbs, ebs } => [(cir, cbs), (cir, cbs + ebs)],
        MeterKind::TrTcm { cir, cbs, pir, pbs } => [(cir, cbs), (pir, pbs)],
        MeterKind::Rfc4115 { cir, cbs, eir, ebs } => [(cir, cbs), (eir, ebs)],
    };
    buckets.map(|(rate, size)| now + size * 1_000_000_000 / rate + 5_000_000_000)
}

/// What a meter charges for a packet of which so many bytes are there from the IP header on.
pub fn charge(meter: &Meter, packet: &Packet, there: usize) -> Charge {
    let bytes = usize::from(packet.length).min(there) as i64;
    Charge::single((bytes + i64::from(meter.overhead)).max(0) as u64)
}

/// A slot for the meter of each rule, no two the same; 0 for those without one.
pub fn slots(rules: &[Rule]) -> Vec<u16> {
    let mut next = 0;
    let slots = rules.iter().map(|rule| {
        rule.meter().map_or(0, |_| {
            next += 1;
            next * 5 % 256
        })
    });
    slots.collect()
}
