//! What a packet weighs in the counters, super-packets included.
//!
//! At TC, Linux handles up to 64 KiB of one TCP or UDP flow as one packet. It counts as what the cable carries: as many
//! packets as it has segments, and the headers once for each.

use core::mem::offset_of;

use network_types::{
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
    udp::UdpHdr,
};

use crate::{
    abi::Counter,
    flow::{self, Flow, Transport},
    locate::{Family, Header},
    packet::Packet,
};

/// A super-packet, as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// Bytes of payload in each segment but the last; not 0.
    pub size: u32,
    /// How many segments; 0 where a device has not said.
    pub segments: u32,
}

/// How long a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// Bytes from the link header on, tags in metadata not included.
    pub bytes: u32,
    /// Bytes on the wire of all segments, where the kernel has already worked them out (TC egress).
    pub wire: Option<u32>,
    /// Bytes of the tags in metadata, for each segment.
    pub stripped: u32,
    /// Set for a super-packet.
    pub gso: Option<Gso>,
}

impl Length {
    /// One packet of `bytes`.
    #[inline(always)]
    #[must_use]
    pub const fn single(bytes: u32) -> Self {
        Self { bytes, wire: None, stripped: 0, gso: None }
    }

    /// What a frame without a usable IP header weighs: of a super-packet, such as a GRO packet behind MPLS labels, the
    /// segments that the kernel knows of. Where it has not worked out their bytes, those lack the headers that each repeats.
    #[inline(always)]
    #[must_use]
    pub const fn opaque(&self) -> Counter {
        match (self.gso, self.wire) {
            (Some(Gso { segments: segments @ 1.., .. }), Some(wire)) => self.segments(segments, wire as u64),
            (Some(Gso { segments: segments @ 1.., .. }), None) => self.segments(segments, self.bytes as u64),
            _ => self.segments(1, self.bytes as u64),
        }
    }

    /// So many packets, whose bytes lack the tags in metadata.
    #[inline(always)]
    const fn segments(&self, packets: u32, bytes: u64) -> Counter {
        Counter { packets: packets as u64, bytes: bytes + packets as u64 * self.stripped as u64 }
    }

    /// What an IP packet weighs.
    #[inline(always)]
    pub fn weigh<P: Packet + ?Sized>(&self, packet: &P, header: &Header) -> Counter {
        match self.gso {
            None => self.segments(1, self.bytes.into()),
            Some(gso) => self.weigh_segments(packet, header, gso),
        }
    }

    /// The length of the IP packet, of a segment for a super-packet; 65,535 for what is longer.
    ///
    /// It is what the header says (RFC 791 section 3.1, RFC 8200 section 3). Linux leaves 0 there in packets that are too
    /// long for the field, and a jumbogram (RFC 2675) has 0 too: those are as long as they are.
    #[inline(always)]
    pub fn of_ip<P: Packet + ?Sized>(&self, packet: &P, header: &Header, flow: &Flow) -> u16 {
        if let Some(gso) = self.gso {
            return saturate(segment_headers(packet, header, flow) + gso.size);
        }
        let there = self.bytes.saturating_sub(header.offset as u32);
        match header.family {
            Family::V4 => match packet.read::<2>(header.offset + offset_of!(Ipv4Hdr, tot_len)) {
                None | Some([0, 0]) => saturate(there),
                Some(length) => u16::from_be_bytes(length),
            },
            Family::V6 => match packet.read::<4>(header.offset + offset_of!(Ipv6Hdr, payload_len)) {
                None | Some([0, 0, HOP_BY_HOP, _]) => saturate(there),
                Some([high, low, ..]) => saturate(u32::from(u16::from_be_bytes([high, low])) + Ipv6Hdr::LEN as u32),
            },
        }
    }

    #[inline(always)]
    fn weigh_segments<P: Packet + ?Sized>(&self, packet: &P, header: &Header, gso: Gso) -> Counter {
        let (packets, bytes) = match (gso.segments, self.wire) {
            (1.., Some(wire)) => (gso.segments, u64::from(wire)),
            // Where the kernel did not know the segments, its sum of their bytes is not one either.
            (segments, _) => self.repeat_headers(headers_length(packet, header), gso.size, segments),
        };
        self.segments(packets, bytes)
    }

    /// Segments, and the bytes of all of them, where each has `headers` bytes before its payload.
    #[inline(always)]
    fn repeat_headers(&self, headers: u32, size: u32, segments: u32) -> (u32, u64) {
        let segments = match segments {
            0 => self.bytes.saturating_sub(headers).div_ceil(size.max(1)).max(1),
            segments => segments,
        };
        (segments, u64::from(self.bytes) + u64::from(segments - 1) * u64::from(headers))
    }
}

/// The next header of a jumbogram.
const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;

#[inline(always)]
const fn saturate(length: u32) -> u16 {
    if length > u16::MAX as u32 { u16::MAX } else { length as u16 }
}

/// The bytes of a segment from the IP header to the end of the TCP or UDP header.
#[inline(always)]
fn segment_headers<P: Packet + ?Sized>(packet: &P, header: &Header, flow: &Flow) -> u32 {
    let transport = Transport { protocol: flow.protocol as u8, offset: flow.offset };
    flow.offset.saturating_sub(header.offset) as u32 + transport_length(packet, &transport)
}

/// The bytes that each segment repeats: everything up to the end of the TCP or UDP header. Behind a tunnel that is the
/// outer header alone, and bytes lack the inner ones.
#[inline(always)]
fn headers_length<P: Packet + ?Sized>(packet: &P, header: &Header) -> u32 {
    match flow::transport(packet, header) {
        Some(transport) => transport.offset as u32 + transport_length(packet, &transport),
        None => 0,
    }
}

#[inline(always)]
fn transport_length<P: Packet + ?Sized>(packet: &P, transport: &Transport) -> u32 {
    if transport.protocol == IpProto::Udp as u8 {
        return UdpHdr::LEN as u32;
    }
    if transport.protocol != IpProto::Tcp as u8 {
        return 0;
    }
    match packet.read::<{ TcpHdr::LEN }>(transport.offset) {
        // The data offset, in words of 4 bytes (RFC 9293 section 3.1).
        Some(bytes) => u32::from(bytes[offset_of!(TcpHdr, _bitfield_1)] >> 4) * 4,
        None => TcpHdr::LEN as u32,
    }
}
