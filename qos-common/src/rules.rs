//! Compiled MF rules (RFC 2475: multi-field classifier) as they lie in the maps of a program.
//!
//! Each rule is a bit, in the order in which rules are asked. Each field of a packet leads by way of [`Page`]s to a
//! [`Row`]: the rules that this value of the field does not rule out. The rules that match are the AND of all rows.
//!
//! The tables belong to one program and are never written again once it runs. Only [`RuleCounters`] outlive it.

use crate::abi::Counter;

/// How many rules a hook may have.
pub const MAX_RULES: usize = 1024;

/// How many of them may be rules that count or log and go on. Theirs are the lowest bits.
pub const MAX_PASSING: usize = 8;

/// How many counters of rules a hook has: twice as many as rules, so that those of a new policy have room beside those of
/// the program that still runs.
pub const RULE_SLOTS: usize = 2 * RuleCounters::SLOTS;

/// How many pages a hook may have at most: their numbers have 15 bits.
pub const MAX_PAGES: usize = 1 << 15;

/// How many rows a hook may have at most: their numbers have 15 bits.
pub const MAX_ROWS: usize = 1 << 15;

/// 256 entries, one for each value of a byte. An entry with [`LEAF`] is the number of a row, else that of a page, where
/// the next byte is looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Page(pub [u16; 256], [u16; 4]);

/// The bit of an entry that ends a walk.
pub const LEAF: u16 = 1 << 15;

impl Page {
    /// Bytes of a page in its map. No power of two, so that the same entry of many pages is not in the same cache set.
    pub const BYTES: usize = size_of::<Self>();

    /// A page of these entries.
    #[must_use]
    pub const fn new(entries: [u16; 256]) -> Self {
        Self(entries, [0; 4])
    }

    /// The entry of a byte.
    #[inline(always)]
    #[must_use]
    pub const fn entry(&self, byte: u8) -> u16 {
        self.0[byte as usize]
    }

    /// The bytes of the map's value.
    #[must_use]
    pub fn to_ne_bytes(&self) -> [u8; Self::BYTES] {
        bytes(self.0.iter().chain(&self.1).flat_map(|entry| entry.to_ne_bytes()))
    }
}

/// A bit for each rule. Row 0 is none: the number of a field that no rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Row {
    /// Rule 0 is the lowest bit of the first word.
    pub words: [u64; MAX_RULES / 64],
    /// Which of the words are not 0, a bit each.
    pub summary: u64,
}

impl Row {
    /// Bytes of a row in its map.
    pub const BYTES: usize = size_of::<Self>();

    /// A row with its summary.
    #[must_use]
    pub fn new(words: [u64; MAX_RULES / 64]) -> Self {
        let summary = words.iter().rev().fold(0, |bits, word| bits << 1 | u64::from(*word != 0));
        Self { words, summary }
    }

    /// The bytes of the map's value.
    #[must_use]
    pub fn to_ne_bytes(&self) -> [u8; Self::BYTES] {
        bytes(self.words.iter().chain([&self.summary]).flat_map(|word| word.to_ne_bytes()))
    }
}

/// What a rule does to what it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// The bits of a [`Verdict`](crate::policy::Verdict); to keep the mark keeps the table from being asked, too.
    pub verdict: u8,
    /// [`Record::OVERRIDES_LOCAL`], [`Record::PRIORITY`], [`Record::MARK`], [`Record::METERS`].
    pub flags: u8,
    /// Its counter, below [`RULE_SLOTS`].
    pub slot: u16,
    /// Which of the rules that go on are before it.
    pub passing: u32,
    /// The skb priority that it gives.
    pub priority: u32,
    /// The bits of the skb mark that it gives.
    pub mark: u32,
    /// Which bits of the skb mark it gives.
    pub mask: u32,
    /// The number of its meter, which gives the verdict.
    pub meter: u32,
    /// Nanoseconds from one event to the next at the rate at which it logs; 0 if it does not.
    pub log_every: u64,
    /// By how many nanoseconds an event may come earlier.
    pub log_burst: u64,
}

impl Record {
    /// The rule names `origin = "local"`: what `local` says of the hook does not bind it.
    pub const OVERRIDES_LOCAL: u8 = 1;
    /// The rule gives a priority.
    pub const PRIORITY: u8 = 2;
    /// The rule gives bits of the mark.
    pub const MARK: u8 = 4;
    /// The rule has a meter: its verdict is that of the packet's color.
    pub const METERS: u8 = 8;

    /// Bytes of a record in its map.
    pub const BYTES: usize = size_of::<Self>();

    /// Whether it has a flag.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The bytes of the map's value.
    #[must_use]
    pub fn to_ne_bytes(&self) -> [u8; Self::BYTES] {
        let [low, high] = self.slot.to_ne_bytes();
        let words = [self.passing, self.priority, self.mark, self.mask, self.meter];
        let times = [self.log_every, self.log_burst].into_iter().flat_map(u64::to_ne_bytes);
        let words = words.into_iter().flat_map(u32::to_ne_bytes);
        bytes([self.verdict, self.flags, low, high].into_iter().chain(words).chain(times))
    }
}

/// What a rule has matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleCounter {
    /// Packets; for a GSO packet its segments.
    pub packets: u64,
    /// Bytes of the frame as a capture on the cable would show them.
    pub bytes: u64,
    /// When the last one came, in the kernel's jiffies.
    pub last: u64,
    /// Events that were not told of, since its rate or the ring buffer did not allow it.
    pub suppressed: u64,
}

impl RuleCounter {
    /// Adds what a CPU counted, as the words of its value in the map.
    pub fn merge(&mut self, [packets, bytes, last, suppressed]: [u64; 4]) {
        self.add(Counter { packets, bytes }, self.last.max(last));
        self.suppressed = self.suppressed.wrapping_add(suppressed);
    }

    /// Counts a packet that came at the jiffy `now`.
    #[inline(always)]
    pub const fn add(&mut self, weight: Counter, now: u64) {
        self.packets = self.packets.wrapping_add(weight.packets);
        self.bytes = self.bytes.wrapping_add(weight.bytes);
        self.last = now;
    }
}

/// The counters of a CPU: one of the two values of the map `rules`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RuleCounters(pub [RuleCounter; Self::SLOTS]);

impl RuleCounters {
    /// How many are in a value.
    pub const SLOTS: usize = 1024;

    /// All zero.
    pub const ZERO: Self = Self([RuleCounter { packets: 0, bytes: 0, last: 0, suppressed: 0 }; Self::SLOTS]);

    /// How many 64-bit words it is in a map.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// Which of the two values has a slot.
    #[inline(always)]
    #[must_use]
    pub const fn of(slot: u16) -> u32 {
        slot as u32 / Self::SLOTS as u32
    }

    /// The counter of a slot; the slot is in the value that [`of`](Self::of) named.
    #[inline(always)]
    pub const fn slot_mut(&mut self, slot: u16) -> &mut RuleCounter {
        &mut self.0[slot as usize % Self::SLOTS]
    }
}

/// The constants that specialise a program for its rules: 0 in all of them leaves no code for rules in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Constant {
    /// How many words of a row are in use: 1, 4 or 16; 0 without rules.
    Words,
    /// How many rules count or log and go on.
    Passing,
    /// 1 if a rule drops.
    Drops,
    /// 1 if a rule logs.
    Logs,
    /// 1 if a rule gives a priority or a mark.
    HandsOver,
    /// 1 if a rule meters.
    Meters,
    /// 1 if a rule asks what part of a datagram a packet is.
    Fragments,
    /// 1 if a rule asks for ports: then packets of which they cannot be seen are counted.
    Ports,
    /// 1 if a rule asks for the protocol, or for what only a transport header has.
    Transport,
    /// 1 if a rule asks for either port, the length, a tag, the mark, or the interface that a packet came in by: what few
    /// policies ask is behind one question.
    Seldom,
    /// 1 if a rule asks for either port: a row of either port is followed by the one for that.
    EitherPort,
    /// 1 if a rule asks that a mark is not so: a row of either half is followed by the one for that.
    MarkNot,
    /// The first page by codepoint, family and origin; 0, as in all of these, where no rule asks.
    Head,
    /// 1 if a rule asks who made a packet.
    Origin,
    /// The first page by fragment and protocol.
    Protocol,
    /// The first page by source port or ICMP type.
    SourcePort,
    /// The first page by destination port.
    DestinationPort,
    /// The first page by length.
    Length,
    /// The first page by VLAN tag.
    Tag,
    /// The first page by the low half of the skb mark.
    MarkLow,
    /// The first page by its high half.
    MarkHigh,
    /// The first page by the low half of the number of the interface that it came in by.
    From,
    /// How many bytes may have to be looked up behind the first two.
    FromDepth,
    /// The first page by IPv4 source.
    Source4,
    /// As for `From`, up to 2.
    Source4Depth,
    /// The first page by IPv4 destination.
    Destination4,
    /// As for `From`, up to 2.
    Destination4Depth,
    /// The first page by IPv6 source.
    Source6,
    /// As for `From`, up to 14.
    Source6Depth,
    /// The first page by IPv6 destination.
    Destination6,
    /// As for `From`, up to 14.
    Destination6Depth,
}

/// All [`Constant`]s of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Plan(pub [u16; Plan::LENGTH]);

impl Plan {
    /// How many there are.
    pub const LENGTH: usize = Constant::Destination6Depth as usize + 1;

    /// That of a hook without rules.
    pub const NONE: Self = Self([0; Self::LENGTH]);

    /// One of them.
    #[must_use]
    pub const fn get(&self, constant: Constant) -> u16 {
        self.0[constant as usize]
    }

    /// Sets one.
    pub const fn set(&mut self, constant: Constant, value: u16) {
        self.0[constant as usize] = value;
    }

    /// Sets those that follow from the others.
    pub const fn conclude(&mut self) {
        use Constant::{
            DestinationPort, EitherPort, From, Length, MarkLow, Protocol, Seldom, SourcePort, Tag, Transport,
        };
        let transport = self.get(Protocol) | self.get(SourcePort) | self.get(DestinationPort);
        let seldom = self.get(EitherPort) | self.get(Length) | self.get(Tag) | self.get(MarkLow) | self.get(From);
        self.set(Transport, (transport != 0) as u16);
        self.set(Seldom, (seldom != 0) as u16);
    }

    /// The bytes that the loader puts in place of the constant.
    #[must_use]
    pub fn to_ne_bytes(&self) -> [u8; Self::LENGTH * 2] {
        bytes(self.0.iter().flat_map(|value| value.to_ne_bytes()))
    }
}

/// The first bytes of a sequence.
fn bytes<const N: usize>(values: impl Iterator<Item = u8>) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.iter_mut().zip(values).for_each(|(byte, value)| *byte = value);
    bytes
}

/// How fields are numbered that are no number of 16 bits. The upper bits of a number say which page of the field.
pub mod index {
    /// The bit of IPv6, beside the codepoint.
    pub const HEAD_V6: u32 = 1 << 6;
    /// The bit of what this host made.
    pub const HEAD_LOCAL: u32 = 1 << 7;
    /// How many numbers codepoint, family and origin make.
    pub const HEADS: u32 = 1 << 8;
    /// Protocols by kind of fragment, then, by kind of fragment, those that cannot be seen.
    pub const PROTOCOLS: u32 = 3 << 8 | 3;
    /// The first ICMP type, behind the source ports.
    pub const ICMP: u32 = 1 << 16;
    /// What has no source port, and is no ICMP.
    pub const NO_SOURCE_PORT: u32 = ICMP + 256;
    /// What has no destination port.
    pub const NO_DESTINATION_PORT: u32 = 1 << 16;
    /// What has no VLAN tag.
    pub const NO_TAG: u32 = 1 << 16;
}

const _: () = {
    assert!(Page::BYTES == 520 && Row::BYTES == 136 && Record::BYTES == 40);
    assert!(size_of::<RuleCounters>() == 32_768, "userspace and kernel disagree, or LAYOUT has to change");
};
