//! The rules of a hook with what they have counted: a rule keeps its counter while another policy is in force.

use std::collections::{HashMap, HashSet};

use qos_common::{abi::Counter, rules::RuleCounter};

use crate::{
    kernel::{counters, datapath::Hook, jiffies},
    rules::model::Rule,
    snapshot::RuleCount,
};

/// The rules of a hook.
#[derive(Default)]
pub(super) struct Rules {
    /// Those in force, in the order in which they are asked.
    pub in_force: Vec<RuleCount>,
    /// Those that have counted and are not in force.
    pub resting: Vec<(String, Counter)>,
}

/// Those in force.
///
/// # Errors
///
/// That the counters cannot be read.
pub fn rules_of(hook: &Hook) -> anyhow::Result<Vec<RuleCount>> {
    if asked(hook).is_empty() {
        return Ok(Vec::new());
    }
    let counted = counters::rules(&hook.pins)?;
    in_force(hook, &counted, &by_name(hook, &counted))
}

impl Rules {
    /// All of them.
    ///
    /// # Errors
    ///
    /// That the counters of those in force cannot be read.
    pub fn of(hook: &Hook) -> anyhow::Result<Self> {
        let is_counting = !asked(hook).is_empty();
        if !is_counting && hook.state.slots.is_empty() {
            return Ok(Self::default());
        }
        let counted = match counters::rules(&hook.pins) {
            Ok(counted) => counted,
            Err(error) if is_counting => return Err(error),
            Err(_of_no_use) => return Ok(Self::default()),
        };
        let counts = by_name(hook, &counted);
        Ok(Self { in_force: in_force(hook, &counted, &counts)?, resting: resting(hook, &counts) })
    }
}

fn asked(hook: &Hook) -> &[Rule] {
    hook.state.binding.as_ref().map_or(&[][..], |binding| &binding.rules)
}

/// The sums of rules, and their slots.
type ByName<'a> = HashMap<&'a str, (Vec<Counter>, u16)>;

fn by_name<'a>(hook: &'a Hook, counted: &[RuleCounter]) -> ByName<'a> {
    hook.state.slots.counts(counters::of_rule(counted))
}

fn in_force(hook: &Hook, counted: &[RuleCounter], counts: &ByName<'_>) -> anyhow::Result<Vec<RuleCount>> {
    let rules = asked(hook);
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let now = jiffies::now();
    let colored = counters::meters(&hook.pins)?;
    let colors = hook.state.meters.counts(counters::of_meter(&colored));
    let rules = rules.iter().map(|rule| {
        let found = counts.get(rule.name.as_str());
        let sum = |at: usize| found.and_then(|(sums, _)| sums.get(at)).copied().unwrap_or_default();
        let own = sum(0);
        let slot = found.map(|(_, slot)| usize::from(*slot)).filter(|_| own.packets > 0);
        let last = slot.and_then(|slot| counted.get(slot)).map_or(0, |counter| counter.last);
        let meter = rule.meter().and_then(|_| colors.get(rule.name.as_str())?.0.as_slice().try_into().ok());
        RuleCount {
            rule: rule.clone(),
            counted: own,
            since: hook.state.slots.since(&rule.name).filter(|since| *since > hook.state.since),
            last: jiffies::since(last, now),
            suppressed: sum(1).packets,
            colors: rule.meter().map(|_| meter.unwrap_or_default()),
        }
    });
    Ok(rules.collect())
}

fn resting(hook: &Hook, counts: &ByName<'_>) -> Vec<(String, Counter)> {
    let in_force: HashSet<&str> = asked(hook).iter().map(|rule| rule.name.as_str()).collect();
    let resting = counts.iter().filter(|(name, _)| !in_force.contains(**name));
    let resting = resting.filter_map(|(name, (sums, _))| Some(((*name).to_owned(), *sums.first()?)));
    let mut resting: Vec<_> = resting.filter(|(_, counter)| counter.packets > 0).collect();
    // In the same order in each sample, in which one is looked for where it was.
    resting.sort_by(|(one, _), (other, _)| one.cmp(other));
    resting
}
