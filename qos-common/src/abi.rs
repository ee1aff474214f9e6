//! What the kernel counts, as it lies in the maps: `repr(C)`, 8-byte aligned, native byte order.
//!
//! A per-CPU value may be 32,768 bytes at most, and one system call reads one value of all CPUs: so all that every
//! packet needs is one value ([`Counters`]), and the remark matrix is two ([`RemarkedHalf`]).

use crate::{
    ds::{DsField, Dscp},
    locate::Family,
};

/// The version of everything in this file and of the pins around it; counters of another one are never misread.
pub const LAYOUT: u32 = 1;

/// How many decisions a CPU logs in a row before it has to wait.
pub const LOG_BURST: u64 = 10;

/// Packets, and their bytes on the wire without FCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Packets; for a GSO packet its segments.
    pub packets: u64,
    /// Bytes of the frame as a capture on the cable would show them.
    pub bytes: u64,
}

impl Counter {
    /// Counts up, and wraps at the end of 64 bits as the kernel's own counters do.
    #[inline(always)]
    pub const fn add(&mut self, other: Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

impl From<[u64; 2]> for Counter {
    fn from([packets, bytes]: [u64; 2]) -> Self {
        Self { packets, bytes }
    }
}

/// Why a frame is in neither `kept` nor `changed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Uncounted {
    /// Not directly IP.
    NotIp = 0,
    /// Says that it is IP, without a usable header.
    Malformed = 1,
}

/// Why a rule could not see all of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Limited {
    /// A later fragment, which has no ports.
    LaterFragment = 0,
    /// More extension headers than are walked, or than fit into what the hook sees of the packet.
    HeaderChainTooLong = 1,
}

/// What every packet may touch: one value of the map `counters` per CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// By family, then by whole DS byte: packets that left the hook as they came.
    pub kept: [[Counter; 256]; 2],
    /// The same, as they came: packets that did not. The remark matrix and `dropped` say what became of them.
    ///
    /// Before is `kept` and `changed` together, after is `kept` and a column of the matrix: sums, so that both only
    /// grow, whenever they are read.
    pub changed: [[Counter; 256]; 2],
    /// By DSCP, where a rule decided: of these the table was not asked.
    pub ruled: [Counter; Dscp::COUNT],
    /// By DSCP, where a policy said `drop`.
    pub dropped: [Counter; Dscp::COUNT],
    /// What `local` kept from the policy.
    pub protected: Counter,
    /// By [`Uncounted`].
    pub uncounted: [Counter; 2],
    /// By [`Limited`]; a part of `before`, and only where rules ask for ports.
    pub limited: [Counter; 2],
    /// When the last frame came, in the kernel's jiffies.
    pub last: u64,
    /// Decisions that may still be logged before `log_refill`.
    pub log_budget: u64,
    /// The jiffy at which the log budget is filled again.
    pub log_refill: u64,
}

impl Counters {
    /// All zero, as the kernel makes them.
    pub const ZERO: Self = Self {
        kept: [[Counter { packets: 0, bytes: 0 }; 256]; 2],
        changed: [[Counter { packets: 0, bytes: 0 }; 256]; 2],
        ruled: [Counter { packets: 0, bytes: 0 }; Dscp::COUNT],
        dropped: [Counter { packets: 0, bytes: 0 }; Dscp::COUNT],
        protected: Counter { packets: 0, bytes: 0 },
        uncounted: [Counter { packets: 0, bytes: 0 }; 2],
        limited: [Counter { packets: 0, bytes: 0 }; 2],
        last: 0,
        log_budget: 0,
        log_refill: 0,
    };

    /// How many 64-bit words it is in a map.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// Adds what a CPU counted, as the words of its value in the map.
    pub fn merge(&mut self, cpu: &[u64; Self::WORDS]) {
        let (cells, rest) = cpu.split_at(Self::WORDS - 3);
        let sums = self.kept.as_flattened_mut().iter_mut().chain(self.changed.as_flattened_mut());
        let sums = sums.chain(&mut self.ruled).chain(&mut self.dropped).chain([&mut self.protected]);
        let sums = sums.chain(&mut self.uncounted).chain(&mut self.limited);
        sums.zip(cells.as_chunks().0).for_each(|(sum, words)| sum.add(Counter::from(*words)));
        self.last = self.last.max(rest[0]);
    }

    /// Whether one more decision may be logged: at most [`LOG_BURST`] between two fillings, `interval` jiffies apart.
    #[inline(always)]
    pub const fn may_log(&mut self, now: u64, interval: u64) -> bool {
        if now >= self.log_refill {
            self.log_refill = now.wrapping_add(interval);
            self.log_budget = LOG_BURST;
        }
        let granted = self.log_budget > 0;
        self.log_budget -= granted as u64;
        granted
    }

    /// What came, by family and whole DS byte: kept and changed together.
    #[must_use]
    pub fn before(&self) -> [[Counter; 256]; 2] {
        let mut before = self.kept;
        let sums = before.as_flattened_mut().iter_mut();
        sums.zip(self.changed.as_flattened()).for_each(|(sum, changed)| sum.add(*changed));
        before
    }

    /// The counter of a DS field that stays.
    #[inline(always)]
    pub const fn kept_mut(&mut self, family: Family, ds: DsField) -> &mut Counter {
        &mut self.kept[family as usize][ds.bits() as usize]
    }

    /// The counter of a DS field that does not, as it came.
    #[inline(always)]
    pub const fn changed_mut(&mut self, family: Family, ds: DsField) -> &mut Counter {
        &mut self.changed[family as usize][ds.bits() as usize]
    }

    /// The counter of a codepoint of which a rule decided.
    #[inline(always)]
    pub const fn ruled_mut(&mut self, dscp: Dscp) -> &mut Counter {
        &mut self.ruled[dscp.index()]
    }

    /// The counter of a codepoint of which a policy dropped packets.
    #[inline(always)]
    pub const fn dropped_mut(&mut self, dscp: Dscp) -> &mut Counter {
        &mut self.dropped[dscp.index()]
    }

    /// The counter of packets of which a rule could not see all.
    #[inline(always)]
    pub const fn limited_mut(&mut self, reason: Limited) -> &mut Counter {
        &mut self.limited[reason as usize]
    }

    /// The counter of what is in neither.
    #[inline(always)]
    pub const fn uncounted_mut(&mut self, reason: Uncounted) -> &mut Counter {
        &mut self.uncounted[reason as usize]
    }
}

/// Half of the remark matrix, 32 codepoints as they came by 64 as they left: one of two values of the map `remarked`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RemarkedHalf(pub [[Counter; Dscp::COUNT]; 32]);

impl RemarkedHalf {
    /// All zero.
    pub const ZERO: Self = Self([[Counter { packets: 0, bytes: 0 }; Dscp::COUNT]; 32]);

    /// How many 64-bit words it is in a map.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// Which of the two halves has the codepoint.
    #[inline(always)]
    #[must_use]
    pub const fn of(from: Dscp) -> u32 {
        from.value() as u32 >> 5
    }

    /// The counter of one change; `from` is in the half that [`of`](Self::of) named.
    #[inline(always)]
    pub const fn cell_mut(&mut self, from: Dscp, to: Dscp) -> &mut Counter {
        &mut self.0[from.index() & 31][to.index()]
    }
}

/// What a kernel program is specialised for when it is loaded: read-only data, so that the verifier removes the code
/// that this hook does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// [`Link`](crate::locate::Link): 0 Ethernet, 1 layer 3.
    pub layer3: u8,
    /// 1 if the table or a rule may change a mark; 0 leaves no packet write in the program.
    pub remark: u8,
    /// [`Local`](crate::policy::Local): 0 policy, 1 keep control, 2 keep all.
    pub local: u8,
    /// 1 if decisions are logged.
    pub log: u8,
    /// Jiffies between two fillings of the log budget.
    pub log_interval: u32,
    /// [`Inside`](crate::inside::Inside): behind which headers to look for IP.
    pub inside: u8,
    /// [`Settings::mode`] of the above, for programs that have nothing but the table: one number instead of three.
    pub mode: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

impl Settings {
    /// A hook without table and rules behind Ethernet, which logs nothing.
    pub const NONE: Self =
        Self { layer3: 0, remark: 0, local: 0, log: 0, log_interval: 0, inside: 0, mode: 0, reserved: [0; 2] };

    /// The link, whether marks may change, and whether decisions are logged, a bit each.
    #[must_use]
    pub const fn mode(layer3: u8, remark: u8, log: u8) -> u8 {
        layer3 | remark << 1 | log << 2
    }

    /// The bytes that the loader puts in place of the constant.
    #[must_use]
    pub fn to_ne_bytes(self) -> [u8; 12] {
        let [a, b, c, d] = self.log_interval.to_ne_bytes();
        [self.layer3, self.remark, self.local, self.log, a, b, c, d, self.inside, self.mode, 0, 0]
    }
}

const _: () = {
    assert!(size_of::<Counter>() == 16);
    assert!(size_of::<Counters>() == 18_536, "userspace and kernel disagree, or LAYOUT has to change");
    assert!(size_of::<RemarkedHalf>() == 32_768, "the most that a per-CPU value may have");
    assert!(size_of::<Settings>() == 12);
};
