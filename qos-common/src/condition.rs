//! The conditioner (RFC 2475): asks the rules, then the table, and says what becomes of a packet.

mod logging;
mod metering;

use core::borrow::Borrow as _;

use self::logging::Teller;
use crate::{
    abi::{Counter, Limited},
    classify::{Behind, Found, find},
    ds::Dscp,
    flow::{self, Flow, Reach},
    locate::Header,
    packet::Packet,
    policy::{Decision, Entry, Local, Origin, Verdict, Wanted},
    process::{Constants as _, Frame, Tables},
    rules::{Constant, MAX_PASSING, Record},
    tunnel,
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
    /// The jiffy at which it came.
    pub now: u64,
}

impl<P: Packet + ?Sized, F: Frame> Case<'_, P, F> {
    /// What becomes of the packet: by the first rule that decides, else by what is inside of it, where that is asked, else
    /// by its codepoint's entry in the table; and whether it was not the table.
    #[inline(always)]
    pub fn decision<T: Tables>(&self, entry: Entry, tables: &mut T) -> (Decision, bool) {
        let mut teller = Teller::NOBODY;
        let constants = tables.constants();
        let by_table = Wanted { verdict: Verdict::mark(entry.target()), local: constants.local() };
        // No option: what is in one that is none has no value, and verifiers up to Linux 6.1 refuse to read such.
        let (wanted, decided) = if constants.marks_outer() {
            self.by_rules_or_inside(entry, by_table, &mut teller, tables)
        } else {
            self.ask_rules(by_table, &mut teller, tables)
        };
        let decision = self.decide(wanted);
        logging::tell(self, teller, decision, tables);
        (decision, decided)
    }

    /// What becomes of it, if this is wanted.
    #[inline(always)]
    fn decide(&self, wanted: Wanted) -> Decision {
        wanted.decide(self.header.ds, || self.frame.origin())
    }

    /// Rules come first: they see all of the outer header, and may say `keep`.
    #[inline(always)]
    fn by_rules_or_inside<T: Tables>(
        &self,
        entry: Entry,
        by_table: Wanted,
        teller: &mut Teller,
        tables: &mut T,
    ) -> (Wanted, bool) {
        if tables.constants().has_rules() && entry.asks_rules() {
            let by_rule = self.ask_rules(by_table, teller, tables);
            if by_rule.1 {
                return by_rule;
            }
        }
        self.by_inside(by_table, tables)
    }

    /// What the packet inside makes of the outer header; of such a packet the table is not asked. The policy speaks of this
    /// host's own packets there, so `local` spares none.
    #[inline(always)]
    fn by_inside<T: Tables>(&self, by_table: Wanted, tables: &mut T) -> (Wanted, bool) {
        const NONE: u32 = Dscp::COUNT as u32;
        if self.frame.origin() != Origin::Local {
            return (by_table, false);
        }
        let found = tunnel::inner(self.packet, self.header).map_or(NONE, |dscp| dscp.value().into());
        // Found in many ways, of which the verifier would go on with each.
        let [found] = tables.settle([found]);
        let Some(inner) = Dscp::new(found as u8) else { return (by_table, false) };
        (Wanted { verdict: Verdict::mark(tables.constants().outer(inner)), local: Local::Policy }, true)
    }

    /// Counts the rules that match, and decides if one of them does.
    #[inline(always)]
    fn ask_rules<T: Tables>(&self, by_table: Wanted, teller: &mut Teller, tables: &mut T) -> (Wanted, bool) {
        let flow = self.flow(tables);
        self.count_limits(&flow, tables);
        let charge = metering::charge(self, &flow, tables);
        let behind = Behind::of(self, &flow, tables);
        let Some(found) = find(self, &behind, tables) else { return (by_table, false) };
        let [decider] = tables.settle([found.decider]);
        let [passing] = if tables.constant(Constant::Passing) == 0 { [0] } else { tables.settle([found.passing]) };
        let found = Found { decider, passing };
        if found.decider == Found::NOBODY {
            *teller = self.count_passing(found.passing, tables);
            return (by_table, false);
        }
        let Some(record) = tables.record(found.decider) else { return (by_table, false) };
        let record: &Record = record.borrow();
        *teller = self.count_passing(found.passing & record.passing, tables);
        let local = if record.has(Record::OVERRIDES_LOCAL) { Local::Policy } else { tables.constants().local() };
        let verdict = match record.has(Record::METERS) && tables.constant(Constant::Meters) != 0 {
            true => match metering::verdict(self, record.meter, local, charge, tables) {
                Some(verdict) => verdict,
                None => return (by_table, false),
            },
            false => possible(Verdict::new(record.verdict), tables),
        };
        let [verdict] = tables.settle([verdict.bits().into()]);
        let wanted = Wanted { verdict: Verdict::new(verdict as u8), local };
        if self.decide(wanted) != Decision::Protected {
            self.count(record.slot, tables);
            self.hand_over(record, tables);
            *teller = teller.or(record, tables);
        }
        (wanted, true)
    }

    /// What is behind the IP header, if a rule asks for it. Lengths are asked only of a super-packet: those of others are in
    /// the IP header itself.
    #[inline(always)]
    fn flow<T: Tables>(&self, tables: &T) -> Flow {
        let asked = |which| tables.constant(which) != 0;
        let is_super = F::MAY_BE_SUPER && self.frame.length().gso.is_some();
        if asked(Constant::Transport) || is_super && (asked(Constant::Length) || asked(Constant::Meters)) {
            flow::flow(self.packet, self.header)
        } else {
            Flow::UNSEEN
        }
    }

    #[inline(always)]
    fn count_limits<T: Tables>(&self, flow: &Flow, tables: &mut T) {
        if tables.constant(Constant::Ports) == 0 {
            return;
        }
        let reason = match flow.reach {
            Reach::LaterFragment => Limited::LaterFragment,
            Reach::TooLong => Limited::HeaderChainTooLong,
            Reach::Cut => return self.count_hidden(flow, tables),
            Reach::Transport => return,
        };
        self.count_limit(reason, tables);
    }

    #[inline(always)]
    fn count_limit<T: Tables>(&self, reason: Limited, tables: &mut T) {
        if let Some(counters) = tables.counters() {
            counters.limited_mut(reason).add(self.weight);
        }
    }

    /// Counts a packet whose transport header is in it, but behind what the hook sees of it.
    #[inline(always)]
    pub(crate) fn count_hidden<T: Tables>(&self, flow: &Flow, tables: &mut T) {
        const PORTS: usize = 4;
        if self.frame.length().bytes as usize >= flow.offset + PORTS {
            self.count_limit(Limited::HeaderChainTooLong, tables);
        }
    }

    /// Counts the rules that go on, of which one may tell of the packet: their bits are the lowest.
    #[inline(always)]
    fn count_passing<T: Tables>(&self, bits: u32, tables: &mut T) -> Teller {
        let mut teller = Teller::NOBODY;
        let passing = u32::from(tables.constant(Constant::Passing));
        if passing == 0 {
            return teller;
        }
        for bit in 0..MAX_PASSING as u32 {
            if bit >= passing {
                break;
            }
            if bits >> bit & 1 != 0
                && let Some(record) = tables.record(bit)
            {
                let record: &Record = record.borrow();
                self.count(record.slot, tables);
                teller = teller.or(record, tables);
            }
        }
        teller
    }

    #[inline(always)]
    fn count<T: Tables>(&self, slot: u16, tables: &mut T) {
        if let Some(counters) = tables.rule_counters(slot) {
            counters.slot_mut(slot).add(self.weight, self.now);
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

/// Where no rule drops, the program has no code for it.
#[inline(always)]
fn possible<T: Tables>(verdict: Verdict, tables: &T) -> Verdict {
    if verdict == Verdict::DROP && tables.constant(Constant::Drops) == 0 { Verdict::KEEP } else { verdict }
}
