//! Behind the IP header: which transport header, and where, past IPv4 options and IPv6 extension headers (RFC 8200
//! section 4, RFC 4302, RFC 6275, RFC 7401, RFC 5533).

use core::{hint, mem::offset_of};

use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};

use crate::{
    locate::{Family, Header},
    packet::Packet,
    rules::index,
};

/// How many extension headers are walked; RFC 8504 section 5.3 lets a host stop at eight.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// The transport header of a packet, or of a first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Its protocol number.
    pub protocol: u8,
    /// Its distance from the first byte of the packet.
    pub offset: usize,
}

/// What part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// All of it, an atomic fragment (RFC 6946) included.
    No = 0,
    /// Its first fragment.
    First = 1,
    /// A later one: no transport header is in it.
    Later = 2,
}

/// How far the walk got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reach {
    /// To the transport header.
    Transport = 0,
    /// A later fragment.
    LaterFragment = 1,
    /// There are more than [`MAX_EXTENSION_HEADERS`].
    TooLong = 2,
    /// The packet ends before an extension header has said what follows.
    Cut = 3,
}

/// The protocol of a packet that does not show it.
pub const NO_PROTOCOL: u16 = 3 << 8;

/// What is behind an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What part of a datagram it is, as far as the walk got.
    pub fragment: Fragment,
    /// The transport protocol, that of a later fragment included if its header says it; or [`NO_PROTOCOL`].
    pub protocol: u16,
    /// The distance of the transport header from the first byte of the packet, where the walk got there.
    pub offset: usize,
    /// How far it got.
    pub reach: Reach,
}

/// Ports or ICMP type, numbered as in [`index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Source port, or ICMP type.
    pub source: u32,
    /// Destination port.
    pub destination: u32,
}

impl Ports {
    /// Those of a packet that has none.
    pub const NONE: Self = Self { source: index::NO_SOURCE_PORT, destination: index::NO_DESTINATION_PORT };
}

impl Flow {
    /// That of a packet into which nobody looked.
    pub const UNSEEN: Self = Self { fragment: Fragment::No, protocol: NO_PROTOCOL, offset: 0, reach: Reach::Cut };

    /// The ports of TCP, UDP, SCTP, DCCP and UDP-Lite, or the type of ICMP; `None` where the packet ends before them.
    #[inline(always)]
    pub fn ports<P: Packet + ?Sized>(&self, packet: &P, family: Family) -> Option<Ports> {
        if self.reach as u8 != Reach::Transport as u8 {
            return Some(Ports::NONE);
        }
        let icmp = if family as u8 == Family::V4 as u8 { IpProto::Icmp } else { IpProto::Ipv6Icmp };
        if self.protocol == icmp as u16 {
            let [kind, _] = packet.read::<2>(self.offset)?;
            return Some(Ports { source: index::ICMP + u32::from(kind), ..Ports::NONE });
        }
        if !has_ports(self.protocol) {
            return Some(Ports::NONE);
        }
        let [a, b, c, d] = packet.read::<4>(self.offset)?;
        Some(Ports { source: u32::from(a) << 8 | u32::from(b), destination: u32::from(c) << 8 | u32::from(d) })
    }
}

#[inline(always)]
const fn has_ports(protocol: u16) -> bool {
    const PROTOCOLS: [u16; 5] =
        [IpProto::Tcp as u16, IpProto::Udp as u16, IpProto::Dccp as u16, IpProto::Sctp as u16, IpProto::UdpLite as u16];
    let [tcp, udp, dccp, sctp, lite] = PROTOCOLS;
    protocol == tcp || protocol == udp || protocol == dccp || protocol == sctp || protocol == lite
}

/// Finds the transport header; `None` for a later fragment, a chain that is cut before an extension header has said what
/// follows, or one longer than [`MAX_EXTENSION_HEADERS`].
///
/// The transport header itself need not be there, nor the last extension header to its end: a read at `offset` tells.
#[inline(always)]
pub fn transport<P: Packet + ?Sized>(packet: &P, header: &Header) -> Option<Transport> {
    let flow = flow(packet, header);
    let there = flow.reach as u8 == Reach::Transport as u8;
    there.then_some(Transport { protocol: flow.protocol as u8, offset: flow.offset })
}

/// Walks from the IP header to the transport header, as far as that goes.
#[inline(always)]
pub fn flow<P: Packet + ?Sized>(packet: &P, header: &Header) -> Flow {
    match header.family {
        Family::V4 => behind_ipv4(packet, header.offset),
        Family::V6 => behind_ipv6(packet, header.offset),
    }
}

#[inline(always)]
fn behind_ipv4<P: Packet + ?Sized>(packet: &P, offset: usize) -> Flow {
    let Some(bytes) = packet.read::<{ Ipv4Hdr::LEN }>(offset) else {
        return Flow { fragment: Fragment::No, protocol: NO_PROTOCOL, offset, reach: Reach::Cut };
    };
    let field = offset_of!(Ipv4Hdr, frags);
    let field = u16::from_be_bytes([bytes[field], bytes[field + 1]]);
    let (fragment, reach) = fragment(field & 0x1fff != 0, field & 0x2000 != 0);
    let protocol = u16::from(bytes[offset_of!(Ipv4Hdr, proto)]);
    Flow { fragment, protocol, offset: offset + usize::from(bytes[0] & 0x0f) * 4, reach }
}

#[inline(always)]
const fn fragment(later: bool, more: bool) -> (Fragment, Reach) {
    if later {
        (Fragment::Later, Reach::LaterFragment)
    } else if more {
        (Fragment::First, Reach::Transport)
    } else {
        (Fragment::No, Reach::Transport)
    }
}

#[inline(always)]
fn behind_ipv6<P: Packet + ?Sized>(packet: &P, offset: usize) -> Flow {
    let mut flow = Flow { fragment: Fragment::No, protocol: NO_PROTOCOL, offset, reach: Reach::Cut };
    let Some(bytes) = packet.read::<{ Ipv6Hdr::LEN }>(offset) else {
        return flow;
    };
    let mut protocol = bytes[offset_of!(Ipv6Hdr, next_hdr)];
    flow.offset += Ipv6Hdr::LEN;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        if !is_extension(protocol) {
            return Flow { protocol: u16::from(protocol), reach: Reach::Transport, ..flow };
        }
        let Some(bytes) = packet.read::<4>(flow.offset) else {
            return flow;
        };
        if protocol == IpProto::Ipv6Frag as u8 {
            let field = u16::from_be_bytes([bytes[2], bytes[3]]);
            if field & 0xfff8 != 0 {
                return later_ipv6(bytes[0], flow);
            }
            if field & 1 != 0 {
                flow.fragment = Fragment::First;
            }
        }
        flow.offset += extension_length(protocol, bytes[1]);
        protocol = bytes[0];
    }
    Flow { reach: Reach::TooLong, ..flow }
}

/// A later fragment, whose fragment header says `next`: the protocol, or an extension header in the first fragment.
#[inline(always)]
const fn later_ipv6(next: u8, flow: Flow) -> Flow {
    let protocol = if is_extension(next) { NO_PROTOCOL } else { next as u16 };
    Flow { fragment: Fragment::Later, protocol, reach: Reach::LaterFragment, ..flow }
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// The length in bytes of an extension header whose length field is `field`: 8, and `field` times 8 more; times 4 in an
/// authentication header (RFC 4302 section 2.2), and none in a fragment header, which has no such field.
///
/// Without a branch, on purpose: the verifier follows each branch of each turn of the loop, and with three kinds of
/// header that is some hundred thousand instructions. The lower six bits of the protocol are enough to tell those of
/// [`is_extension`] apart.
///
/// And with a mask that removes nothing: a verifier before Linux 6.10 forgets what it knew of two numbers once they are
/// multiplied, and then refuses to add the product, which is below 2^12, to the packet's address. The compiler must not
/// see that the mask is without effect.
#[inline(always)]
fn extension_length(protocol: u8, field: u8) -> usize {
    const IN_8: u64 = bits(&[0, 43, 60, 135, 139, 140]);
    const IN_4: u64 = bits(&[IpProto::Ah as u8]);
    let bit = protocol & 63;
    let unit = (IN_8 >> bit & 1) << 3 | (IN_4 >> bit & 1) << 2;
    8 + (hint::black_box(field as usize * unit as usize) & 0xfff)
}

const fn bits(protocols: &[u8]) -> u64 {
    let (mut bits, mut index) = (0, 0);
    while index < protocols.len() {
        bits |= 1 << (protocols[index] & 63);
        index += 1;
    }
    bits
}
