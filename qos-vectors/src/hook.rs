//! A hook in memory: what the kernel has around the data path, in plain values.

use qos_common::{
    abi::{Counters, RemarkedHalf},
    classify::Rules,
    ds::Dscp,
    gso::Length,
    locate::Link,
    packet::Packet,
    policy::{Entry, Local, Origin, Table},
    process::{Frame, Outcome, Tables, process},
};

/// One hook with its counters and its policy.
#[derive(Clone, Debug)]
pub struct Hook {
    /// What precedes the IP header.
    pub link: Link,
    /// The policy's table.
    pub table: Table,
    /// Which of this host's packets the policy spares.
    pub local: Local,
    /// Whether the program may write at all.
    pub remarks: bool,
    /// What it has counted; `None` as if the map were out of reach.
    pub counters: Option<Box<Counters>>,
    /// The remark matrix.
    pub remarked: Vec<RemarkedHalf>,
}

impl Hook {
    /// A hook that has seen nothing yet.
    #[must_use]
    pub fn new(link: Link, table: Table) -> Self {
        let counters = Some(Box::new(Counters::ZERO));
        let remarked = vec![RemarkedHalf::ZERO; 2];
        Self { link, table, local: Local::default(), remarks: true, counters, remarked }
    }

    /// Hands it a packet.
    pub fn receive<P: Packet + ?Sized>(&mut self, packet: &mut P, arrival: &Arrival) -> Outcome {
        process(packet, arrival, self)
    }
}

impl Rules for Hook {}

impl Tables for Hook {
    fn link(&self) -> Link {
        self.link
    }

    fn remarks(&self) -> bool {
        self.remarks
    }

    fn entry(&self, dscp: Dscp) -> Entry {
        Entry::new(self.table.get(dscp).value())
    }

    fn local(&self) -> Local {
        self.local
    }

    fn now(&self) -> u64 {
        4_294_937_296
    }

    fn counters(&mut self) -> Option<&mut Counters> {
        self.counters.as_deref_mut()
    }

    fn remarked(&mut self, from: Dscp) -> Option<&mut RemarkedHalf> {
        self.remarked.get_mut(RemarkedHalf::of(from) as usize)
    }
}

/// What the kernel says of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// 0 or 1.
    pub stripped_tags: usize,
    /// Its length.
    pub length: Length,
    /// Where it came from.
    pub origin: Origin,
}

impl Arrival {
    /// A forwarded packet in one piece, of `bytes` beside the tag in metadata.
    #[must_use]
    pub fn single(bytes: usize, stripped_tags: usize) -> Self {
        let length = Length { stripped: 4 * stripped_tags as u32, ..Length::single(bytes as u32) };
        Self { stripped_tags, length, origin: Origin::Forwarded }
    }
}

impl Frame for Arrival {
    fn stripped_tags(&self) -> usize {
        self.stripped_tags
    }

    fn length(&self) -> Length {
        self.length
    }

    fn origin(&self) -> Origin {
        self.origin
    }
}

/// A packet with a sum over all of it kept beside it, as Linux does under `CHECKSUM_COMPLETE`.
#[derive(Clone, Debug)]
pub struct Summed {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The ones' complement sum, modulo 0xffff.
    pub sum: u32,
}

impl Summed {
    /// The packet with its right sum.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let sum = u32::from(crate::checksum::sum(&bytes)) % 0xffff;
        Self { bytes, sum }
    }
}

impl Packet for Summed {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes[..].read(offset)
    }

    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        self.bytes[..].write(offset, bytes)
    }

    fn sum_changed(&mut self, old: [u8; 2], new: [u8; 2]) {
        let removed = 0xffff - u32::from(u16::from_be_bytes(old));
        self.sum = (self.sum + removed + u32::from(u16::from_be_bytes(new))) % 0xffff;
    }
}
