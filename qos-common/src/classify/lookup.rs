//! From the fields of a packet to the numbers of rows.

use core::mem::offset_of;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{Behind, rows::Rows};
use crate::{
    condition::Case,
    flow::{Flow, NO_PROTOCOL, Ports},
    locate::{self, Family, Link},
    packet::Packet,
    policy::Origin,
    process::{Constants as _, Frame, Tables},
    rules::{Constant, LEAF, Row, index},
};

/// The number of kind of fragment and protocol.
#[inline(always)]
pub(super) fn protocol<T: Tables>(flow: &Flow, rules: &T) -> u32 {
    let fragment = if rules.constant(Constant::Fragments) == 0 { 0 } else { flow.fragment as u32 };
    let protocol = u32::from(flow.protocol);
    if flow.protocol == NO_PROTOCOL { protocol | fragment } else { protocol | fragment << 8 }
}

/// The ports, if a rule asks for them.
#[inline(always)]
pub(super) fn ports<P, F, T>(case: &Case<'_, P, F>, flow: &Flow, rules: &mut T) -> Ports
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
{
    if rules.constant(Constant::Transport) == 0 {
        return Ports::NONE;
    }
    if let Some(ports) = flow.ports(case.packet, case.header.family) {
        return ports;
    }
    if rules.constant(Constant::Ports) != 0 {
        case.count_hidden(flow, rules);
    }
    Ports::NONE
}

/// The IP length, if a rule asks for it.
#[inline(always)]
pub(super) fn length<P, F, T>(case: &Case<'_, P, F>, flow: &Flow, rules: &T) -> u32
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
{
    if rules.constant(Constant::Length) == 0 {
        return 0;
    }
    let [length] = rules.settle([case.frame.length().of_ip(case.packet, case.header, flow).into()]);
    length
}

/// A packet and the tables in which its fields are looked up. Where a rule asks for a field, each method gives its row to
/// `rows`; `None` where the tables are not whole. Each constant is read once: the verifier removes the branch that it
/// decides, but not the read.
pub(super) struct Fields<'a, P: ?Sized, F, T> {
    pub case: &'a Case<'a, P, F>,
    pub rules: &'a T,
}

impl<'a, P: Packet + ?Sized, F: Frame, T: Tables> Fields<'a, P, F, T> {
    #[inline(always)]
    fn asked(&self, constant: Constant) -> bool {
        self.rules.constant(constant) != 0
    }

    /// Codepoint, family, origin.
    #[inline(always)]
    pub fn head(&self, rows: &mut impl Rows<'a>) -> Option<()> {
        let header = self.case.header;
        let family = if header.family == Family::V6 { index::HEAD_V6 } else { 0 };
        let local = self.asked(Constant::Origin) && self.case.frame.origin() == Origin::Local;
        let local = if local { index::HEAD_LOCAL } else { 0 };
        // Up to Linux 6.1 the verifier knows no bound for a constant with unknown bits in it: so they are cut off again.
        let head = self.rules.opaque(u32::from(header.ds.dscp().value()) | family | local);
        self.number(Constant::Head, head & (index::HEADS - 1), rows)?;
        Some(())
    }

    /// Source and destination port.
    #[inline(always)]
    pub fn ports(&self, behind: &Behind, rows: &mut impl Rows<'a>) -> Option<(u16, u16)> {
        let source = self.number(Constant::SourcePort, behind.source_port, rows)?;
        Some((source, self.number(Constant::DestinationPort, behind.destination_port, rows)?))
    }

    /// The VLAN tag.
    #[inline(always)]
    pub fn tag(&self, rows: &mut impl Rows<'a>) -> Option<()> {
        if self.asked(Constant::Tag) {
            self.number(Constant::Tag, self.outermost_tag(), rows)?;
        }
        Some(())
    }

    /// The tag beside the packet, else the first in it.
    #[inline(always)]
    fn outermost_tag(&self) -> u32 {
        /// Destination, source and EtherType: a header that is further from the start has a tag before it.
        const UNTAGGED: usize = 14;
        if let Some(tag) = self.case.frame.tag() {
            return u32::from(tag);
        }
        if self.rules.constants().link() == Link::Layer3 || self.case.header.offset <= UNTAGGED {
            return index::NO_TAG;
        }
        // Behind a session or labels it is further from the start without a tag.
        let is_tag = |kind: [u8; 2]| locate::is_tag(u16::from_ne_bytes(kind));
        if !self.rules.constants().inside().is_nothing() && !self.case.packet.read(UNTAGGED - 2).is_some_and(is_tag) {
            return index::NO_TAG;
        }
        self.case.packet.read::<2>(UNTAGGED).map_or(index::NO_TAG, |tag| u32::from(u16::from_be_bytes(tag)))
    }

    /// The two halves of the mark.
    #[inline(always)]
    pub fn mark(&self, rows: &mut impl Rows<'a>) -> Option<()> {
        if !self.asked(Constant::MarkLow) {
            return Some(());
        }
        let mark = self.case.frame.mark();
        let low = self.number(Constant::MarkLow, mark & 0xffff, rows)?;
        let high = self.number(Constant::MarkHigh, mark >> 16, rows)?;
        self.either(Constant::MarkNot, (low, high), rows)
    }

    /// The interface that it came in by.
    #[inline(always)]
    pub fn from(&self, rows: &mut impl Rows<'a>) -> Option<()> {
        let first = self.rules.constant(Constant::From);
        if first == 0 {
            return Some(());
        }
        let [a, b, c, d] = self.case.frame.from().to_be_bytes();
        let row = self.short(first, Constant::FromDepth, u32::from_be_bytes([c, d, b, a]))?;
        rows.also(Constant::From, row);
        Some(())
    }

    /// The source address.
    #[inline(always)]
    pub fn source(&self, rows: &mut impl Rows<'a>) -> Option<()> {
        use Constant::*;
        match self.case.header.family {
            Family::V4 => self.ipv4(Source4, Source4Depth, offset_of!(Ipv4Hdr, src_addr), rows),
            Family::V6 => self.ipv6(Source6, Source6Depth, offset_of!(Ipv6Hdr, src_addr), rows),
        }
    }

    /// The destination address.
    #[inline(always)]
    pub fn destination(&self, rows: &mut impl Rows<'a>) -> Option<()> {
        use Constant::*;
        match self.case.header.family {
            Family::V4 => self.ipv4(Destination4, Destination4Depth, offset_of!(Ipv4Hdr, dst_addr), rows),
            Family::V6 => self.ipv6(Destination6, Destination6Depth, offset_of!(Ipv6Hdr, dst_addr), rows),
        }
    }

    #[inline(always)]
    fn ipv4(&self, field: Constant, depth: Constant, at: usize, rows: &mut impl Rows<'a>) -> Option<()> {
        let first = self.rules.constant(field);
        if first == 0 {
            return Some(());
        }
        let address = self.case.packet.read(self.case.header.offset + at)?;
        rows.also(field, self.short(first, depth, u32::from_be_bytes(address))?);
        Some(())
    }

    #[inline(always)]
    fn ipv6(&self, field: Constant, depth: Constant, at: usize, rows: &mut impl Rows<'a>) -> Option<()> {
        let first = self.rules.constant(field);
        if first == 0 {
            return Some(());
        }
        let start = self.case.header.offset + at;
        let high = u64::from_be_bytes(self.case.packet.read(start)?);
        let low = u64::from_be_bytes(self.case.packet.read(start + 8)?);
        let depth = u32::from(self.rules.constant(depth));
        let entry = self.root(first, (high >> 48) as u32)?;
        let entry = self.steps::<6>(entry, high << 16, depth)?;
        let entry = self.steps::<8>(entry, low, depth.saturating_sub(6))?;
        rows.also(field, self.row(entry & !LEAF)?);
        Some(())
    }

    /// The row of 32 bits.
    #[inline(always)]
    fn short(&self, first: u16, depth: Constant, value: u32) -> Option<&'a Row> {
        let entry = self.root(first, value >> 16)?;
        let depth = u32::from(self.rules.constant(depth));
        self.row(self.steps::<2>(entry, u64::from(value) << 48, depth)? & !LEAF)
    }

    /// The entry of a number in the pages of a field; of an address, the first step into its trie: 16 bits at once.
    #[inline(always)]
    fn root(&self, first: u16, value: u32) -> Option<u16> {
        self.entry(u32::from(first) + (value >> 8), value as u8)
    }

    /// Up to `MOST` steps more, a byte each, from the highest on. The bytes are in a register: each access to the packet
    /// would have to be compared with its end, and the verifier would follow that as well.
    #[inline(always)]
    fn steps<const MOST: u32>(&self, mut entry: u16, bytes: u64, depth: u32) -> Option<u16> {
        for at in 0..MOST {
            if at >= depth || entry & LEAF != 0 {
                break;
            }
            entry = self.entry(u32::from(entry), (bytes >> (56 - 8 * at)) as u8)?;
        }
        Some(entry)
    }

    /// Looks a value up in the pages of a field; the number of its row, 0 where no rule asks.
    #[inline(always)]
    pub fn number(&self, field: Constant, value: u32, rows: &mut impl Rows<'a>) -> Option<u16> {
        let first = self.rules.constant(field);
        if first == 0 {
            return Some(0);
        }
        let number = self.root(first, value)? & !LEAF;
        rows.also(field, self.row(number)?);
        Some(number)
    }

    /// The rows behind two, if there are such.
    #[inline(always)]
    pub fn either(&self, field: Constant, (one, other): (u16, u16), rows: &mut impl Rows<'a>) -> Option<()> {
        if self.asked(field) {
            rows.either(field, self.row(one + 1)?, self.row(other + 1)?);
        }
        Some(())
    }

    #[inline(always)]
    fn entry(&self, page: u32, byte: u8) -> Option<u16> {
        Some(self.rules.page(page)?.entry(byte))
    }

    #[inline(always)]
    fn row(&self, number: u16) -> Option<&'a Row> {
        self.rules.row(number.into())
    }
}
