//! The three RFCs step by step, with token counts that are exact: bytes times 10^9, to which a nanosecond adds the rate.

use proptest::prelude::*;
use qos_common::meter::{Algorithm, Arrival, Buckets, Charge, Color, Meter};

const UNIT: i128 = 1_000_000_000;

/// The parameters by the names of the RFCs: rate in bytes a second, size in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    pub algorithm: Algorithm,
    /// CIR, CBS.
    pub committed: (u64, u64),
    /// PIR, PBS; EIR, EBS; for RFC 2697 EBS alone counts.
    pub other: (u64, u64),
}

impl Parameters {
    pub fn meter(&self) -> Meter {
        Meter::new(self.algorithm, self.committed, self.other)
    }
}

/// A packet: nanoseconds after the one before it, its color, what it takes.
#[derive(Clone, Copy, Debug)]
pub struct Arriving {
    pub gap: u64,
    pub color: Color,
    pub charge: Charge,
}

/// Token counts.
#[derive(Clone, Copy, Debug)]
pub struct Oracle {
    of: Parameters,
    tc: i128,
    to: i128,
}

impl Oracle {
    /// The buckets are full at first.
    pub fn new(of: Parameters) -> Self {
        Self { of, tc: of.committed.1 as i128 * UNIT, to: of.other.1 as i128 * UNIT }
    }

    /// Time goes by.
    pub fn wait(&mut self, nanoseconds: u64) {
        let (cbs, size) = (self.of.committed.1 as i128 * UNIT, self.of.other.1 as i128 * UNIT);
        self.tc += self.of.committed.0 as i128 * nanoseconds as i128;
        match self.of.algorithm {
            Algorithm::SrTcm => self.to += (self.tc - cbs).max(0),
            Algorithm::TrTcm | Algorithm::Rfc4115 => self.to += self.of.other.0 as i128 * nanoseconds as i128,
        }
        self.tc = self.tc.min(cbs);
        self.to = self.to.min(size);
    }

    /// The color of a packet if there were so much more in each bucket.
    pub fn color(&self, color: Color, charge: Charge, more: (i128, i128)) -> Color {
        let size = charge.first as i128 * UNIT;
        let (in_c, in_other) = (self.tc + more.0 >= size, self.to + more.1 >= size);
        match (self.of.algorithm, color) {
            (Algorithm::SrTcm | Algorithm::Rfc4115, Color::Green) if in_c => Color::Green,
            (Algorithm::SrTcm | Algorithm::Rfc4115, Color::Green | Color::Yellow) if in_other => Color::Yellow,
            (Algorithm::SrTcm | Algorithm::Rfc4115, _) => Color::Red,
            (Algorithm::TrTcm, Color::Red) => Color::Red,
            (Algorithm::TrTcm, _) if !in_other => Color::Red,
            (Algorithm::TrTcm, Color::Yellow) => Color::Yellow,
            (Algorithm::TrTcm, Color::Green) => {
                if in_c {
                    Color::Green
                } else {
                    Color::Yellow
                }
            }
        }
    }

    /// Takes what a packet of this color takes.
    pub fn take(&mut self, color: Color, charge: Charge) {
        let size = charge.all as i128 * UNIT;
        let both = self.of.algorithm == Algorithm::TrTcm;
        if color == Color::Green {
            self.tc -= size;
        }
        if color == Color::Yellow || (both && color == Color::Green) {
            self.to -= size;
        }
    }
}

/// The meter, and the colors that it gives.
pub struct Metered {
    meter: Meter,
    buckets: Buckets,
    now: u64,
}

impl Metered {
    pub fn new(of: Parameters, start: u64) -> Self {
        Self { meter: of.meter(), buckets: Buckets::FULL, now: start }
    }

    pub fn color(&mut self, packet: Arriving) -> Color {
        self.now += packet.gap;
        let Arriving { color, charge, .. } = packet;
        self.meter.color(&mut self.buckets, &Arrival { color, charge, now: self.now })
    }
}

pub fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::SrTcm), Just(Algorithm::TrTcm), Just(Algorithm::Rfc4115)]
}

/// Packets that come about as fast as `rate`, now and then much later; some are super-packets.
pub fn packets(rate: u64) -> impl Strategy<Value = Vec<Arriving>> {
    let colors = prop_oneof![4 => Just(Color::Green), 1 => Just(Color::Yellow), 1 => Just(Color::Red)];
    let charges = (40_u64..=9_000, prop_oneof![5 => Just(1_u64), 1 => 2_u64..=44])
        .prop_map(|(first, segments)| Charge { first, all: first * segments });
    let waits = prop_oneof![8 => 0_u64..200, 1 => Just(0), 1 => 0_u64..1_000_000];
    let packet = (colors, charges, waits).prop_map(move |(color, charge, percent)| {
        let takes = u128::from(charge.all) * 1_000_000_000 / u128::from(rate);
        Arriving { gap: (takes * u128::from(percent) / 100) as u64, color, charge }
    });
    prop::collection::vec(packet, 1..300)
}
