//! Behind headers that hide an IP header from [`locate`](crate::locate::locate): PPPoE sessions and MPLS label stacks.
//!
//! ```text
//! PPPoE   | 0x11 | code 0 | session 2 | length 2 | PPP protocol 2, or 1 if compressed | packet     RFC 2516, 1661
//! MPLS    | label 20 bits, class 3, bottom 1, TTL 8 | ... up to the bottom | packet                RFC 3032
//! ```
//!
//! A session says what is in it. A label stack does not: the first nibble behind its bottom does (RFC 4928), and a
//! pseudowire without a control word (RFC 4385) whose frame begins with 4 or 6 looks like IP. Neither lengths nor labels
//! are asked.

use crate::{
    locate::{self, Link, Located, ipv4, ipv6},
    packet::Packet,
};

/// How many labels may stand before the IP header.
pub const MAX_LABELS: usize = 8;

/// Bytes of a label stack entry.
pub const LABEL: usize = 4;

/// Bytes of a PPPoE header.
pub const SESSION: usize = 6;

// As they lie in memory.
const PPPOE_SESSION: u16 = 0x8864_u16.to_be();
const MPLS: u16 = 0x8847_u16.to_be();
const MPLS_MULTICAST: u16 = 0x8848_u16.to_be();

/// Version and type of PPPoE, and the code of session data (RFC 2516 section 4).
const SESSION_DATA: [u8; 2] = [0x11, 0];

/// The lower byte of the PPP protocols of IPv4 and IPv6, whose upper one is 0 (RFC 1332, RFC 5072).
const PPP_IPV4: u8 = 0x21;
const PPP_IPV6: u8 = 0x57;

/// Behind which headers a hook looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inside(u8);

impl Inside {
    /// None.
    pub const NOTHING: Self = Self(0);
    /// PPPoE sessions.
    pub const PPPOE: Self = Self(1);
    /// MPLS labels.
    pub const MPLS: Self = Self(2);

    /// Both these and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is among them.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }

    /// Whether there is none.
    #[inline(always)]
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// As a byte of [`Settings`](crate::abi::Settings).
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From such a byte; bits that mean nothing here are as if they were not set.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// Finds the outermost IP header, as [`locate`](locate::locate) does, also behind the headers of `inside`.
#[inline(always)]
pub fn locate<P: Packet + ?Sized>(packet: &P, link: Link, inside: Inside, stripped_tags: usize) -> Located {
    let mut other = None;
    let located = locate::locate_or(packet, link, stripped_tags, |kind, offset| {
        other = Some((kind, offset));
        Located::NotIp
    });
    match other {
        Some((PPPOE_SESSION, offset)) if inside.has(Inside::PPPOE) => behind_session(packet, offset),
        Some((MPLS | MPLS_MULTICAST, offset)) if inside.has(Inside::MPLS) => behind_labels(packet, offset),
        _ => located,
    }
}

/// The PPPoE header and two bytes behind it are read, so what is shorter is not IP.
#[inline(always)]
fn behind_session<P: Packet + ?Sized>(packet: &P, offset: usize) -> Located {
    let Some(bytes) = packet.read::<{ SESSION + 2 }>(offset) else {
        return Located::NotIp;
    };
    if [bytes[0], bytes[1]] != SESSION_DATA {
        return Located::NotIp;
    }
    // A byte with its lowest bit set is the whole protocol (RFC 1661 section 6.5), which RFC 2516 section 7 advises
    // against and does not forbid.
    match [bytes[SESSION], bytes[SESSION + 1]] {
        [0, PPP_IPV4] => ipv4(packet, offset + SESSION + 2),
        [0, PPP_IPV6] => ipv6(packet, offset + SESSION + 2),
        [PPP_IPV4, _] => ipv4(packet, offset + SESSION + 1),
        [PPP_IPV6, _] => ipv6(packet, offset + SESSION + 1),
        _ => Located::NotIp,
    }
}

/// Behind a label stack that begins at `offset`.
#[inline(always)]
pub fn behind_labels<P: Packet + ?Sized>(packet: &P, offset: usize) -> Located {
    let mut offset = offset;
    for _ in 0..MAX_LABELS {
        let Some(entry) = packet.read::<LABEL>(offset) else {
            return Located::NotIp;
        };
        offset += LABEL;
        if entry[2] & 1 != 0 {
            return by_nibble(packet, offset);
        }
    }
    Located::NotIp
}

/// Nothing says what is behind the bottom of a stack but its first bits.
#[inline(always)]
fn by_nibble<P: Packet + ?Sized>(packet: &P, offset: usize) -> Located {
    match packet.read::<2>(offset) {
        Some(bytes) if bytes[0] >> 4 == 4 => ipv4(packet, offset),
        Some(bytes) if bytes[0] >> 4 == 6 => ipv6(packet, offset),
        _ => Located::NotIp,
    }
}
