//! The verdict of a rule that meters: that of the packet's color.

use super::Case;
use crate::{
    flow::Flow,
    meter::{Charge, Color, MeterRecord},
    packet::Packet,
    policy::{Local, Origin, Verdict},
    process::{Frame, Tables},
    rules::Constant,
};

/// Bytes of IP packets, without what the link adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpBytes {
    /// Of one segment.
    pub first: u32,
    /// Of all segments.
    pub all: u32,
}

/// What a meter would charge, if the program has any.
///
/// What the header says is believed as far as the bytes are there: else one short packet could empty a bucket.
#[inline(always)]
pub(super) fn charge<P, F, T>(case: &Case<'_, P, F>, flow: &Flow, tables: &T) -> IpBytes
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
{
    if tables.constant(Constant::Meters) == 0 {
        return IpBytes { first: 0, all: 0 };
    }
    let length = case.frame.length();
    let before = case.header.offset as u64 + u64::from(length.stripped);
    let all = case.weight.bytes.saturating_sub(case.weight.packets * before) as u32;
    let first = u32::from(length.of_ip(case.packet, case.header, flow));
    let first = if first < all { first } else { all };
    let [first, all] = tables.settle([first, if length.gso.is_some() { all } else { first }]);
    IpBytes { first, all }
}

/// Meters a packet and counts it by its color; `None` if the tables are not whole. Of this host's packets those that
/// `local` spares are not metered: any verdict that is not theirs already says so.
#[inline(always)]
pub(super) fn verdict<P, F, T>(
    case: &Case<'_, P, F>,
    number: u32,
    local: Local,
    bytes: IpBytes,
    tables: &mut T,
) -> Option<Verdict>
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
{
    let dscp = case.header.ds.dscp();
    if local.keeps(dscp) && case.frame.origin() == Origin::Local {
        return Some(Verdict::DROP);
    }
    let meter = tables.meter(number)?;
    let color = tables.color(meter, dscp, charged(meter, case.weight.packets, bytes))?;
    let (slot, verdict) = (meter.slot, meter.verdict(color));
    count(case.weight.packets, slot, color, bytes, tables);
    Some(verdict)
}

/// The bytes with what the link adds to each packet.
#[inline(always)]
fn charged(meter: &MeterRecord, packets: u64, bytes: IpBytes) -> Charge {
    let with = |bytes: u32, packets: i64| {
        let sum = i64::from(bytes).wrapping_add(packets.wrapping_mul(i64::from(meter.overhead)));
        if sum < 0 { 0 } else { sum as u64 }
    };
    Charge { first: with(bytes.first, 1), all: with(bytes.all, packets as i64) }
}

#[inline(always)]
fn count<T: Tables>(packets: u64, slot: u32, color: Color, bytes: IpBytes, tables: &mut T) {
    if let Some(counters) = tables.meter_counters() {
        counters.of_mut(slot, color).add(packets, u64::from(bytes.all));
    }
}
