//! The compiled policy, and the one function that decides.
//!
//! A remark table (Cisco: table-map; RFC 2475: marker behind a BA classifier) is 64 entries, one for each codepoint. The
//! match is on six bits, never on the whole byte: an ECN-capable EF packet is EF.

use crate::ds::{DsField, Dscp};

/// The codepoint that each codepoint becomes.
///
/// ```
/// use qos_common::{ds::Dscp, policy::Table};
///
/// let mut wash = Table::IDENTITY;
/// for dscp in Dscp::all().filter(|dscp| *dscp != Dscp::EF) {
///     wash.set(dscp, Dscp::DF);
/// }
/// assert_eq!((wash.get(Dscp::EF), wash.get(Dscp::CS6)), (Dscp::EF, Dscp::DF));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Table([u8; Dscp::COUNT]);

impl Table {
    /// Changes nothing.
    pub const IDENTITY: Self = {
        let mut entries = [0; Dscp::COUNT];
        let mut dscp = 0;
        while dscp < Dscp::COUNT {
            entries[dscp] = dscp as u8;
            dscp += 1;
        }
        Self(entries)
    };

    /// Sends `from` to `to`.
    pub const fn set(&mut self, from: Dscp, to: Dscp) {
        self.0[from.index()] = to.value();
    }

    /// Where `from` goes.
    #[must_use]
    pub const fn get(&self, from: Dscp) -> Dscp {
        match Dscp::new(self.0[from.index()]) {
            Some(to) => to,
            None => from,
        }
    }

    /// The entries that the kernel program reads; `asked`: the codepoints for which rules are asked first, a bit each.
    #[must_use]
    pub fn entries(&self, asked: u64) -> [u8; Dscp::COUNT] {
        let mut entries = self.0;
        for (entry, dscp) in entries.iter_mut().zip(Dscp::all()) {
            *entry |= if asked >> dscp.value() & 1 == 1 { Entry::ASKS_RULES } else { 0 };
        }
        entries
    }

    /// Whether any codepoint changes.
    #[must_use]
    pub fn changes_anything(&self) -> bool {
        *self != Self::IDENTITY
    }

    /// The table that [`bytes`](Self::bytes) came from; `None` unless there are 64, each below 64.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let entries: [u8; Dscp::COUNT] = bytes.try_into().ok()?;
        entries.iter().all(|entry| Dscp::new(*entry).is_some()).then_some(Self(entries))
    }

    /// The codepoint of each.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; Dscp::COUNT] {
        &self.0
    }
}

/// One of the 64 entries as the kernel program reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entry(u8);

impl Entry {
    /// The bit that says that a rule may match packets of this codepoint.
    pub const ASKS_RULES: u8 = 1 << 7;

    /// Any byte is an entry.
    #[inline(always)]
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// What the table makes of the codepoint.
    #[inline(always)]
    #[must_use]
    pub const fn target(self) -> Dscp {
        DsField::new(self.0 << 2).dscp()
    }

    /// Whether rules have to be asked.
    #[inline(always)]
    #[must_use]
    pub const fn asks_rules(self) -> bool {
        self.0 & Self::ASKS_RULES != 0
    }
}

/// Which of this host's own packets are out of the policy's reach at egress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Local {
    /// None.
    Policy = 0,
    /// Those in CS6 and CS7: BGP, BFD, OSPF, VRRP.
    #[default]
    KeepControl = 1,
    /// All.
    Keep = 2,
}

impl Local {
    /// Whether a packet that this host made keeps its mark.
    #[inline(always)]
    #[must_use]
    pub const fn keeps(self, dscp: Dscp) -> bool {
        match self {
            Self::Policy => false,
            Self::KeepControl => dscp.is_network_control(),
            Self::Keep => true,
        }
    }
}

/// Where a packet at egress came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This host made it. Encapsulated transit counts as made here, since Linux forgets where it came in.
    Local,
    /// It came in by an interface, or the hook is at ingress.
    Forwarded,
}

/// What a table or a rule wants of a packet. One byte that is always there: an `enum` with a codepoint in it leaves a
/// register unset on some ways, which the verifier refuses to see read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Verdict(u8);

impl Verdict {
    /// The mark that it has.
    pub const KEEP: Self = Self(64);
    /// The packet is dropped.
    pub const DROP: Self = Self(65);

    /// This mark, which may be the one that it has.
    #[inline(always)]
    #[must_use]
    pub const fn mark(dscp: Dscp) -> Self {
        Self(dscp.value())
    }

    /// The verdict that [`bits`](Self::bits) came from; any other byte keeps the mark.
    #[inline(always)]
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// A codepoint, 64 to keep, 65 to drop.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    #[inline(always)]
    const fn keeps(self, dscp: Dscp) -> bool {
        self.0 == dscp.value() || self.0 > Self::DROP.0 || self.0 == Self::KEEP.0
    }
}

/// A verdict, and whom it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What is wanted.
    pub verdict: Verdict,
    /// Which of this host's own packets it spares.
    pub local: Local,
}

/// What becomes of a packet's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Keep,
    /// The policy would have changed it, but `local` keeps it.
    Protected,
    /// It becomes this codepoint, another one than it was.
    Remark(Dscp),
    /// The packet is dropped.
    Drop,
}

impl Wanted {
    /// The packet stays as it is.
    pub const NOTHING: Self = Self { verdict: Verdict::KEEP, local: Local::Policy };

    /// Decides on one packet; `origin` is asked only for packets that would be changed or dropped.
    #[inline(always)]
    #[must_use]
    pub fn decide(self, ds: DsField, origin: impl FnOnce() -> Origin) -> Decision {
        if self.verdict.keeps(ds.dscp()) {
            Decision::Keep
        } else if self.local.keeps(ds.dscp()) && origin() == Origin::Local {
            Decision::Protected
        } else if self.verdict == Verdict::DROP {
            Decision::Drop
        } else {
            Decision::Remark(DsField::new(self.verdict.0 << 2).dscp())
        }
    }
}
