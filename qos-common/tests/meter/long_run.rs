//! What a meter lets through in the long run is its rate, from 8 kbit/s to 400 Gbit/s.

use qos_common::meter::{Algorithm, Charge, Color};

use crate::oracle::{Arriving, Metered, Parameters};

const PACKETS: u64 = 20_000;

/// Offers four times `rate` in packets of one size, and gives the bytes of each color and the time in nanoseconds.
fn offer(of: Parameters, rate: u64, bytes: u64) -> ([u64; 3], u64) {
    let mut metered = Metered::new(of, 123_456_789_012);
    let (mut sums, mut last) = ([0; 3], 0);
    for number in 0..PACKETS {
        let at = (u128::from(number * bytes) * 1_000_000_000 / u128::from(4 * rate)) as u64;
        let packet = Arriving { gap: at - last, color: Color::Green, charge: Charge::single(bytes) };
        sums[metered.color(packet) as usize] += bytes;
        last = at;
    }
    (sums, last)
}

/// The bytes that a bucket has to give in the time.
fn budget(rate: u64, size: u64, nanoseconds: u64) -> f64 {
    size as f64 + rate as f64 * nanoseconds as f64 / 1e9
}

fn assert_near(what: &str, got: u64, expected: f64, packet: u64) {
    let allowed = expected * 0.001 + packet as f64;
    assert!((got as f64 - expected).abs() <= allowed, "{what}: {got}, not {expected}");
}

#[test]
fn shares_are_those_of_the_rates() {
    for rate in
        [1_000, 1_003, 77_777, 1_000_000, 19_230_769, 125_000_000, 1_250_000_000, 12_345_678_901, 25_000_000_000]
    {
        for bytes in [40, 64, 576, 1_500, 9_000] {
            let size = 20 * bytes;
            let of = |algorithm| Parameters { algorithm, committed: (rate, size), other: (2 * rate, size) };
            let name = format!("{rate} bytes a second, packets of {bytes}");
            let (sums, time) = offer(of(Algorithm::TrTcm), rate, bytes);
            assert_near(&name, sums[0], budget(rate, size, time), bytes);
            assert_near(&name, sums[0] + sums[1], budget(2 * rate, size, time), bytes);
            let (sums, time) = offer(of(Algorithm::Rfc4115), rate, bytes);
            assert_near(&name, sums[0], budget(rate, size, time), bytes);
            // While C has its burst, E is full and loses what comes in: twice the rate, for size / (4 - 1) / rate.
            assert_near(&name, sums[1], budget(2 * rate, size, time) - size as f64 * 2.0 / 3.0, bytes);
            let (sums, time) = offer(of(Algorithm::SrTcm), rate, bytes);
            assert_near(&name, sums[0], budget(rate, size, time), bytes);
            assert_eq!(sums[1], size, "{name}: E is filled by what C cannot hold, which is nothing");
        }
    }
}
