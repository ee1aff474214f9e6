//! Behind the IP header: which transport header, and where, past IPv4 options and IPv6 extension headers (RFC 8200
//! section 4, RFC 4302, RFC 6275, RFC 7401, RFC 5533).

use core::mem::offset_of;

use network_types::ip::{IpProto, Ipv4Hdr, Ipv6Hdr};

use crate::{
    locate::{Family, Header},
    packet::Packet,
};

/// How many extension headers are walked; RFC 8504 section 5.3 lets a host stop at eight.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// How far behind the first byte of a packet a transport header is looked for.
///
/// The bound is also what keeps the verifier's work small: it makes the states of different chains comparable.
const MAX_CHAIN: usize = 1024;

/// The transport header of a packet, or of a first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Its protocol number.
    pub protocol: u8,
    /// Its distance from the first byte of the packet.
    pub offset: usize,
}

/// Finds the transport header; `None` for a later fragment, a chain that is cut or longer than
/// [`MAX_EXTENSION_HEADERS`].
#[inline(always)]
pub fn transport<P: Packet + ?Sized>(packet: &P, header: &Header) -> Option<Transport> {
    match header.family {
        Family::V4 => behind_ipv4(packet, header.offset),
        Family::V6 => behind_ipv6(packet, header.offset),
    }
}

#[inline(always)]
fn behind_ipv4<P: Packet + ?Sized>(packet: &P, offset: usize) -> Option<Transport> {
    let bytes: [u8; Ipv4Hdr::LEN] = packet.read(offset)?;
    let fragment = offset_of!(Ipv4Hdr, frags);
    let later = u16::from_be_bytes([bytes[fragment], bytes[fragment + 1]]) & 0x1fff != 0;
    let length = usize::from(bytes[0] & 0x0f) * 4;
    (!later).then_some(Transport { protocol: bytes[offset_of!(Ipv4Hdr, proto)], offset: offset + length })
}

#[inline(always)]
fn behind_ipv6<P: Packet + ?Sized>(packet: &P, offset: usize) -> Option<Transport> {
    let [mut protocol] = packet.read(offset + offset_of!(Ipv6Hdr, next_hdr))?;
    let mut offset = offset + Ipv6Hdr::LEN;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        if !is_extension(protocol) {
            return Some(Transport { protocol, offset });
        }
        let bytes: [u8; 4] = packet.read(offset)?;
        if protocol == IpProto::Ipv6Frag as u8 && u16::from_be_bytes([bytes[2], bytes[3]]) & 0xfff8 != 0 {
            return None;
        }
        offset += extension_length(protocol, bytes[1]);
        protocol = bytes[0];
        if offset > MAX_CHAIN {
            return None;
        }
    }
    None
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140)
}

/// The length in bytes of an extension header whose length field is `field`: each kind has its own unit.
#[inline(always)]
const fn extension_length(protocol: u8, field: u8) -> usize {
    // A fragment header has no such field, but a reserved byte in its place.
    let field = if protocol == IpProto::Ipv6Frag as u8 { 0 } else { field as usize };
    if protocol == IpProto::Ah as u8 { (field + 2) << 2 } else { (field + 1) << 3 }
}
