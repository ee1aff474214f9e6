//! From the link layer to the outermost IP header: where the DS field is.
//!
//! ```text
//! Ethernet   | destination 6 | source 6 | EtherType |          then 0 to 4 tags (0x8100, 0x88a8)
//! tag                                   | TCI       | EtherType |
//! layer 3    nothing: the packet begins with its IP header
//! ```
//!
//! A header is usable if EtherType and version nibble agree, IHL is at least 5, and 20 (IPv4) or 40 (IPv6) bytes are
//! there. Checksum, lengths, options, extension headers and fragment fields are not asked: each fragment counts by its
//! own header.

use core::mem::offset_of;

use network_types::{
    eth::{EthHdr, EtherType},
    ip::{Ipv4Hdr, Ipv6Hdr},
    vlan::VlanHdr,
};

use crate::{
    ds::DsField,
    inside::{LABEL, MAX_LABELS},
    packet::Packet,
    process::{Constants as _, Tables},
};

/// How many VLAN tags may stand before the IP header, one in packet metadata included.
pub const MAX_TAGS: usize = 4;

// As they lie in memory: no byte is swapped to compare them.
const IPV4: u16 = EtherType::Ipv4 as u16;
const IPV6: u16 = EtherType::Ipv6 as u16;
const TAG_8021Q: u16 = EtherType::Ieee8021q as u16;
const TAG_8021AD: u16 = EtherType::Ieee8021ad as u16;

/// What precedes the IP header on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header, then perhaps tags (`ARPHRD_ETHER`).
    Ethernet,
    /// Nothing: tun, ppp, wireguard, ipip and the like.
    Layer3,
}

/// The IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

/// A usable IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its version.
    pub family: Family,
    /// Its distance from the first byte of the packet.
    pub offset: usize,
    /// The DS field as it came.
    pub ds: DsField,
}

impl Header {
    /// The last offset at which [`locate`] finds a header: behind Ethernet and all tags.
    const LAST: usize = EthHdr::LEN + MAX_TAGS * VlanHdr::LEN;

    /// The last one behind labels, which are longer than the header of a session.
    const LAST_INSIDE: usize = Self::LAST + MAX_LABELS * LABEL;

    /// The same header, of which the verifier knows no more than that it is one; see [`Rules::settle`](crate::classify::Rules::settle).
    #[inline(always)]
    #[must_use]
    pub fn settled<T: Tables>(self, rules: &T) -> Self {
        // Only a compressed protocol field makes an offset odd.
        const BOUND: usize = (Header::LAST.next_power_of_two() - 1) & !1;
        const BOUND_INSIDE: usize = Header::LAST_INSIDE.next_power_of_two() - 1;
        let bound = if rules.constants().inside().is_nothing() { BOUND } else { BOUND_INSIDE };
        let [family, offset] = rules.settle([self.family as u32, self.offset as u32]);
        let family = if family == 0 { Family::V4 } else { Family::V6 };
        Self { family, offset: offset as usize & bound, ds: self.ds }
    }
}

/// What a packet turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// An IP packet with a usable header.
    Ip(Header),
    /// Not directly IP: ARP, MPLS, PPPoE, LLC, another tag type, or too short for its link header.
    NotIp,
    /// It says that it is IP, but the header is not usable.
    Malformed,
}

/// Whether an EtherType, as it lies in memory, is that of a tag.
#[inline(always)]
#[must_use]
pub const fn is_tag(kind: u16) -> bool {
    matches!(kind, TAG_8021Q | TAG_8021AD)
}

/// Finds the outermost IP header; `stripped_tags` are those that the kernel has moved into packet metadata.
#[inline(always)]
pub fn locate<P: Packet + ?Sized>(packet: &P, link: Link, stripped_tags: usize) -> Located {
    locate_or(packet, link, stripped_tags, |_kind, _offset| Located::NotIp)
}

/// The same; `other` is told of any other EtherType, as it lies in memory, and of the offset behind it.
#[inline(always)]
pub(crate) fn locate_or<P: Packet + ?Sized>(
    packet: &P,
    link: Link,
    stripped_tags: usize,
    other: impl FnMut(u16, usize) -> Located,
) -> Located {
    match link {
        Link::Ethernet => behind_ethernet(packet, stripped_tags, other),
        Link::Layer3 => bare(packet),
    }
}

/// A packet without a link header: its first nibble alone says what it is.
#[inline(always)]
fn bare<P: Packet + ?Sized>(packet: &P) -> Located {
    // The shorter of the two headers, not the one byte that is needed: see `Packet::read`.
    match packet.read::<{ Ipv4Hdr::LEN }>(0) {
        Some(bytes) if bytes[0] >> 4 == 4 => ipv4(packet, 0),
        Some(bytes) if bytes[0] >> 4 == 6 => ipv6(packet, 0),
        None if packet.read::<1>(0).is_none() => Located::NotIp,
        _ => Located::Malformed,
    }
}

#[inline(always)]
fn behind_ethernet<P: Packet + ?Sized>(
    packet: &P,
    stripped_tags: usize,
    mut other: impl FnMut(u16, usize) -> Located,
) -> Located {
    let Some(bytes) = packet.read::<{ EthHdr::LEN }>(0) else {
        return Located::NotIp;
    };
    match u16::from_ne_bytes([bytes[12], bytes[13]]) {
        IPV4 => ipv4(packet, EthHdr::LEN),
        IPV6 => ipv6(packet, EthHdr::LEN),
        TAG_8021Q | TAG_8021AD => behind_tags(packet, stripped_tags, other),
        kind => other(kind, EthHdr::LEN),
    }
}

#[inline(always)]
fn behind_tags<P: Packet + ?Sized>(
    packet: &P,
    stripped_tags: usize,
    mut other: impl FnMut(u16, usize) -> Located,
) -> Located {
    let mut offset = EthHdr::LEN;
    for tag in 0..MAX_TAGS {
        let (Some(bytes), true) =
            (packet.read::<{ VlanHdr::LEN }>(offset), tag < MAX_TAGS.saturating_sub(stripped_tags))
        else {
            return Located::NotIp;
        };
        offset += VlanHdr::LEN;
        match u16::from_ne_bytes([bytes[2], bytes[3]]) {
            IPV4 => return ipv4(packet, offset),
            IPV6 => return ipv6(packet, offset),
            TAG_8021Q | TAG_8021AD => {}
            kind => return other(kind, offset),
        }
    }
    Located::NotIp
}

#[inline(always)]
pub(crate) fn ipv4<P: Packet + ?Sized>(packet: &P, offset: usize) -> Located {
    match packet.read::<{ Ipv4Hdr::LEN }>(offset) {
        Some(bytes) if matches!(bytes[0], 0x45..=0x4f) => {
            let ds = DsField::new(bytes[offset_of!(Ipv4Hdr, tos)]);
            Located::Ip(Header { family: Family::V4, offset, ds })
        }
        _ => Located::Malformed,
    }
}

#[inline(always)]
pub(crate) fn ipv6<P: Packet + ?Sized>(packet: &P, offset: usize) -> Located {
    let Some(bytes) = packet.read::<{ Ipv6Hdr::LEN }>(offset) else {
        return Located::Malformed;
    };
    // Version, traffic class, and the upper bits of the flow label: one word, as the kernel loads it.
    let word = u16::from_be_bytes([bytes[0], bytes[1]]);
    if word >> 12 != 6 {
        return Located::Malformed;
    }
    Located::Ip(Header { family: Family::V6, offset, ds: DsField::new((word >> 4) as u8) })
}
