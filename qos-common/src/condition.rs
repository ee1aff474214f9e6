//! The conditioner (RFC 2475): asks the rules, then the table, and says what becomes of a packet.

use crate::{
    abi::{Counter, Limited},
    classify::{Found, Traits, find},
    ds::DsField,
    flow::{self, Flow, Reach},
    locate::{Header, Link},
    packet::Packet,
    policy::{Decision, Local, Origin, Verdict, decide},
    process::{Frame, Tables},
    rules::{Constant, MAX_PASSING, Record, index},
};

/// Priority and mark that a rule gives to a packet at TC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandOver {
    /// The skb priority.
    pub priority: Option<u32>,
    /// The bits of the skb mark, and which.
    pub mark: Option<(u32, u32)>,
}

/// A packet that is being decided on.
pub struct Case<'a, P: ?Sized, F> {
    /// Its bytes.
    pub packet: &'a P,
    /// Its IP header.
    pub header: &'a Header,
    /// What else the hook knows of it.
    pub frame: &'a F,
    /// What it weighs in the counters.
    pub weight: Counter,
}

impl<P: Packet + ?Sized, F: Frame> Case<'_, P, F> {
    /// Decides once: by the first rule that does, else by the table.
    #[inline(always)]
    pub fn decide<T: Tables>(&self, tables: &mut T) -> Decision {
        let entry = tables.entry(self.header.ds.dscp());
        if tables.constant(Constant::Words) != 0
            && entry.asks_rules()
            && let Some(decision) = self.ask_rules(tables)
        {
            return decision;
        }
        self.by_verdict(Verdict::Mark(entry.target()), tables.local())
    }

    #[inline(always)]
    fn by_verdict(&self, verdict: Verdict, local: Local) -> Decision {
        decide(self.header.ds, verdict, local, || self.frame.origin())
    }

    /// Counts the rules that match, and decides if one of them does.
    #[inline(always)]
    fn ask_rules<T: Tables>(&self, tables: &mut T) -> Option<Decision> {
        let flow = flow::flow(self.packet, self.header);
        self.count_limits(flow.reach, tables);
        let traits = self.traits(&flow, tables);
        let found = find(self.packet, self.header, &flow, &traits, tables)?;
        if found.decider == Found::NOBODY {
            self.count_passing(found.passing, tables);
            return None;
        }
        let record = *tables.record(found.decider)?;
        self.count_passing(found.passing & record.passing, tables);
        let local = if record.has(Record::OVERRIDES_LOCAL) { Local::Policy } else { tables.local() };
        let decision = self.by_verdict(verdict(self.header.ds, record.verdict, tables), local);
        if decision != Decision::Protected {
            self.count(record.slot, tables);
            self.hand_over(&record, tables);
        }
        Some(decision)
    }

    /// What rules ask of the packet beside its bytes; what none asks for is not looked at.
    #[inline(always)]
    fn traits<T: Tables>(&self, flow: &Flow, tables: &T) -> Traits {
        let asked = |which| tables.constant(which) != 0;
        Traits {
            local: asked(Constant::Origin) && self.frame.origin() == Origin::Local,
            length: if asked(Constant::Length) { self.frame.length().of_ip(self.packet, self.header, flow) } else { 0 },
            tag: if asked(Constant::Tag) { self.tag(tables.link()) } else { index::NO_TAG },
            mark: if asked(Constant::MarkLow) { self.frame.mark() } else { 0 },
            from: if asked(Constant::From) { self.frame.from() } else { 0 },
        }
    }

    /// The outermost tag: the one beside the packet, else the first in it.
    #[inline(always)]
    fn tag(&self, link: Link) -> u32 {
        /// Destination, source and EtherType: a header that is further from the start has a tag before it.
        const UNTAGGED: usize = 14;
        if let Some(tag) = self.frame.tag() {
            return u32::from(tag);
        }
        if link == Link::Layer3 || self.header.offset <= UNTAGGED {
            return index::NO_TAG;
        }
        self.packet.read::<2>(UNTAGGED).map_or(index::NO_TAG, |tag| u32::from(u16::from_be_bytes(tag)))
    }

    #[inline(always)]
    fn count_limits<T: Tables>(&self, reach: Reach, tables: &mut T) {
        if tables.constant(Constant::Ports) == 0 {
            return;
        }
        let reason = match reach {
            Reach::LaterFragment => Limited::LaterFragment,
            Reach::TooLong => Limited::HeaderChainTooLong,
            Reach::Transport | Reach::Cut => return,
        };
        if let Some(counters) = tables.counters() {
            counters.limited_mut(reason).add(self.weight);
        }
    }

    /// Counts the rules that go on: their bits are the lowest.
    #[inline(always)]
    fn count_passing<T: Tables>(&self, bits: u32, tables: &mut T) {
        let passing = u32::from(tables.constant(Constant::Passing));
        for bit in 0..MAX_PASSING as u32 {
            if bit >= passing {
                break;
            }
            if bits >> bit & 1 != 0
                && let Some(slot) = tables.record(bit).map(|record| record.slot)
            {
                self.count(slot, tables);
            }
        }
    }

    #[inline(always)]
    fn count<T: Tables>(&self, slot: u16, tables: &mut T) {
        let now = tables.now();
        if let Some(counters) = tables.rule_counters(slot) {
            counters.slot_mut(slot).add(self.weight, now);
        }
    }

    #[inline(always)]
    fn hand_over<T: Tables>(&self, record: &Record, tables: &T) {
        if tables.constant(Constant::HandsOver) != 0 {
            self.frame.hand_over(HandOver {
                priority: record.has(Record::PRIORITY).then_some(record.priority),
                mark: record.has(Record::MARK).then_some((record.mark, record.mask)),
            });
        }
    }
}

#[inline(always)]
fn verdict<T: Tables>(ds: DsField, verdict: u8, tables: &T) -> Verdict {
    if verdict == Record::DROP && tables.constant(Constant::Drops) != 0 {
        return Verdict::Drop;
    }
    let to = DsField::new(verdict << 2).dscp();
    Verdict::Mark(if verdict < Record::KEEP { to } else { ds.dscp() })
}
