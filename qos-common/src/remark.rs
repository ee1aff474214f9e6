//! Writes a DSCP into a located IP header, and nothing else.
//!
//! ```text
//! IPv4   |Version|  IHL  |   DS field    |   ...   word 0        IPv6   |Version|  DS field 7..4|3..0 |Flow label |
//!        ...                                                                 byte 0                byte 1
//!        | Header checksum at byte 10    |   makes up for it          no checksum covers it
//! ```

use core::mem::offset_of;

use network_types::ip::Ipv4Hdr;

use crate::{
    checksum,
    ds::Dscp,
    locate::{Family, Header},
    packet::Packet,
};

/// Where the header checksum is (RFC 791 section 3.1).
const CHECK: usize = offset_of!(Ipv4Hdr, check);

/// Marks the packet with `dscp`; its ECN bits stay (RFC 3168), and the IPv4 header checksum stays as right or as wrong
/// as it was.
///
/// `None`, and nothing written, if the header is not there any more.
#[inline(always)]
pub fn remark<P: Packet + ?Sized>(packet: &mut P, header: &Header, dscp: Dscp) -> Option<()> {
    let (old, new) = (header.ds.bits(), header.ds.with_dscp(dscp).bits());
    match header.family {
        Family::V4 => {
            let bytes = packet.edit::<{ Ipv4Hdr::LEN }>(header.offset)?;
            bytes[offset_of!(Ipv4Hdr, tos)] = new;
            // As one word of two bytes, or the compiler stores each by itself.
            let check = bytes[CHECK..].first_chunk_mut()?;
            *check = checksum::update(*check, [0, old], [0, new]);
        }
        Family::V6 => {
            let bytes = packet.edit::<2>(header.offset)?;
            let (word, traffic_class) = (u16::from_ne_bytes(*bytes), u16::from(new) << 4);
            *bytes = (word & 0xf00f_u16.to_be() | traffic_class.to_be()).to_ne_bytes();
            let (word, marked) = (word.to_ne_bytes(), *bytes);
            // A sum over the packet has words that begin at even offsets (RFC 1071 section 2 (B): swapped, it is the same).
            match header.offset % 2 {
                0 => packet.sum_changed(word, marked),
                _ => packet.sum_changed([word[1], word[0]], [marked[1], marked[0]]),
            }
        }
    }
    Some(())
}
