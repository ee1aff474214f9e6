//! Which MF rules match a packet: one lookup for each field that any rule asks for, then the AND of what they lead to.
//!
//! The cost does not depend on what the rules say. Independent tables are exact because each field is looked up whole: an
//! address walks a trie, byte by byte behind its first two, no deeper than the longest prefix in use.

mod lookup;
mod rows;

use core::borrow::Borrow;

use self::rows::{Few, Many, gather};
use crate::{
    condition::Case,
    ds::Dscp,
    event::Event,
    flow::Flow,
    meter::{Charge, Color, MeterCounters, MeterRecord},
    packet::Packet,
    process::{Frame, Tables},
    rules::{Constant, Page, Record, Row, RuleCounters},
};

/// The rules of a hook: none, unless its program says otherwise.
pub trait Rules {
    /// One of the constants that the program is specialised by.
    fn constant(&self, _constant: Constant) -> u16 {
        0
    }

    /// Gives these values back. In the kernel they are mixed on the way with a number of which the verifier knows nothing,
    /// so that it goes on with one state instead of one for each way on which it came to know them.
    fn settle<const N: usize>(&self, values: [u32; N]) -> [u32; N] {
        values
    }

    /// Gives a value back of which the compiler knows nothing.
    fn opaque(&self, value: u32) -> u32 {
        value
    }

    /// A page of the lookup.
    fn page(&self, _number: u32) -> Option<&Page> {
        None
    }

    /// A row of the lookup.
    fn row(&self, _number: u32) -> Option<&Row> {
        None
    }

    /// What the rule at a bit does. In the kernel it is a reference, of which each field is read where it is needed.
    fn record(&self, _bit: u32) -> Option<impl Borrow<Record> + Copy + use<Self>> {
        None::<Record>
    }

    /// The half of this CPU's counters that has a slot.
    fn rule_counters(&mut self, _slot: u16) -> Option<&mut RuleCounters> {
        None
    }

    /// A meter.
    fn meter(&self, _number: u32) -> Option<&MeterRecord> {
        None
    }

    /// What time it is, in nanoseconds of a clock that goes on.
    fn clock(&self) -> u64 {
        0
    }

    /// Meters a packet that is marked `dscp`, now, with the buckets of the meter's slot, which all CPUs share.
    fn color(&self, _meter: &MeterRecord, _dscp: Dscp, _charge: Charge) -> Option<Color> {
        None
    }

    /// When the rule of a slot would tell of the next packet, at its rate.
    fn next_event(&self, _slot: u16) -> Option<u64> {
        None
    }

    /// Changes that. CPUs that do so at once tell of one packet more.
    fn set_next_event(&mut self, _slot: u16, _next: u64) {}

    /// Lets an event be filled in and gives it to whoever reads them; whether there was room for it.
    fn report(&mut self, _report: &impl Report) -> bool {
        false
    }

    /// This CPU's counters of meters.
    fn meter_counters(&mut self) -> Option<&mut MeterCounters> {
        None
    }
}

/// What fills in an event. No closure: the compiler would make a function of it that the packet is given to in memory, and
/// keep it in memory from the first instruction on, also where nothing is logged.
pub trait Report {
    /// Fills it in.
    fn fill(&self, event: &mut Event);
}

/// What matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The bit of the rule that decides; [`Found::NOBODY`] if none does.
    pub decider: u32,
    /// The bits of the rules that count or log and go on, also of those behind the decider.
    pub passing: u32,
}

impl Found {
    /// No rule decides.
    pub const NOBODY: u32 = u32::MAX;
}

/// What is behind the IP header, as the numbers under which it is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    /// Source port, or what is in its place.
    pub source_port: u32,
    /// Destination port, or none.
    pub destination_port: u32,
    /// Kind of fragment and protocol.
    pub protocol: u32,
    /// The IP length.
    pub length: u32,
}

impl Behind {
    /// Looks at the packet, as far as a rule asks.
    #[inline(always)]
    pub fn of<P, F, T>(case: &Case<'_, P, F>, flow: &Flow, rules: &mut T) -> Self
    where
        P: Packet + ?Sized,
        F: Frame,
        T: Tables,
    {
        let (ports, protocol) = (lookup::ports(case, flow, rules), lookup::protocol(flow, rules));
        let [source_port, destination_port, protocol] = rules.settle([ports.source, ports.destination, protocol]);
        Self { source_port, destination_port, protocol, length: lookup::length(case, flow, rules) }
    }
}

/// Finds the rules that match; `None` if the tables are not whole.
#[inline(always)]
pub fn find<P, F, T>(case: &Case<'_, P, F>, behind: &Behind, rules: &T) -> Option<Found>
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
{
    let passing = (1 << rules.constant(Constant::Passing)) - 1;
    if rules.constant(Constant::Words) == 1 {
        let mut rows = Few::ALL;
        gather(case, behind, rules, &mut rows)?;
        return Some(rows.found(passing));
    }
    let mut rows = Many::new(rules);
    gather(case, behind, rules, &mut rows)?;
    Some(if rules.constant(Constant::Words) == 4 { rows.found::<4>(passing) } else { rows.found::<16>(passing) })
}
