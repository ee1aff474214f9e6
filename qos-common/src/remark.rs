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

/// Marks the packet with `dscp`; its ECN bits stay (RFC 3168), and the IPv4 header checksum stays as right or as wrong
/// as it was.
///
/// `None`, and nothing written, if the header is not there any more.
#[inline(always)]
pub fn remark<P: Packet + ?Sized>(packet: &mut P, header: &Header, dscp: Dscp) -> Option<()> {
    let (old, new) = (header.ds.bits(), header.ds.with_dscp(dscp).bits());
    match header.family {
        Family::V4 => {
            let bytes: [u8; Ipv4Hdr::LEN] = packet.read(header.offset)?;
            let check = [bytes[offset_of!(Ipv4Hdr, check)], bytes[offset_of!(Ipv4Hdr, check) + 1]];
            // Version and IHL are written along as they are: see `Packet::read` on accesses of one byte.
            packet.write(header.offset, [bytes[0], new])?;
            packet.write(header.offset + offset_of!(Ipv4Hdr, check), checksum::update(check, [0, old], [0, new]))
        }
        Family::V6 => {
            let word: [u8; 2] = packet.read(header.offset)?;
            let marked = [word[0] & 0xf0 | new >> 4, new << 4 | word[1] & 0x0f];
            packet.write(header.offset, marked)?;
            // A sum over the packet has words that begin at even offsets (RFC 1071 section 2 (B): swapped, it is the same).
            match header.offset % 2 {
                0 => packet.sum_changed(word, marked),
                _ => packet.sum_changed([word[1], word[0]], [marked[1], marked[0]]),
            }
            Some(())
        }
    }
}
