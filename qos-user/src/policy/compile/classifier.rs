//! MF rules of one hook to the tables in which its program looks packets up. Pure, and the same rules give the same bytes.

use qos_common::{
    meter::MAX_METERS,
    policy::Verdict,
    rules::{Constant, MAX_PASSING, MAX_RULES, Plan, RULE_SLOTS, Record},
};
use thiserror::Error;

use super::{cover, demand::Demand, fields::Fields, meters, store::Store};
use crate::{
    policy::model::{self, Action, LogRate, Rule},
    rules::RuleTables,
};

/// Why rules cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum Refusal {
    #[error("{0} rules at one hook: at most {MAX_RULES}")]
    TooMany(usize),
    #[error("{0} rules at one hook that count or log and go on: at most {MAX_PASSING}")]
    TooManyPassing(usize),
    #[error("rule \"{0}\" asks for a field twice in the same form")]
    Twice(String),
    #[error("{0} rules at one hook that meter: at most {MAX_METERS}")]
    TooManyMeters(usize),
    #[error("the prefixes of the rules need more than 32,767 tables: name fewer, or shorter ones")]
    Pages,
    #[error("the rules make more than 32,767 different sets of rules")]
    Rows,
    #[error("rule \"{0}\" has no counter")]
    Slot(String),
}

/// What is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The rules of one hook, in the order in which they are asked.
    pub rules: &'a [&'a Rule],
    /// The counter of each.
    pub slots: &'a [u16],
    /// The buckets and counters of the meter of each, below `METER_SLOTS`; not looked at for those without one.
    pub meter_slots: &'a [u16],
    /// The interfaces of the network namespace, for `from`: number and name.
    pub interfaces: &'a [(u32, String)],
}

/// The rules of a hook as its program has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// What the program of the hook has.
    pub tables: RuleTables,
    /// For each bit, which rule it is.
    pub order: Vec<usize>,
    /// What is hardly meant.
    pub idle: Vec<Idle>,
}

/// A rule that never has a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// No packet can match it.
    Impossible(usize),
    /// Every packet that it matches is decided by an earlier rule.
    Shadowed {
        /// The rule.
        rule: usize,
        /// The earlier one.
        by: usize,
    },
}

/// Compiles the rules of a hook.
///
/// # Errors
///
/// What does not fit.
pub fn compile(input: &Input<'_>) -> Result<Compiled, Refusal> {
    let order = order(input.rules)?;
    let in_order = || order.iter().map(|rule| input.rules[*rule]);
    let demands: Vec<Demand<'_>> = in_order().map(Demand::of).collect::<Result<_, _>>()?;
    let mut fields = Fields {
        demands: &demands,
        interfaces: input.interfaces,
        store: Store::new(),
        plan: Plan::NONE,
        dimensions: Vec::new(),
    };
    fields.build()?;
    let Fields { store, mut plan, dimensions, .. } = fields;
    let meters = meters::compile(input, &order)?;
    let mut records: Vec<Record> = order.iter().map(|rule| record(input, *rule)).collect::<Result<_, _>>()?;
    meters::number(&mut records);
    constants(&mut plan, &in_order().collect::<Vec<_>>(), &demands);
    let impossible = |bit: usize| cover::is_impossible(bit, &demands[bit], &dimensions);
    let possible = |bit: &usize| !impossible(*bit);
    let asked = (0..order.len()).filter(possible).fold(0, |asked, bit| asked | demands[bit].dscps);
    let mut idle: Vec<Idle> = (0..order.len())
        .filter_map(|bit| match impossible(bit) {
            true => Some(Idle::Impossible(order[bit])),
            false => {
                cover::shadow(bit, &order, input.rules, &dimensions).map(|by| Idle::Shadowed { rule: order[bit], by })
            }
        })
        .collect();
    idle.sort_by_key(Idle::rule);
    let mut verdicts = input.rules.iter().flat_map(|rule| meters::verdicts(&rule.action));
    let remarks = verdicts.any(|verdict| matches!(verdict, model::Verdict::Set(_)));
    let (pages, rows) = store.finish();
    Ok(Compiled { tables: RuleTables { plan, asked, remarks, pages, rows, records, meters }, order, idle })
}

impl Idle {
    /// The rule that has no packet.
    #[must_use]
    pub const fn rule(&self) -> usize {
        match self {
            Self::Impossible(rule) | Self::Shadowed { rule, .. } => *rule,
        }
    }
}

/// Which rule each bit is: first those that go on, then those that decide, each in the order of the file.
fn order(rules: &[&Rule]) -> Result<Vec<usize>, Refusal> {
    if rules.len() > MAX_RULES {
        return Err(Refusal::TooMany(rules.len()));
    }
    let (deciding, mut order): (Vec<usize>, Vec<usize>) = (0..rules.len()).partition(|rule| rules[*rule].decides());
    if order.len() > MAX_PASSING {
        return Err(Refusal::TooManyPassing(order.len()));
    }
    order.extend(deciding);
    Ok(order)
}

fn record(input: &Input<'_>, index: usize) -> Result<Record, Refusal> {
    let rule = input.rules[index];
    let slot = input.slots.get(index).filter(|slot| usize::from(**slot) < RULE_SLOTS);
    let verdict = match &rule.action {
        Action::None | Action::Set(None) => Verdict::KEEP,
        Action::Set(Some(dscp)) => Verdict::mark(*dscp),
        Action::Drop => Verdict::DROP,
        // That of its color.
        Action::Meter(_) => Verdict::KEEP,
    };
    let flags = [
        (rule.overrides_local(), Record::OVERRIDES_LOCAL),
        (rule.priority.is_some(), Record::PRIORITY),
        (rule.mark.is_some(), Record::MARK),
        (rule.meter().is_some(), Record::METERS),
    ];
    let before = input.rules[..index].iter().filter(|rule| !rule.decides()).count();
    Ok(Record {
        verdict: verdict.bits(),
        flags: flags.iter().filter(|(set, _)| *set).fold(0, |flags, (_, flag)| flags | flag),
        slot: *slot.ok_or_else(|| Refusal::Slot(rule.name.clone()))?,
        passing: (1 << before) - 1,
        priority: rule.priority.unwrap_or(0),
        mark: rule.mark.map_or(0, |mark| mark.value & mark.mask),
        mask: rule.mark.map_or(0, |mark| mark.mask),
        meter: 0,
        log_every: rule.log.map_or(0, every),
        log_burst: rule.log.map_or(0, |rate| every(rate) * u64::from(rate.events.get() - 1)),
    })
}

/// Nanoseconds from one event to the next.
const fn every(rate: LogRate) -> u64 {
    rate.seconds as u64 * 1_000_000_000 / rate.events.get() as u64
}

/// What the program has to have for these rules beside the tables of their fields.
fn constants(plan: &mut Plan, rules: &[&Rule], demands: &[Demand<'_>]) {
    let any = |holds: fn(&Rule) -> bool| u16::from(rules.iter().any(|rule| holds(rule)));
    let words = match rules.len() {
        0 => 0,
        1..=64 => 1,
        65..=256 => 4,
        _ => 16,
    };
    plan.set(Constant::Words, words);
    plan.set(Constant::Passing, rules.iter().filter(|rule| !rule.decides()).count() as u16);
    plan.set(Constant::Drops, any(|rule| meters::verdicts(&rule.action).contains(&model::Verdict::Drop)));
    plan.set(Constant::Logs, any(|rule| rule.log.is_some()));
    plan.set(Constant::Meters, any(|rule| rule.meter().is_some()));
    plan.set(Constant::HandsOver, any(|rule| rule.priority.is_some() || rule.mark.is_some()));
    let fragments = demands.iter().any(|demand| demand.fragments != [true; 3]);
    plan.set(Constant::Fragments, u16::from(fragments));
    plan.set(Constant::Ports, u16::from(demands.iter().any(Demand::needs_ports)));
    plan.conclude();
}
