//! A token bucket as one number: the time at which it will be full.
//!
//! Tokens come in at a steady rate, so the time at which the bucket is full says how many are in it now, and taking some
//! moves that time. Nothing has to be added up as time goes by, and one word is the whole state, which a
//! compare-and-swap can replace.
//!
//! # How exact it is
//!
//! Time is counted in units of 2^-scale ns. The scale is the smallest at which a byte takes at least [`FINEST`] units: 0
//! up to 150 Mbit/s, 12 at 400 Gbit/s. What a packet takes is rounded down to a unit, so that a burst of exactly the
//! bucket's size conforms; for a packet of 40 bytes that is less than 0.05 %, and 0.002 % for one of 1,500.
//!
//! The time wraps: after 584 years at scale 0, 52 days at 400 Gbit/s. A bucket that has been left alone for just so long,
//! to within its own depth and a second, is taken for one that is not full.

use super::{Arrival, Word};

/// The most bytes that are charged at once.
pub const MOST_CHARGE: u64 = (1 << 24) - 1;

/// The fewest units of time that a byte takes.
pub const FINEST: u64 = 52;

/// How far the clocks of two CPUs may be apart, in nanoseconds: a bucket that is to be full later than it can be is full.
const SKEW: u64 = 1 << 30;

const NANOSECONDS: u128 = 1_000_000_000;

/// What a packet takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Bytes of a segment, which the bucket has to hold.
    pub first: u64,
    /// Bytes of all segments, which are taken.
    pub all: u64,
}

impl Charge {
    /// One packet.
    #[inline(always)]
    #[must_use]
    pub const fn single(bytes: u64) -> Self {
        Self { first: bytes, all: bytes }
    }
}

/// Rate and size of a token bucket, prepared for arithmetic of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Bucket {
    /// Units of time for a byte, times 2^shift; below 2^39.
    factor: u64,
    /// Units of time that it takes to fill.
    depth: u64,
    /// The furthest that the time at which it is full may lie ahead.
    reach: u64,
    /// See `factor`.
    shift: u32,
    /// A unit of time is 2^-scale ns.
    scale: u32,
}

/// What a packet asks of a bucket, in units of its time.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    now: u64,
    first: u64,
    all: u64,
}

impl Demand {
    /// The time at which the bucket is full if the packet is taken from it.
    #[inline(always)]
    #[must_use]
    pub const fn full_after(&self, debt: u64) -> u64 {
        self.full_without(debt).wrapping_add(self.all)
    }

    /// The same if it is not.
    #[inline(always)]
    #[must_use]
    pub const fn full_without(&self, debt: u64) -> u64 {
        self.now.wrapping_add(debt)
    }
}

impl Bucket {
    /// Holds nothing.
    pub const NONE: Self = Self { factor: 0, depth: 0, reach: 0, shift: 0, scale: 0 };

    /// A bucket for `rate` bytes a second, 1,000 to 50,000,000,000 (8 kbit/s to 400 Gbit/s), that holds `size` bytes, at
    /// most 2^32 - 1. Outside of these ranges it takes the nearest.
    #[must_use]
    pub fn new(rate: u64, size: u64) -> Self {
        let rate = u128::from(rate.clamp(1_000, 50_000_000_000));
        let size = u128::from(size.min(u64::from(u32::MAX)));
        let mut scale = 0;
        while (NANOSECONDS << scale) / rate < u128::from(FINEST) {
            scale += 1;
        }
        let mut shift = 0;
        while (NANOSECONDS << (scale + shift + 1)) / rate < 1 << 39 {
            shift += 1;
        }
        let depth = (size * (NANOSECONDS << scale)).div_ceil(rate) as u64;
        let mut bucket =
            Self { factor: ((NANOSECONDS << (scale + shift)) / rate) as u64, depth, reach: 0, shift, scale };
        bucket.reach = depth + bucket.time_of(MOST_CHARGE) + (SKEW << scale);
        bucket
    }

    /// Its words, as they lie in a map.
    pub(super) const fn words(&self) -> [u64; 4] {
        [self.factor, self.depth, self.reach, super::pair(self.shift, self.scale)]
    }

    /// The same bucket filled by what another of the same rate cannot hold, so that it is full later.
    #[must_use]
    pub const fn behind(self, first: Self) -> Self {
        Self { reach: self.reach + first.reach, ..self }
    }

    /// Units of time for so many bytes.
    #[inline(always)]
    const fn time_of(&self, bytes: u64) -> u64 {
        let bytes = if bytes > MOST_CHARGE { MOST_CHARGE } else { bytes };
        bytes.wrapping_mul(self.factor) >> (self.shift & 63)
    }

    /// What a packet asks.
    #[inline(always)]
    #[must_use]
    pub const fn demand(&self, &Arrival { charge, now, .. }: &Arrival) -> Demand {
        let all = self.time_of(charge.all);
        let first = if charge.first == charge.all { all } else { self.time_of(charge.first) };
        Demand { now: now << (self.scale & 63), first, all }
    }

    /// How long it is until the bucket is full; 0 if it has been for some time.
    #[inline(always)]
    #[must_use]
    pub const fn debt(&self, full: u64, demand: &Demand) -> u64 {
        let ahead = full.wrapping_sub(demand.now);
        if ahead > self.reach { 0 } else { ahead }
    }

    /// Whether a bucket that is so far from full holds the packet, or its first segment.
    #[inline(always)]
    #[must_use]
    pub const fn holds(&self, debt: u64, demand: &Demand) -> bool {
        demand.first <= self.depth && debt <= self.depth - demand.first
    }

    /// Takes a packet from the bucket whose state is `full`; whether it holds the packet.
    #[inline(always)]
    pub fn update(&self, full: &mut impl Word, arrival: &Arrival) -> bool {
        let demand = self.demand(arrival);
        full.update(|full| self.take(full, &demand))
    }

    /// Takes a packet from a bucket that is full at `full`: when it is then, or `None` if it does not hold the packet.
    #[inline(always)]
    #[must_use]
    pub const fn take(&self, full: u64, demand: &Demand) -> Option<u64> {
        let debt = self.debt(full, demand);
        if self.holds(debt, demand) { Some(demand.full_after(debt)) } else { None }
    }
}

const _: () = assert!(size_of::<Bucket>() == 32);
