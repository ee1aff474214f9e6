//! Which rows the documents have of a hook: what was counted, and what the policy names, also at zero. Whoever reads rates from
//! two documents never sees the step from no row to the first packet.

use qos_common::{
    abi::Counter,
    ds::{DsField, Dscp},
};

use super::{
    Counts, Hook, PolicyLabel,
    named::{asked_for, named},
};

/// The families in the order in which they are counted.
pub const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

/// The rows of one hook.
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    counts: &'a Counts,
    named: Vec<Dscp>,
    changes: Box<Changes>,
    /// What rules may drop, a bit each.
    drops: u64,
}

/// By the codepoint that comes: those that the policy may make of it, a bit each.
type Changes = [u64; Dscp::COUNT];

impl<'a> Listed<'a> {
    /// Those of a hook with these counters.
    #[must_use]
    pub fn of(policy: Option<&PolicyLabel>, hook: &Hook, counts: &'a Counts) -> Self {
        // A rule without a condition on codepoints may get all 64: listed are those that the policy expects, and DF, which is
        // what comes unmarked.
        let mut expected = asked_for(policy, hook);
        expected.push(Dscp::DF);
        let drops = |dscp: &&Dscp| hook.rules.iter().any(|count| count.rule.may_drop(**dscp));
        let drops = expected.iter().filter(drops).fold(0, |all, dscp| all | bit(*dscp));
        Self { counts, named: named(policy, hook), changes: changes(hook, &expected), drops }
    }

    /// As it came: family, DS byte. A policy names codepoints; their rows at zero are those without ECN.
    #[must_use]
    pub fn before(&self) -> Vec<(usize, DsField, Counter)> {
        let is_named = |ds: DsField| ds.bits() & 3 == 0 && self.named.contains(&ds.dscp());
        let families = self.counts.sums.before();
        let rows = families.iter().enumerate().flat_map(|(family, bytes)| {
            let bytes = (0..=u8::MAX).map(DsField::new).zip(bytes);
            bytes.map(move |(ds, amount)| (family, ds, *amount))
        });
        rows.filter(|(_, ds, amount)| amount.packets > 0 || is_named(*ds)).collect()
    }

    /// As it left.
    pub fn after(&self) -> impl Iterator<Item = (Dscp, Counter)> + '_ {
        let rows = Dscp::all().map(|dscp| (dscp, self.counts.after(dscp)));
        rows.filter(|(dscp, after)| {
            after.packets > 0 || self.named.contains(dscp) || self.counts.before(*dscp).packets > 0
        })
    }

    /// From one codepoint to another.
    pub fn remarked(&self) -> impl Iterator<Item = (Dscp, Dscp, Counter)> + '_ {
        let pairs = Dscp::all().flat_map(|from| Dscp::all().map(move |to| (from, to)));
        pairs
            .map(|(from, to)| (from, to, self.counts.remarked[from.index()][to.index()]))
            .filter(|(from, to, amount)| amount.packets > 0 || self.changes[from.index()] & bit(*to) != 0)
    }

    /// What was dropped.
    pub fn dropped(&self) -> impl Iterator<Item = (Dscp, Counter)> + '_ {
        let rows = Dscp::all().map(|dscp| (dscp, self.counts.dropped(dscp)));
        rows.filter(|(dscp, amount)| amount.packets > 0 || self.drops & bit(*dscp) != 0)
    }
}

/// What a hook may make of these codepoints.
fn changes(hook: &Hook, expected: &[Dscp]) -> Box<Changes> {
    let mut changes = Box::new([0; Dscp::COUNT]);
    for from in expected {
        let by_rules = hook.rules.iter().filter(|count| count.rule.may_have(*from)).flat_map(|count| count.rule.sets());
        let by_table = hook.table.iter().filter_map(|table| Some(table.entries.get(from.index())?.to));
        changes[from.index()] |= by_rules.chain(by_table).fold(0, |all, to| all | bit(to));
        // It is asked with the codepoint inside; the outer mark is the same, or none has been set.
        for entry in hook.outer.iter().filter_map(|table| table.entries.get(from.index())) {
            changes[from.index()] |= bit(entry.to);
            changes[Dscp::DF.index()] |= bit(entry.to);
        }
    }
    for dscp in Dscp::all() {
        changes[dscp.index()] &= !bit(dscp);
    }
    changes
}

const fn bit(dscp: Dscp) -> u64 {
    1 << dscp.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::model::{Action, Condition, Field, Meter, MeterKind, Rule, Verdict},
        snapshot::{RuleCount, sample},
    };

    fn rule(asks_for: &[&str], action: Action) -> RuleCount {
        let bits = asks_for.iter().fold(0, |all, word| all | bit(sample::dscp(word)));
        let condition = Condition { field: Field::Dscp(bits), negated: false };
        let conditions = if asks_for.is_empty() { Vec::new() } else { vec![condition] };
        let count = sample::rule("one", Counter::default());
        RuleCount { rule: Rule { conditions, action, ..count.rule }, ..count }
    }

    /// A hook that has counted nothing, by a policy of these rules alone.
    fn listed(rules: Vec<RuleCount>, list: impl Fn(&Listed<'_>) -> Vec<String>) -> Vec<String> {
        let mut hook = sample::snapshot().hooks.swap_remove(0);
        (hook.counts, hook.rules) = (Ok(Counts::zero()), rules);
        list(&Listed::of(None, &hook, hook.counts.as_ref().unwrap()))
    }

    fn remarked(rules: Vec<RuleCount>) -> Vec<String> {
        listed(rules, |listed| listed.remarked().map(|(from, to, _)| format!("{from} -> {to}")).collect())
    }

    fn dropped(rules: Vec<RuleCount>) -> Vec<String> {
        listed(rules, |listed| listed.dropped().map(|(dscp, _)| dscp.to_string()).collect())
    }

    fn set(word: &str) -> Action {
        Action::Set(Some(sample::dscp(word)))
    }

    fn meter() -> Action {
        Action::Meter(Meter {
            kind: MeterKind::SrTcm { cir: 1, cbs: 1, ebs: 1 },
            aware: None,
            overhead: 0,
            green: Verdict::Keep,
            yellow: Verdict::Set(sample::dscp("AF32")),
            red: Verdict::Drop,
        })
    }

    #[test]
    fn what_a_rule_only_asks_for_is_named() {
        let of_it = || vec![rule(&["CS3"], Action::None)];
        assert_eq!(
            listed(of_it(), |listed| listed
                .before()
                .into_iter()
                .map(|(family, ds, _)| format!("{} {}", FAMILIES[family], ds.bits()))
                .collect()),
            ["ipv4 96", "ipv6 96"]
        );
        assert_eq!(listed(of_it(), |listed| listed.after().map(|(dscp, _)| dscp.to_string()).collect()), ["CS3"]);
        assert!(remarked(of_it()).is_empty() && dropped(of_it()).is_empty());
    }

    #[test]
    fn what_rules_and_meters_do_is_listed_before_they_do_it() {
        assert_eq!(dropped(vec![rule(&["CS3"], Action::Drop)]), ["CS3"]);
        assert_eq!(remarked(vec![rule(&["EF"], set("DF")), rule(&["CS2"], set("CS1"))]), ["CS2 -> CS1", "EF -> DF"]);
        let metered = || vec![rule(&["AF31", "AF32"], meter())];
        assert_eq!(
            (remarked(metered()), dropped(metered())),
            (vec!["AF31 -> AF32".into()], vec!["AF31".into(), "AF32".into()])
        );
    }

    #[test]
    fn of_a_rule_for_all_codepoints_those_that_the_policy_asks_for_are_listed() {
        let rules = || vec![rule(&[], set("AF21")), rule(&["EF"], Action::None), rule(&["CS3"], set("CS5"))];
        assert_eq!(remarked(rules()), ["DF -> AF21", "CS3 -> AF21", "CS3 -> CS5", "EF -> AF21"]);
        assert_eq!(dropped(vec![rule(&[], Action::Drop)]), ["DF"]);
    }

    #[test]
    fn a_table_for_outer_headers_may_find_them_marked_as_inside_or_not_at_all() {
        let mut hook = sample::snapshot().hooks.swap_remove(1);
        hook.outer = hook.table.take();
        let counts = Counts::zero();
        let all = Listed::of(None, &hook, &counts);
        let all: Vec<_> = all.remarked().map(|(from, to, _)| format!("{from} -> {to}")).collect();
        for pair in ["EF -> DF", "AF41 -> AF42", "DF -> AF42", "DF -> VA"] {
            assert!(all.iter().any(|found| found == pair), "{pair}: {all:?}");
        }
    }
}
