//! What a packet weighs in the counters, super-packets included.
//!
//! At TC, Linux handles up to 64 KiB of one TCP or UDP flow as one packet. It counts as what the cable carries: as many
//! packets as it has segments, and the headers once for each.

use core::mem::offset_of;

use network_types::{ip::IpProto, tcp::TcpHdr, udp::UdpHdr};

use crate::{
    abi::Counter,
    flow::{self, Transport},
    locate::Header,
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

    /// What a frame without a usable IP header weighs: one packet.
    #[inline(always)]
    #[must_use]
    pub const fn opaque(&self) -> Counter {
        Counter { packets: 1, bytes: self.bytes as u64 + self.stripped as u64 }
    }

    /// What an IP packet weighs.
    #[inline(always)]
    pub fn weigh<P: Packet + ?Sized>(&self, packet: &P, header: &Header) -> Counter {
        match self.gso {
            None => self.opaque(),
            Some(gso) => self.weigh_segments(packet, header, gso),
        }
    }

    #[inline(always)]
    fn weigh_segments<P: Packet + ?Sized>(&self, packet: &P, header: &Header, gso: Gso) -> Counter {
        let (segments, bytes) = match (gso.segments, self.wire) {
            // Both known, as they mostly are at egress: the headers need not be looked at.
            (1.., Some(wire)) => (gso.segments, u64::from(wire)),
            (segments, wire) => {
                let headers = headers_length(packet, header);
                let payload = self.bytes.saturating_sub(headers);
                let segments = if segments == 0 { payload.div_ceil(gso.size.max(1)).max(1) } else { segments };
                let repeated = u64::from(segments - 1) * u64::from(headers);
                (segments, wire.map_or(u64::from(self.bytes) + repeated, u64::from))
            }
        };
        let tags = u64::from(segments) * u64::from(self.stripped);
        Counter { packets: u64::from(segments), bytes: bytes + tags }
    }
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
    const DATA_OFFSET: usize = offset_of!(TcpHdr, _bitfield_1);
    if transport.protocol == IpProto::Udp as u8 {
        return UdpHdr::LEN as u32;
    }
    if transport.protocol != IpProto::Tcp as u8 {
        return 0;
    }
    match packet.read(transport.offset + DATA_OFFSET) {
        Some([byte]) => u32::from(byte >> 4) * 4,
        None => TcpHdr::LEN as u32,
    }
}
