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

/// The transport header of a packet, or of a first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Its protocol number.
    pub protocol: u8,
    /// Its distance from the first byte of the packet.
    pub offset: usize,
}

/// Finds the transport header; `None` for a later fragment, a chain that is cut before an extension header has said what
/// follows, or one longer than [`MAX_EXTENSION_HEADERS`].
///
/// The transport header itself need not be there, nor the last extension header to its end: a read at `offset` tells.
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
    let bytes: [u8; Ipv6Hdr::LEN] = packet.read(offset)?;
    let mut protocol = bytes[offset_of!(Ipv6Hdr, next_hdr)];
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
    }
    None
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
/// multiplied, and then refuses to add the product to the packet's address. The compiler, to which the two bits may both
/// be set, cannot tell that the mask is without effect.
#[inline(always)]
const fn extension_length(protocol: u8, field: u8) -> usize {
    const IN_8: u64 = bits(&[0, 43, 60, 135, 139, 140]);
    const IN_4: u64 = bits(&[IpProto::Ah as u8]);
    const LONGEST: usize = (1 << 11) - 1;
    let bit = protocol & 63;
    let unit = (IN_8 >> bit & 1) << 3 | (IN_4 >> bit & 1) << 2;
    8 + ((field as usize * unit as usize) & LONGEST)
}

const fn bits(protocols: &[u8]) -> u64 {
    let (mut bits, mut index) = (0, 0);
    while index < protocols.len() {
        bits |= 1 << (protocols[index] & 63);
        index += 1;
    }
    bits
}
