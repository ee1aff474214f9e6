//! How many rules one hook may have.

use std::collections::{HashMap, HashSet};

use qos_common::{meter::MAX_METERS, rules::MAX_PASSING};

use crate::{
    hook::Direction,
    policy::{
        diagnostic::{Finding, Findings, quote},
        rules::Written,
    },
};

pub use qos_common::rules::MAX_RULES;

/// The most rules of one hook that do not decide: each that matches is counted, and costs the packet a lookup.
pub const MAX_COUNT_RULES: usize = MAX_PASSING;

/// A pattern for interfaces, and a direction.
type Hook<'a> = (&'a str, Direction);

/// Reports the first hook that has too many rules, by the rule that is one too many.
pub(super) fn check(rules: &[Written], findings: &mut Findings) {
    if let Some((hook, rule)) = overfull(rules, |_| true, MAX_RULES) {
        let title = format!("more than {MAX_RULES} rules at {}", shown(hook));
        findings.error(Finding::error(rule.span, title).label("this is one too many"));
    }
    if let Some((hook, rule)) = overfull(rules, |rule| rule.rule.meter().is_some(), MAX_METERS) {
        let title = format!("more than {MAX_METERS} rules that meter at {}", shown(hook));
        findings.error(Finding::error(rule.span, title).label("this is one too many"));
    }
    if let Some((hook, rule)) = overfull(rules, |rule| !rule.rule.decides(), MAX_COUNT_RULES) {
        let title = format!("more than {MAX_COUNT_RULES} rules that only count or log at {}", shown(hook));
        let finding = Finding::error(rule.span, title).label("this is one too many");
        findings.error(finding.help("every rule that decides is counted without `count`"));
    }
}

fn shown((pattern, direction): Hook<'_>) -> String {
    quote(&format!("{pattern}:{direction}"))
}

fn overfull<'r>(
    rules: &'r [Written],
    wanted: impl Fn(&Written) -> bool,
    most: usize,
) -> Option<(Hook<'r>, &'r Written)> {
    let mut at: HashMap<Hook<'r>, Vec<usize>> = HashMap::new();
    for (index, written) in rules.iter().enumerate().filter(|(_, written)| wanted(written)) {
        for hook in hooks(written) {
            at.entry(hook).or_default().push(index);
        }
    }
    let full = at.keys().filter_map(|hook| Some((*hook, nth_rule(&at, *hook, most)?)));
    // The first in the file, whatever the order of the map.
    let (hook, index) = full.min_by_key(|((pattern, direction), index)| (*index, *pattern, *direction))?;
    Some((hook, &rules[index]))
}

fn hooks(written: &Written) -> impl Iterator<Item = Hook<'_>> {
    written.rule.on.iter().flat_map(|place| {
        let directions = Direction::BOTH.into_iter().filter(|asked| place.direction.is_none_or(|only| only == *asked));
        directions.map(|direction| (&*place.pattern, direction))
    })
}

/// The rule after the first `most` of a hook, where a hook of a pattern has the rules of every wider pattern too.
fn nth_rule(at: &HashMap<Hook<'_>, Vec<usize>>, (pattern, direction): Hook<'_>, most: usize) -> Option<usize> {
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    let beginnings = (0..=name.len()).filter_map(|end| name.get(..end).filter(|_| pattern != "lo"));
    let globs = beginnings.map(|beginning| format!("{beginning}*"));
    let wider = globs.chain([pattern.to_owned()]).collect::<HashSet<_>>();
    let lists = wider.iter().filter_map(|wider| at.get(&(&**wider, direction)));
    let mut rules = lists.flatten().copied().collect::<Vec<_>>();
    if rules.len() <= most {
        return None;
    }
    rules.sort_unstable();
    rules.dedup();
    rules.get(most).copied()
}
