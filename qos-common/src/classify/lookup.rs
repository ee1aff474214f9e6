//! From the fields of a packet to the numbers of rows.

use core::mem::offset_of;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::Rules;
use crate::{
    flow::{Flow, NO_PROTOCOL, Ports},
    locate::{Family, Header},
    packet::Packet,
    rules::{Constant, LEAF, index},
};

/// What the hook knows of a packet beside its IP header, as far as rules ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Traits {
    /// This host made it.
    pub local: bool,
    /// The IP length in bytes, of a segment.
    pub length: u16,
    /// The outermost VLAN tag; [`index::NO_TAG`] for none.
    pub tag: u32,
    /// The skb mark.
    pub mark: u32,
    /// The interface that it came in by; 0 for what this host made.
    pub from: u32,
}

/// A packet and the tables in which its fields are looked up. Each method gives the number of a row, 0 where no rule asks
/// for the field, and `None` where the tables are not whole.
pub(super) struct Fields<'a, P: ?Sized, R> {
    pub packet: &'a P,
    pub header: &'a Header,
    pub flow: &'a Flow,
    pub traits: &'a Traits,
    pub rules: &'a R,
}

impl<P: Packet + ?Sized, R: Rules> Fields<'_, P, R> {
    #[inline(always)]
    pub fn head(&self) -> Option<u16> {
        let family = if self.header.family == Family::V6 { index::HEAD_V6 } else { 0 };
        let local = if self.traits.local { index::HEAD_LOCAL } else { 0 };
        self.find(Constant::Head, u32::from(self.header.ds.dscp().value()) | family | local)
    }

    #[inline(always)]
    pub fn protocol(&self) -> Option<u16> {
        let fragments = self.rules.constant(Constant::Fragments) != 0;
        let fragment = if fragments { self.flow.fragment as u32 } else { 0 };
        let protocol = u32::from(self.flow.protocol);
        let value = if self.flow.protocol == NO_PROTOCOL { protocol | fragment } else { protocol | fragment << 8 };
        self.find(Constant::Protocol, value)
    }

    /// The rows of source and destination port.
    #[inline(always)]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let asked = |which| self.rules.constant(which) != 0;
        let ports = if asked(Constant::SourcePort) || asked(Constant::DestinationPort) {
            self.flow.ports(self.packet, self.header.family)
        } else {
            Ports::NONE
        };
        let source = self.find(Constant::SourcePort, ports.source)?;
        Some((source, self.find(Constant::DestinationPort, ports.destination)?))
    }

    #[inline(always)]
    pub fn length(&self) -> Option<u16> {
        self.find(Constant::Length, u32::from(self.traits.length))
    }

    #[inline(always)]
    pub fn tag(&self) -> Option<u16> {
        self.find(Constant::Tag, self.traits.tag)
    }

    /// The rows of the two halves of the mark.
    #[inline(always)]
    pub fn mark(&self) -> Option<(u16, u16)> {
        let low = self.find(Constant::MarkLow, self.traits.mark & 0xffff)?;
        Some((low, self.find(Constant::MarkHigh, self.traits.mark >> 16)?))
    }

    #[inline(always)]
    pub fn from(&self) -> Option<u16> {
        let from = self.traits.from;
        let byte = |at: usize| Some((from >> (16 + 8 * (at & 1))) as u8);
        self.walk::<2>(Constant::From, Constant::FromDepth, from & 0xffff, byte)
    }

    /// The rows of source and destination address.
    #[inline(always)]
    pub fn addresses(&self) -> Option<(u16, u16)> {
        use Constant::*;
        match self.header.family {
            Family::V4 => {
                let source = self.address::<2>(Source4, Source4Depth, offset_of!(Ipv4Hdr, src_addr))?;
                Some((source, self.address::<2>(Destination4, Destination4Depth, offset_of!(Ipv4Hdr, dst_addr))?))
            }
            Family::V6 => {
                let source = self.address::<14>(Source6, Source6Depth, offset_of!(Ipv6Hdr, src_addr))?;
                Some((source, self.address::<14>(Destination6, Destination6Depth, offset_of!(Ipv6Hdr, dst_addr))?))
            }
        }
    }

    #[inline(always)]
    fn address<const MORE: usize>(&self, first: Constant, depth: Constant, field: usize) -> Option<u16> {
        if self.rules.constant(first) == 0 {
            return Some(0);
        }
        let start = self.header.offset + field;
        let root = u16::from_be_bytes(self.packet.read(start)?);
        // Two bytes, of which the first is known: see `Packet::read`.
        let byte = |at| self.packet.read::<2>(start + 1 + at).map(|bytes| bytes[1]);
        self.walk::<MORE>(first, depth, u32::from(root), byte)
    }

    /// Walks a trie: 16 bits at once, then up to `MORE` bytes.
    #[inline(always)]
    fn walk<const MORE: usize>(
        &self,
        first: Constant,
        depth: Constant,
        root: u32,
        byte: impl Fn(usize) -> Option<u8>,
    ) -> Option<u16> {
        let first = self.rules.constant(first);
        if first == 0 {
            return Some(0);
        }
        let depth = usize::from(self.rules.constant(depth));
        let mut entry = self.entry(u32::from(first) + (root >> 8), root as u8)?;
        for at in 0..MORE {
            if at >= depth || entry & LEAF != 0 {
                break;
            }
            entry = self.entry(u32::from(entry), byte(at)?)?;
        }
        Some(entry & !LEAF)
    }

    /// Looks a value up in the pages of a field.
    #[inline(always)]
    fn find(&self, first: Constant, value: u32) -> Option<u16> {
        match self.rules.constant(first) {
            0 => Some(0),
            first => Some(self.entry(u32::from(first) + (value >> 8), value as u8)? & !LEAF),
        }
    }

    #[inline(always)]
    fn entry(&self, page: u32, byte: u8) -> Option<u16> {
        Some(self.rules.page(page)?.entry(byte))
    }
}
