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

use crate::{classify::Rules, ds::DsField, packet::Packet};

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
    /// Where it begins, as the packet counts offsets; on the host that is the distance from its first byte.
    pub offset: usize,
    /// The DS field as it came.
    pub ds: DsField,
}

impl Header {
    /// The last offset at which [`locate`] finds a header: behind Ethernet and all tags.
    const LAST: usize = EthHdr::LEN + MAX_TAGS * VlanHdr::LEN;

    /// The same header by its distance from `start`, of which the verifier knows no more than that it is one; see
    /// [`Rules::settle`].
    #[inline(always)]
    #[must_use]
    pub fn settled<R: Rules>(self, start: usize, rules: &R) -> Self {
        const BOUND: usize = Header::LAST.next_power_of_two() - 1;
        let [family, offset, ds] =
            rules.settle([self.family as u32, (self.offset - start) as u32, u32::from(self.ds.bits())]);
        let family = if family == 0 { Family::V4 } else { Family::V6 };
        Self { family, offset: offset as usize & BOUND, ds: DsField::new(ds as u8) }
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

/// Finds the outermost IP header; `stripped_tags` are those that the kernel has moved into packet metadata.
#[inline(always)]
pub fn locate<P: Packet + ?Sized>(packet: &P, link: Link, stripped_tags: usize) -> Located {
    match link {
        Link::Ethernet => behind_ethernet(packet, stripped_tags),
        Link::Layer3 => bare(packet),
    }
}

/// A packet without a link header: its first nibble alone says what it is.
#[inline(always)]
fn bare<P: Packet + ?Sized>(packet: &P) -> Located {
    // The shorter of the two headers, not the one byte that is needed: see `Packet::read`.
    match packet.read::<{ Ipv4Hdr::LEN }>(packet.start()) {
        Some(bytes) if bytes[0] >> 4 == 4 => ipv4(packet, packet.start()),
        Some(bytes) if bytes[0] >> 4 == 6 => ipv6(packet, packet.start()),
        None if packet.read::<1>(packet.start()).is_none() => Located::NotIp,
        _ => Located::Malformed,
    }
}

#[inline(always)]
fn behind_ethernet<P: Packet + ?Sized>(packet: &P, stripped_tags: usize) -> Located {
    let Some(bytes) = packet.read::<{ EthHdr::LEN }>(packet.start()) else {
        return Located::NotIp;
    };
    match u16::from_ne_bytes([bytes[12], bytes[13]]) {
        IPV4 => ipv4(packet, packet.start() + EthHdr::LEN),
        IPV6 => ipv6(packet, packet.start() + EthHdr::LEN),
        TAG_8021Q | TAG_8021AD => behind_tags(packet, stripped_tags),
        _ => Located::NotIp,
    }
}

#[inline(always)]
fn behind_tags<P: Packet + ?Sized>(packet: &P, stripped_tags: usize) -> Located {
    let mut offset = packet.start() + EthHdr::LEN;
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
            _ => return Located::NotIp,
        }
    }
    Located::NotIp
}

#[inline(always)]
fn ipv4<P: Packet + ?Sized>(packet: &P, offset: usize) -> Located {
    match packet.read::<{ Ipv4Hdr::LEN }>(offset) {
        Some(bytes) if matches!(bytes[0], 0x45..=0x4f) => {
            let ds = DsField::new(bytes[offset_of!(Ipv4Hdr, tos)]);
            Located::Ip(Header { family: Family::V4, offset, ds })
        }
        _ => Located::Malformed,
    }
}

#[inline(always)]
fn ipv6<P: Packet + ?Sized>(packet: &P, offset: usize) -> Located {
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
