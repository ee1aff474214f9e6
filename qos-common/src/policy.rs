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

    /// The bytes that the kernel program reads.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; Dscp::COUNT] {
        &self.0
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

/// What becomes of a packet's mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Keep,
    /// The policy would have changed it, but `local` keeps it.
    Protected,
    /// It becomes this codepoint, another one than it was.
    Remark(Dscp),
}

/// Decides on one packet: `to` is what the table makes of its codepoint.
///
/// `origin` is asked only for packets that the table would change.
#[inline(always)]
pub fn decide(ds: DsField, to: Dscp, local: Local, origin: impl FnOnce() -> Origin) -> Decision {
    if to == ds.dscp() {
        Decision::Keep
    } else if local.keeps(ds.dscp()) && origin() == Origin::Local {
        Decision::Protected
    } else {
        Decision::Remark(to)
    }
}
