//! Meters as they lie in the maps of a program. The records belong to one program; buckets and counters outlive it.

use super::{Arrival, Charge, Color, Meter};
use crate::{ds::Dscp, policy::Verdict};

/// How many rules of a hook may meter.
pub const MAX_METERS: usize = METER_SLOTS / 2;

/// How many buckets and counters of meters a hook has: twice as many as meters, so that those of a new policy have room
/// beside those of the program that still runs.
pub const METER_SLOTS: usize = 256;

/// A meter of a rule, and what its colors mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MeterRecord {
    /// The algorithm with its numbers.
    pub meter: Meter,
    /// The codepoints that arrive yellow, a bit each; none for a color-blind meter.
    pub yellow: u64,
    /// Those that arrive red.
    pub red: u64,
    /// Bytes that each packet is charged beside its own.
    pub overhead: i32,
    /// Its buckets and its counters, below [`METER_SLOTS`].
    pub slot: u32,
    /// By [`Color`], as [`Verdict::bits`].
    verdicts: [u8; 4],
    reserved: u32,
}

impl MeterRecord {
    /// Bytes of a record in its map.
    pub const BYTES: usize = size_of::<Self>();

    /// A color-blind meter without overhead, with its verdicts for green, yellow and red.
    #[must_use]
    pub const fn new(meter: Meter, slot: u32, [green, yellow, red]: [Verdict; 3]) -> Self {
        let verdicts = [green.bits(), yellow.bits(), red.bits(), red.bits()];
        Self { meter, yellow: 0, red: 0, overhead: 0, slot, verdicts, reserved: 0 }
    }

    /// The color with which a codepoint arrives.
    #[inline(always)]
    #[must_use]
    pub const fn arrives(&self, dscp: Dscp) -> Color {
        if self.red >> dscp.value() & 1 != 0 {
            Color::Red
        } else if self.yellow >> dscp.value() & 1 != 0 {
            Color::Yellow
        } else {
            Color::Green
        }
    }

    /// A packet that comes at `now`, in nanoseconds of a clock that goes on, marked `dscp`.
    #[inline(always)]
    #[must_use]
    pub const fn arrival(&self, dscp: Dscp, charge: Charge, now: u64) -> Arrival {
        Arrival { color: self.arrives(dscp), charge, now }
    }

    /// What a color means.
    #[inline(always)]
    #[must_use]
    pub const fn verdict(&self, color: Color) -> Verdict {
        Verdict::new(self.verdicts[color as usize & 3])
    }

    /// The bytes of the map's value.
    #[must_use]
    pub fn to_ne_bytes(&self) -> [u8; Self::BYTES] {
        let words = self.meter.words().into_iter().chain([self.yellow, self.red]);
        let rest = self.overhead.to_ne_bytes().into_iter().chain(self.slot.to_ne_bytes());
        let rest = rest.chain(self.verdicts).chain(self.reserved.to_ne_bytes());
        let mut bytes = [0; Self::BYTES];
        bytes.iter_mut().zip(words.flat_map(u64::to_ne_bytes).chain(rest)).for_each(|(byte, value)| *byte = value);
        bytes
    }
}

/// What a meter has given one color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MeterCounter {
    /// Packets; for a GSO packet its segments.
    pub packets: u64,
    /// Bytes of the IP packets, without overhead.
    pub ip_bytes: u64,
}

impl MeterCounter {
    /// Counts up.
    #[inline(always)]
    pub const fn add(&mut self, packets: u64, ip_bytes: u64) {
        self.packets = self.packets.wrapping_add(packets);
        self.ip_bytes = self.ip_bytes.wrapping_add(ip_bytes);
    }
}

/// The counters of a CPU: the value of the map `meters`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MeterCounters(pub [[MeterCounter; 3]; METER_SLOTS]);

impl MeterCounters {
    /// All zero.
    pub const ZERO: Self = Self([[MeterCounter { packets: 0, ip_bytes: 0 }; 3]; METER_SLOTS]);

    /// How many 64-bit words it is in a map.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// The counter of a color.
    #[inline(always)]
    pub const fn of_mut(&mut self, slot: u32, color: Color) -> &mut MeterCounter {
        &mut self.0[slot as usize % METER_SLOTS][color as usize]
    }

    /// Adds what a CPU counted, as the words of its value in the map.
    pub fn merge(&mut self, cpu: &[u64; Self::WORDS]) {
        let sums = self.0.as_flattened_mut().iter_mut();
        sums.zip(cpu.as_chunks().0).for_each(|(sum, [packets, ip_bytes])| sum.add(*packets, *ip_bytes));
    }
}

const _: () = {
    assert!(MeterRecord::BYTES == 104);
    assert!(size_of::<MeterCounters>() == 12_288, "userspace and kernel disagree, or LAYOUT has to change");
};
