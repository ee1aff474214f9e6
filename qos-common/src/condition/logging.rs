//! Rules that log: which of them may, and what is told.

use super::Case;
use crate::{
    classify::Report,
    ds::DsField,
    event::{CAPTURED, Event},
    packet::Packet,
    policy::Decision,
    process::{Frame, Tables},
    rules::{Constant, Record},
};

/// How many bytes of a packet are read at once.
const STEP: usize = 8;

/// The counter of the rule that tells of a packet: the first of those that match, log and may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Teller(u32);

impl Teller {
    /// Nobody tells of it.
    pub(super) const NOBODY: Self = Self(u32::MAX);

    /// The same, or the rule of `record` if nobody did so far, it logs, and its rate allows it.
    #[inline(always)]
    pub(super) fn or<T: Tables>(self, record: &Record, tables: &mut T) -> Self {
        if tables.constant(Constant::Logs) == 0 {
            return self;
        }
        let slot = if self == Self::NOBODY && may_log(record, tables) { u32::from(record.slot) } else { self.0 };
        let [slot] = tables.settle([slot]);
        Self(slot)
    }
}

/// Whether the rate of a rule allows one more event (GCRA, ITU-T I.371): `next` is when the event after the last one would
/// come at that rate, and it may come earlier by as much as makes the events of one interval a burst. Further ahead it can
/// only be by a slower rate that the rule had before, which says nothing of this one.
#[inline(always)]
fn may_log<T: Tables>(record: &Record, tables: &mut T) -> bool {
    if record.log_every == 0 {
        return false;
    }
    let now = tables.clock();
    let Some(next) = tables.next_event(record.slot) else { return false };
    let furthest = now.wrapping_add(record.log_burst).wrapping_add(record.log_every);
    let next = if next > now && next <= furthest { next } else { now };
    if next - now > record.log_burst {
        suppress(u32::from(record.slot), tables);
        return false;
    }
    tables.set_next_event(record.slot, next.wrapping_add(record.log_every));
    true
}

#[inline(always)]
fn suppress<T: Tables>(slot: u32, tables: &mut T) {
    if let Some(counters) = tables.rule_counters(slot as u16) {
        counters.slot_mut(slot as u16).suppressed += 1;
    }
}

/// Tells of a packet of which this was decided; what finds no room is counted as suppressed.
#[inline(always)]
pub(super) fn tell<P, F, T>(case: &Case<'_, P, F>, teller: Teller, decision: Decision, tables: &mut T)
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
{
    if tables.constant(Constant::Logs) == 0 || teller == Teller::NOBODY {
        return;
    }
    let time = tables.clock();
    if !tables.report(&Told { case, teller, decision, time }) {
        suppress(teller.0, tables);
    }
}

/// What is told of a packet.
struct Told<'a, P: ?Sized, F> {
    case: &'a Case<'a, P, F>,
    teller: Teller,
    decision: Decision,
    time: u64,
}

impl<P: Packet + ?Sized, F: Frame> Report for Told<'_, P, F> {
    #[inline(always)]
    fn fill(&self, event: &mut Event) {
        let ds = self.case.header.ds;
        event.time = self.time;
        event.bytes = self.case.weight.bytes as u32;
        event.slot = self.teller.0 as u16;
        event.before = ds.bits();
        event.after = after(ds, self.decision).bits();
        event.family = self.case.header.family as u8;
        event.dropped = u8::from(self.decision == Decision::Drop);
        copy_headers(self.case, event);
    }
}

#[inline(always)]
const fn after(ds: DsField, decision: Decision) -> DsField {
    match decision {
        Decision::Remark(dscp) => ds.with_dscp(dscp),
        Decision::Keep | Decision::Protected | Decision::Drop => ds,
    }
}

#[inline(always)]
fn copy_headers<P: Packet + ?Sized, F>(case: &Case<'_, P, F>, event: &mut Event) {
    for at in 0..CAPTURED / STEP {
        let Some(bytes) = case.packet.read::<STEP>(case.header.offset + at * STEP) else { break };
        event.headers[at * STEP..(at + 1) * STEP].copy_from_slice(&bytes);
        event.captured = ((at + 1) * STEP) as u8;
    }
}
