//! Who made a change that is in the counters, as far as that can be known: the kernel counts changes by codepoint alone, and
//! goes on with them over all policies.

use qos_common::ds::Dscp;
use serde::{Deserialize, Serialize};

use super::{Counts, EntryLabel, Hook, RuleCount, TableLabel};
use crate::rules::model::Rule;

/// What made a change that nothing in force has made.
pub const BY_ANOTHER: &str = "by an earlier policy";

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The codepoint that came.
    pub from: Dscp,
    /// The one that left; `None`: dropped.
    pub to: Option<Dscp>,
}

/// How many packets of each change had been counted when that came into force which makes such changes now: the codepoint
/// that came, the one that left, packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Earlier(Vec<(u8, Option<u8>, u64)>);

/// One of what is in force at a hook.
#[derive(Clone, Copy, Debug)]
pub enum Maker<'a> {
    /// A rule that was hit.
    Rule(&'a Rule),
    /// The table for outer headers, and the codepoint that it gave.
    Outer(&'a TableLabel, Dscp),
    /// An entry of the table.
    Entry(&'a TableLabel, &'a EntryLabel),
}

/// Who made the packets of a change what they are.
#[derive(Clone, Debug)]
pub struct Made<'a> {
    /// How many there are.
    packets: u64,
    /// How many of them an earlier policy has changed; `None` if that is not known.
    earlier: Option<u64>,
    /// What is in force, and may have changed the others.
    makers: Vec<Maker<'a>>,
}

impl Change {
    /// From one codepoint to another.
    #[must_use]
    pub const fn remark(from: Dscp, to: Dscp) -> Self {
        Self { from, to: Some(to) }
    }

    /// Packets with a codepoint are dropped.
    #[must_use]
    pub const fn drop(from: Dscp) -> Self {
        Self { from, to: None }
    }

    /// Whether a rule may do so.
    #[must_use]
    pub fn may_be_by(self, rule: &Rule) -> bool {
        self.to.map_or_else(|| rule.may_drop(self.from), |to| rule.may_send(self.from, to))
    }
}

impl Earlier {
    /// What is known from now on, `counts`, of what was known `before`: of changes that are made as before the same, and
    /// of the others that all of them are earlier. `None` if nothing is known of one that is made as before.
    #[must_use]
    pub fn next(before: Option<&Self>, counts: &Counts, as_before: impl Fn(Change) -> bool) -> Option<Self> {
        let known = counts.made().map(|(change, packets)| {
            let packets = if as_before(change) { before?.of(change) } else { packets };
            Some((change.from.value(), change.to.map(Dscp::value), packets))
        });
        let known = known.filter(|known| known.is_none_or(|(_, _, packets)| packets > 0));
        known.collect::<Option<_>>().map(Self)
    }

    fn of(&self, change: Change) -> u64 {
        let key = (change.from.value(), change.to.map(Dscp::value));
        self.0.iter().find(|(from, to, _)| (*from, *to) == key).map_or(0, |(_, _, packets)| *packets)
    }
}

impl Counts {
    /// Every change that was counted, in packets.
    fn made(&self) -> impl Iterator<Item = (Change, u64)> + '_ {
        let remarked = self.changes().map(|(from, to, amount)| (Change::remark(from, to), amount.packets));
        let dropped = Dscp::all().map(|from| (Change::drop(from), self.dropped(from).packets));
        remarked.chain(dropped.filter(|(_, packets)| *packets > 0))
    }

    fn packets_of(&self, change: Change) -> u64 {
        let from = change.from.index();
        change.to.map_or(self.sums.dropped[from], |to| self.remarked[from][to.index()]).packets
    }

    /// The same of what was counted after a moment; `self` is all of it.
    pub(super) fn earlier_in(&self, rest: &Self) -> Option<Earlier> {
        let known = self.earlier.as_ref()?;
        let later = self.made().map(|(change, packets)| {
            let cleared = packets.saturating_sub(rest.packets_of(change));
            (change.from.value(), change.to.map(Dscp::value), known.of(change).saturating_sub(cleared))
        });
        Some(Earlier(later.filter(|(_, _, packets)| *packets > 0).collect()))
    }
}

impl Hook {
    /// Who made a change here.
    #[must_use]
    pub fn made(&self, change: Change) -> Made<'_> {
        let Ok(counts) = &self.counts else { return Made { packets: 0, earlier: None, makers: Vec::new() } };
        let makers: Vec<_> = self.makers(counts, change).collect();
        let packets = counts.packets_of(change);
        let known = counts.earlier.as_ref().map(|earlier| earlier.of(change));
        Made { packets, earlier: if makers.is_empty() { Some(packets) } else { known }, makers }
    }

    /// What is in force, was asked for this codepoint, and does so.
    fn makers<'a>(&'a self, counts: &'a Counts, change: Change) -> impl Iterator<Item = Maker<'a>> {
        let may = move |count: &&RuleCount| count.counted.packets > 0 && change.may_be_by(&count.rule);
        let rules = self.rules.iter().filter(may).map(|count| Maker::Rule(&count.rule));
        let outer = change.to.and_then(|to| Some(Maker::Outer(self.outer_that_sends(change.from, to)?, to)));
        let asked = counts.tabled(change.from).packets > 0;
        let entry = self.table.as_ref().filter(|_| asked).and_then(|table| {
            let entry = table.entries.get(change.from.index()).filter(|entry| Some(entry.to) == change.to)?;
            Some(Maker::Entry(table, entry))
        });
        rules.chain(outer).chain(entry)
    }
}

impl Made<'_> {
    /// How many packets an earlier policy has changed, if that is known and any.
    #[must_use]
    pub fn by_earlier(&self) -> Option<u64> {
        self.earlier.filter(|packets| *packets > 0)
    }

    /// In words; `names` says what is in force, `number` how many.
    #[must_use]
    pub fn words(&self, names: impl FnOnce(&[Maker<'_>]) -> String, number: impl FnOnce(u64) -> String) -> String {
        match self.earlier {
            Some(0) => names(&self.makers),
            Some(earlier) if earlier >= self.packets => BY_ANOTHER.to_owned(),
            Some(earlier) => format!("{}, {} of them {BY_ANOTHER}", names(&self.makers), number(earlier)),
            None => format!("{}, or {BY_ANOTHER}", names(&self.makers)),
        }
    }
}

#[cfg(test)]
mod tests {
    use qos_common::abi::Counter;

    use super::*;
    use crate::snapshot::sample;

    const EF_TO_DF: Change = Change::remark(Dscp::EF, Dscp::DF);

    fn said(hook: &Hook, change: Change) -> String {
        let names = |makers: &[Maker<'_>]| format!("{} of what is in force", makers.len());
        hook.made(change).words(names, |packets| packets.to_string())
    }

    /// A hook whose table makes EF DF, and has done so with 13220 packets.
    fn hook() -> Hook {
        sample::snapshot().hooks.swap_remove(1)
    }

    /// The same after a switch at this moment, of which all changes are made as before or none.
    fn switched(mut hook: Hook, as_before: bool) -> Hook {
        let counts = hook.counts.as_mut().unwrap();
        counts.earlier = Earlier::next(counts.earlier.as_ref(), counts, |_| as_before);
        hook
    }

    fn more(hook: &mut Hook, packets: u64) {
        let counts = hook.counts.as_mut().unwrap();
        counts.remarked[46][0].add(Counter { packets, bytes: packets * 100 });
        counts.sums.changed[0][184].add(Counter { packets, bytes: packets * 100 });
    }

    #[test]
    fn what_was_counted_before_a_switch_is_by_an_earlier_policy() {
        assert_eq!(said(&hook(), EF_TO_DF), "1 of what is in force");
        assert_eq!(said(&switched(hook(), true), EF_TO_DF), "1 of what is in force");
        let mut switched = switched(hook(), false);
        assert_eq!(said(&switched, EF_TO_DF), BY_ANOTHER);
        more(&mut switched, 5);
        assert_eq!(said(&switched, EF_TO_DF), "1 of what is in force, 13220 of them by an earlier policy");
    }

    #[test]
    fn what_nothing_in_force_makes_is_by_an_earlier_policy() {
        let to_le = Change::remark(Dscp::EF, Dscp::LE);
        let mut hook = hook();
        hook.counts.as_mut().unwrap().remarked[46][1].packets = 3;
        assert_eq!(said(&hook, to_le), BY_ANOTHER);
        hook.counts.as_mut().unwrap().sums.dropped[46].packets = 3;
        assert_eq!(said(&hook, Change::drop(Dscp::EF)), BY_ANOTHER);
        // A rule before the table may have decided on all of it.
        hook.counts.as_mut().unwrap().sums.ruled[46].packets = u64::MAX;
        assert_eq!(said(&hook, EF_TO_DF), BY_ANOTHER);
    }

    #[test]
    fn where_it_is_not_known_nobody_says_so() {
        let mut hook = hook();
        hook.counts.as_mut().unwrap().earlier = None;
        assert_eq!(said(&hook, EF_TO_DF), "1 of what is in force, or by an earlier policy");
        assert_eq!(said(&switched(hook.clone(), true), EF_TO_DF), "1 of what is in force, or by an earlier policy");
        assert_eq!(said(&switched(hook, false), EF_TO_DF), BY_ANOTHER);
    }

    #[test]
    fn what_was_cleared_is_taken_from_what_is_earlier_first() {
        let mut cleared = hook();
        let then = cleared.counts.as_ref().unwrap().cells();
        more(&mut cleared, 7);
        let mut now = switched(cleared, false);
        more(&mut now, 2);
        let rest = now.counts.as_ref().unwrap().less(&then).unwrap();
        let shown = Hook { counts: Ok(rest), ..now };
        assert_eq!(said(&shown, EF_TO_DF), "1 of what is in force, 7 of them by an earlier policy");
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let earlier = switched(hook(), false).counts.unwrap().earlier.unwrap();
        let text = serde_json::to_string(&earlier).unwrap();
        assert_eq!(text, "[[34,36,12112],[46,0,13220]]");
        assert_eq!(serde_json::from_str::<Earlier>(&text).unwrap(), earlier);
    }
}
