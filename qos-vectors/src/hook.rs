//! A hook in memory: what the kernel has around the data path, in plain values.

use std::{
    borrow::Borrow,
    cell::{Cell, RefCell},
    collections::HashMap,
};

use qos_common::{
    abi::{Counters, RemarkedHalf},
    classify::{Report, Rules},
    condition::HandOver,
    ds::Dscp,
    event::Event,
    gso::Length,
    inside::Inside,
    locate::Link,
    meter::{Buckets, Charge, Color, METER_SLOTS, MeterCounters, MeterRecord},
    packet::Packet,
    policy::{Entry, Local, Origin, Table},
    process::{Constants, Frame, Outcome, Tables, process},
    rules::{Constant, Page, Plan, Record, Row, RuleCounters},
};

/// One hook with its counters and its policy.
#[derive(Clone, Debug)]
pub struct Hook {
    /// What precedes the IP header.
    pub link: Link,
    /// Behind which headers it looks.
    pub inside: Inside,
    /// The policy's table.
    pub table: Table,
    /// Which of this host's packets the policy spares.
    pub local: Local,
    /// The table for outer headers that this host has made, if there is one.
    pub outer: Option<Table>,
    /// Whether the program may write at all.
    pub remarks: bool,
    /// The rules before the table; none at first.
    pub rules: HookRules,
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
        let rules = HookRules::default();
        let (inside, local) = (Inside::NOTHING, Local::default());
        Self { link, inside, table, local, outer: None, remarks: true, rules, counters, remarked }
    }

    /// Hands it a packet.
    pub fn receive<P: Packet + ?Sized>(&mut self, packet: &mut P, arrival: &Arrival) -> Outcome {
        process(packet, arrival, self)
    }
}

impl Rules for Hook {
    fn constant(&self, constant: Constant) -> u16 {
        self.rules.plan.get(constant)
    }

    fn page(&self, number: u32) -> Option<&Page> {
        self.rules.pages.get(number as usize)
    }

    fn row(&self, number: u32) -> Option<&Row> {
        self.rules.rows.get(number as usize)
    }

    fn record(&self, bit: u32) -> Option<impl Borrow<Record> + Copy + use<>> {
        self.rules.records.get(bit as usize).copied()
    }

    fn rule_counters(&mut self, slot: u16) -> Option<&mut RuleCounters> {
        self.rules.counters.get_mut(RuleCounters::of(slot) as usize)
    }

    fn meter(&self, number: u32) -> Option<&MeterRecord> {
        self.rules.meters.records.get(number as usize)
    }

    fn clock(&self) -> u64 {
        self.rules.meters.now
    }

    fn color(&self, meter: &MeterRecord, dscp: Dscp, charge: Charge) -> Option<Color> {
        let mut buckets = self.rules.meters.buckets.borrow_mut();
        let arrival = meter.arrival(dscp, charge, self.clock());
        Some(meter.meter.color(buckets.get_mut(meter.slot as usize)?, &arrival))
    }

    fn next_event(&self, slot: u16) -> Option<u64> {
        Some(self.rules.logged.get(&slot).copied().unwrap_or(0))
    }

    fn set_next_event(&mut self, slot: u16, next: u64) {
        self.rules.logged.insert(slot, next);
    }

    fn report(&mut self, report: &impl Report) -> bool {
        let mut event = Event::NONE;
        report.fill(&mut event);
        self.rules.events.push(event);
        true
    }

    fn meter_counters(&mut self) -> Option<&mut MeterCounters> {
        Some(&mut self.rules.meters.counters)
    }
}

/// What a hook is specialised for.
#[derive(Clone, Copy, Debug)]
pub struct Specialised {
    link: Link,
    inside: Inside,
    remarks: bool,
    has_rules: bool,
    entries: [u8; Dscp::COUNT],
    local: Local,
    outer: Option<Table>,
}

impl Constants for Specialised {
    fn link(self) -> Link {
        self.link
    }

    fn inside(self) -> Inside {
        self.inside
    }

    fn remarks(self) -> bool {
        self.remarks
    }

    fn has_rules(self) -> bool {
        self.has_rules
    }

    fn entry(self, dscp: Dscp) -> Entry {
        Entry::new(self.entries[dscp.index()])
    }

    fn local(self) -> Local {
        self.local
    }

    fn marks_outer(self) -> bool {
        self.outer.is_some()
    }

    fn outer(self, inner: Dscp) -> Dscp {
        self.outer.map_or(inner, |table| table.get(inner))
    }
}

impl Tables for Hook {
    type Constants = Specialised;

    fn constants(&self) -> Specialised {
        Specialised {
            link: self.link,
            inside: self.inside,
            remarks: self.remarks,
            has_rules: self.rules.plan.get(Constant::Words) != 0,
            entries: self.table.entries(self.rules.asked),
            local: self.local,
            outer: self.outer,
        }
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

/// Compiled rules, and what they have counted.
#[derive(Clone, Debug, Default)]
pub struct HookRules {
    /// The constants of the program.
    pub plan: Plan,
    /// The codepoints for which they are asked, a bit each.
    pub asked: u64,
    /// Where bytes are looked up.
    pub pages: Vec<Page>,
    /// What that leads to.
    pub rows: Vec<Row>,
    /// What each does.
    pub records: Vec<Record>,
    /// What each has matched, by slot.
    pub counters: Vec<RuleCounters>,
    /// Those that meter.
    pub meters: HookMeters,
    /// When each tells of the next packet.
    pub logged: HashMap<u16, u64>,
    /// What they told.
    pub events: Vec<Event>,
}

impl HookRules {
    /// The tables of compiled rules, which have counted nothing yet.
    #[must_use]
    pub fn new(
        plan: Plan,
        asked: u64,
        pages: Vec<Page>,
        rows: Vec<Row>,
        records: Vec<Record>,
        meters: Vec<MeterRecord>,
    ) -> Self {
        let counters = vec![RuleCounters::ZERO; 2];
        let meters = HookMeters { records: meters, ..HookMeters::default() };
        Self { plan, asked, pages, rows, records, counters, meters, ..Self::default() }
    }
}

/// Meters, their buckets, and what they have given.
#[derive(Clone, Debug)]
pub struct HookMeters {
    /// By number.
    pub records: Vec<MeterRecord>,
    /// By slot.
    pub buckets: RefCell<Vec<Buckets>>,
    /// By slot.
    pub counters: Box<MeterCounters>,
    /// The time, in nanoseconds.
    pub now: u64,
}

impl Default for HookMeters {
    fn default() -> Self {
        let buckets = RefCell::new(vec![Buckets::FULL; METER_SLOTS]);
        Self { records: Vec::new(), buckets, counters: Box::new(MeterCounters::ZERO), now: 0 }
    }
}

/// What the kernel says of a packet.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// 0 or 1.
    pub stripped_tags: usize,
    /// Its length.
    pub length: Length,
    /// Where it came from.
    pub origin: Origin,
    /// The tag in metadata; with it `stripped_tags` is 1.
    pub tag: Option<u16>,
    /// The skb mark.
    pub mark: u32,
    /// The interface that it came in by.
    pub from: u32,
    /// What a rule has given it.
    pub handed_over: Cell<HandOver>,
}

impl Arrival {
    /// A forwarded packet in one piece, of `bytes` beside the tag in metadata.
    #[must_use]
    pub fn single(bytes: usize, stripped_tags: usize) -> Self {
        let length = Length { stripped: 4 * stripped_tags as u32, ..Length::single(bytes as u32) };
        Self {
            stripped_tags,
            length,
            origin: Origin::Forwarded,
            tag: None,
            mark: 0,
            from: 0,
            handed_over: Cell::default(),
        }
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

    fn tag(&self) -> Option<u16> {
        self.tag
    }

    fn mark(&self) -> u32 {
        self.mark
    }

    fn from(&self) -> u32 {
        self.from
    }

    fn hand_over(&self, what: HandOver) {
        self.handed_over.set(what);
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

    fn edit<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.bytes[..].edit(offset)
    }

    fn sum_changed(&mut self, old: [u8; 2], new: [u8; 2]) {
        let removed = 0xffff - u32::from(u16::from_be_bytes(old));
        self.sum = (self.sum + removed + u32::from(u16::from_be_bytes(new))) % 0xffff;
    }
}
