//! Where a byte takes a whole number of units of time, there is no rounding, and the colors are those of the RFC.

use proptest::prelude::*;
use qos_common::meter::{Algorithm, Arrival, Charge, Color};

use crate::oracle::{Arriving, Metered, Oracle, Parameters, algorithms, packets};

/// Bytes a second at which a byte takes a whole number of units: 8 kbit/s to 256 Gbit/s.
const RATES: [u64; 14] = [
    1_000,
    8_000,
    12_500,
    125_000,
    1_000_000,
    1_250_000,
    12_500_000,
    62_500_000,
    125_000_000,
    500_000_000,
    1_000_000_000,
    4_000_000_000,
    16_000_000_000,
    32_000_000_000,
];

fn cases() -> impl Strategy<Value = (Parameters, u64, Vec<Arriving>)> {
    let rates = (0..RATES.len(), 0..RATES.len()).prop_map(|(one, other)| (RATES[one], RATES[other]));
    (algorithms(), rates, 0_u64..200_000, 0_u64..200_000, 0..u64::MAX / 4).prop_flat_map(
        |(algorithm, (cir, other), cbs, size, start)| {
            let of = Parameters { algorithm, committed: (cir, cbs), other: (other, size) };
            packets(cir.max(other)).prop_map(move |packets| (of, start, packets))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_color_is_that_of_the_rfc((of, start, packets) in cases()) {
        let (mut metered, mut oracle) = (Metered::new(of, start), Oracle::new(of));
        for (number, packet) in packets.into_iter().enumerate() {
            oracle.wait(packet.gap);
            let expected = oracle.color(packet.color, packet.charge, (0, 0));
            oracle.take(expected, packet.charge);
            prop_assert_eq!(metered.color(packet), expected, "packet {}: {:?}, {:?}", number, packet, oracle);
        }
    }
}

/// A burst of one size: how many are of each color.
fn burst(of: Parameters, bytes: u64, packets: usize) -> [usize; 3] {
    let mut metered = Metered::new(of, 1 << 40);
    let mut counts = [0; 3];
    for _ in 0..packets {
        let packet = Arriving { gap: 0, color: Color::Green, charge: Charge::single(bytes) };
        counts[metered.color(packet) as usize] += 1;
    }
    counts
}

#[test]
fn a_burst_of_just_the_size_conforms() {
    for rate in [1_000, 1_234_567, 1_250_000_000, 50_000_000_000] {
        for (algorithm, size, expected) in [
            (Algorithm::SrTcm, 50, [100, 50, 50]),
            (Algorithm::TrTcm, 150, [100, 50, 50]),
            (Algorithm::Rfc4115, 50, [100, 50, 50]),
        ] {
            let of = Parameters { algorithm, committed: (rate, 100 * 1_500), other: (rate, size * 1_500) };
            assert_eq!(burst(of, 1_500, 200), expected, "{of:?}");
        }
    }
}

#[test]
fn a_super_packet_needs_room_for_one_segment_and_takes_them_all() {
    let of = Parameters { algorithm: Algorithm::TrTcm, committed: (1_000_000, 3_000), other: (1_000_000, 3_000) };
    let mut metered = Metered::new(of, 0);
    let large = |gap| Arriving { gap, color: Color::Green, charge: Charge { first: 1_500, all: 60_000 } };
    assert_eq!(metered.color(large(0)), Color::Green);
    // 57,000 bytes too many: 57 ms until the bucket is at 0, and 1.5 more until it holds a segment.
    assert_eq!(metered.color(large(58_499_999)), Color::Red);
    assert_eq!(metered.color(large(1)), Color::Green);
}

#[test]
fn it_is_full_after_years_and_never_more_than_full() {
    const YEAR: u64 = 365 * 86_400 * 1_000_000_000;
    for rate in [1_000, 125_000_000, 32_000_000_000] {
        let of = Parameters { algorithm: Algorithm::TrTcm, committed: (rate, 3_000), other: (rate, 3_000) };
        let mut metered = Metered::new(of, 0);
        let mut color = |gap| metered.color(Arriving { gap, color: Color::Green, charge: Charge::single(1_500) });
        for gap in [0, YEAR, 60 * YEAR + 1, 3_600_000_000_000, 86_400_000_000_000] {
            assert_eq!([color(gap), color(0), color(0)], [Color::Green, Color::Green, Color::Red], "{rate} {gap}");
        }
    }
}

#[test]
fn a_clock_that_is_behind_that_of_another_cpu_gives_nothing_away() {
    let of = Parameters { algorithm: Algorithm::SrTcm, committed: (1_000_000, 1_500), other: (1, 1_500) };
    let meter = of.meter();
    let mut buckets = qos_common::meter::Buckets::FULL;
    let charge = Charge::single(1_500);
    let mut color = |now| meter.color(&mut buckets, &Arrival { color: Color::Green, charge, now });
    assert_eq!([color(5_000_000_000), color(4_999_000_000)], [Color::Green, Color::Yellow]);
    assert_eq!(color(4_990_000_000), Color::Red);
    assert_eq!(color(5_001_499_999), Color::Red);
    assert_eq!(color(5_001_500_000), Color::Green);
}
