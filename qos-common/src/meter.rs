//! Meters (RFC 2475): srTCM (RFC 2697), trTCM (RFC 2698), and the differentiated service two-rate meter of RFC 4115.
//!
//! A meter gives each packet a color: green conforms, yellow exceeds, red violates. What the color means is the rule's to
//! say. A meter has two token [buckets](bucket): C and E, or C and P.
//!
//! ```
//! use qos_common::meter::{Algorithm, Arrival, Buckets, Charge, Color, Meter};
//!
//! // 1 MB/s with bursts of 3 kB, at the most 2 MB/s with bursts of 4.5 kB.
//! let meter = Meter::new(Algorithm::TrTcm, (1_000_000, 3_000), (2_000_000, 4_500));
//! let mut buckets = Buckets::FULL;
//! let mut color = |now| meter.color(&mut buckets, &Arrival { color: Color::Green, charge: Charge::single(1_500), now });
//!
//! assert_eq!([color(0), color(0), color(0), color(0)], [Color::Green, Color::Green, Color::Yellow, Color::Red]);
//! // 1.5 ms later C has 1,500 bytes again, and P twice as many.
//! assert_eq!([color(1_500_000), color(1_500_000), color(1_500_000)], [Color::Green, Color::Yellow, Color::Red]);
//! ```

pub mod bucket;
pub mod record;
pub mod state;

pub use self::{
    bucket::{Bucket, Charge},
    record::{MAX_METERS, METER_SLOTS, MeterCounter, MeterCounters, MeterRecord},
    state::{Buckets, Word},
};

/// What a meter finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Color {
    /// Conforms.
    Green = 0,
    /// Exceeds.
    Yellow = 1,
    /// Violates.
    Red = 2,
}

impl Color {
    /// From best to worst.
    pub const ALL: [Self; 3] = [Self::Green, Self::Yellow, Self::Red];
}

/// Which RFC a meter follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Algorithm {
    /// RFC 2697: CIR, CBS and EBS. What C cannot hold goes to E.
    SrTcm = 0,
    /// RFC 2698: CIR, CBS and PIR, PBS. A packet takes from P, and from C too if it is green.
    TrTcm = 1,
    /// RFC 4115: CIR, CBS and EIR, EBS. A packet takes from C, or else from E.
    Rfc4115 = 2,
}

/// The numbers of a meter, as the kernel program reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Meter {
    /// C: CIR and CBS.
    pub committed: Bucket,
    /// P, or E; for srTCM with the rate of C.
    pub other: Bucket,
    /// [`Algorithm`].
    algorithm: u32,
    reserved: u32,
}

/// A packet that has come to a meter.
///
/// What it asks of a bucket is worked out when its turn comes, also under a lock: that is a multiplication, and to keep it
/// from before costs as much.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The one it arrives with; green for a color-blind meter.
    pub color: Color,
    /// What it takes.
    pub charge: Charge,
    /// When, in nanoseconds of a clock that goes on.
    pub now: u64,
}

impl Meter {
    /// All zero: no meter.
    pub const NONE: Self = Self { committed: Bucket::NONE, other: Bucket::NONE, algorithm: 0, reserved: 0 };

    /// A meter from rate (bytes a second) and size (bytes) of C and of the other bucket; srTCM has no other rate, so the
    /// second one is not looked at. For the ranges see [`Bucket::new`].
    #[must_use]
    pub fn new(algorithm: Algorithm, committed: (u64, u64), other: (u64, u64)) -> Self {
        let first = Bucket::new(committed.0, committed.1);
        let second = match algorithm {
            Algorithm::SrTcm => Bucket::new(committed.0, other.1).behind(first),
            Algorithm::TrTcm | Algorithm::Rfc4115 => Bucket::new(other.0, other.1),
        };
        Self { committed: first, other: second, algorithm: algorithm as u32, reserved: 0 }
    }

    /// Which RFC it follows.
    #[inline(always)]
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.algorithm {
            0 => Algorithm::SrTcm,
            1 => Algorithm::TrTcm,
            _ => Algorithm::Rfc4115,
        }
    }

    /// Its words, as they lie in a map.
    pub(super) const fn words(&self) -> [u64; 9] {
        let ([a, b, c, d], [e, f, g, h]) = (self.committed.words(), self.other.words());
        [a, b, c, d, e, f, g, h, pair(self.algorithm, self.reserved)]
    }

    /// Meters a packet with both buckets in hand, so that nobody else touches them meanwhile.
    #[inline(always)]
    #[must_use]
    pub fn color(&self, buckets: &mut Buckets, arrival: &Arrival) -> Color {
        match self.algorithm() {
            Algorithm::SrTcm => self.single_rate(buckets, arrival),
            Algorithm::TrTcm => self.two_rates(&mut buckets.committed, &mut buckets.other, arrival),
            Algorithm::Rfc4115 => self.rfc4115(&mut buckets.committed, &mut buckets.other, arrival),
        }
    }

    /// RFC 2697 section 3. E is filled by what C cannot hold, so the time at which E is full lies behind that of C by what
    /// E lacks: taking from C moves both.
    #[inline(always)]
    fn single_rate(&self, buckets: &mut Buckets, arrival: &Arrival) -> Color {
        let (of_committed, of_other) = (self.committed.demand(arrival), self.other.demand(arrival));
        let lacking = self.other.debt(buckets.other, &of_other);
        let committed = self.committed.debt(buckets.committed, &of_committed);
        // Before C is full, E lacks what the two times differ by; after that, what is left of it.
        let excess = lacking - if lacking < committed { lacking } else { committed };
        if arrival.color == Color::Green && self.committed.holds(committed, &of_committed) {
            buckets.committed = of_committed.full_after(committed);
            buckets.other = of_committed.full_after(committed).wrapping_add(excess);
            Color::Green
        } else if arrival.color <= Color::Yellow && self.other.holds(excess, &of_other) {
            buckets.committed = of_committed.full_without(committed);
            buckets.other = of_other.full_after(excess).wrapping_add(committed);
            Color::Yellow
        } else {
            Color::Red
        }
    }

    /// RFC 2698 section 3: P first, then C. Each bucket may be an atomic word of its own: a packet that has taken from P
    /// is yellow at the least, whatever happens to C meanwhile.
    #[inline(always)]
    pub fn two_rates<W: Word>(&self, committed: &mut W, peak: &mut W, arrival: &Arrival) -> Color {
        if arrival.color == Color::Red || !self.other.update(peak, arrival) {
            Color::Red
        } else if arrival.color == Color::Yellow || !self.committed.update(committed, arrival) {
            Color::Yellow
        } else {
            Color::Green
        }
    }

    /// RFC 4115 section 3: C, or else E. The RFC asks for one byte more than the packet has; here, as in the other two, a
    /// packet conforms that the bucket just holds.
    #[inline(always)]
    pub fn rfc4115<W: Word>(&self, committed: &mut W, excess: &mut W, arrival: &Arrival) -> Color {
        if arrival.color == Color::Green && self.committed.update(committed, arrival) {
            Color::Green
        } else if arrival.color <= Color::Yellow && self.other.update(excess, arrival) {
            Color::Yellow
        } else {
            Color::Red
        }
    }
}

/// Two neighbours of 32 bits as one word.
const fn pair(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

const _: () = assert!(size_of::<Meter>() == 72);
