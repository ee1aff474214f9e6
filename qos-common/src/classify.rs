//! Which MF rules match a packet: one lookup for each field that any rule asks for, then the AND of what they lead to.
//!
//! The cost does not depend on what the rules say. Independent tables are exact because each field is looked up whole: an
//! address walks a trie, byte by byte behind its first two, no deeper than the longest prefix in use.

mod lookup;
mod rows;

use self::rows::Rows;
use crate::{
    condition::Case,
    flow::Flow,
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

    /// A page of the lookup.
    fn page(&self, _number: u32) -> Option<&Page> {
        None
    }

    /// A row of the lookup.
    fn row(&self, _number: u32) -> Option<&Row> {
        None
    }

    /// What the rule at a bit does.
    fn record(&self, _bit: u32) -> Option<&Record> {
        None
    }

    /// The half of this CPU's counters that has a slot.
    fn rule_counters(&mut self, _slot: u16) -> Option<&mut RuleCounters> {
        None
    }
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

/// Finds the rules that match; `None` if the tables are not whole.
#[inline(always)]
pub fn find<P, F, T>(case: &Case<'_, P, F>, flow: &Flow, rules: &T) -> Option<Found>
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
{
    let rows = Rows::of(case, flow, rules)?;
    let passing = (1 << rules.constant(Constant::Passing)) - 1;
    let decider = match rules.constant(Constant::Words) {
        1 => rows.first_of_few::<1>(passing),
        4 => rows.first_of_few::<4>(passing),
        _ => rows.first_of_many(passing),
    };
    let passing = if passing == 0 { 0 } else { (rows.word(0) & passing) as u32 };
    Some(Found { decider, passing })
}
