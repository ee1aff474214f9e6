//! Which counters of a hook belong to which rule. A rule is its name: its counters follow it through every policy.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use qos_common::abi::Counter;
use serde::{Deserialize, Serialize};

/// The counters that a hook has given to rules; those that were named the longest ago come first.
///
/// A rule that a policy leaves out keeps its counter, until another rule needs it. The program that still runs counts in
/// those of its own rules: they are given to nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slots(Vec<Slot>);

/// Who wants a counter: a rule, and what else has to be the same for it to go on with the one that it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wants {
    /// The rule's name.
    pub rule: String,
    /// The numbers of its meter; empty for the rule itself.
    pub numbers: String,
}

/// The counters of one number in a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    rule: String,
    numbers: String,
    slot: u16,
    /// Packets and bytes that another rule has counted there before, counter by counter.
    base: Vec<[u64; 2]>,
    /// What the rule has counted elsewhere before.
    carried: Vec<[u64; 2]>,
    /// Since when it has this one, in seconds since 1970, if that is later than the hook; 0: as long as the hook, or not known.
    #[serde(default)]
    since: u64,
}

/// What was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The number of each that wanted one.
    pub slots: Vec<u16>,
    /// Those among them that nobody or another rule had before.
    pub new: Vec<u16>,
}

impl Slots {
    /// Gives each of `wants` one of `room` numbers; `running` are those of the program that runs, `counted` is what is
    /// counted under a number now.
    ///
    /// # Errors
    ///
    /// That none is left, which twice the rules of one policy do not come to. The slots are not to be used then.
    pub fn assign(
        &mut self,
        room: usize,
        wants: &[Wants],
        running: &[Wants],
        counted: impl Fn(u16) -> Vec<Counter>,
    ) -> anyhow::Result<Given> {
        self.forget_damage(room);
        let named: HashSet<&Wants> = wants.iter().collect();
        let kept: HashSet<&Wants> = running.iter().collect();
        let taken: HashSet<u16> = self.0.iter().map(|slot| slot.slot).collect();
        let (known, mut old): (Vec<Slot>, Vec<Slot>) =
            std::mem::take(&mut self.0).into_iter().partition(|slot| named.contains(&slot.wants()));
        let mut known: HashMap<Wants, Slot> = known.into_iter().map(|slot| (slot.wants(), slot)).collect();
        let mut fresh = (0..room as u16).filter(|slot| !taken.contains(slot));
        let (mut given, mut retired) = (Given::default(), Retired::default());
        let mut now = Vec::new();
        for wants in wants {
            let slot = known.remove(wants).or_else(|| {
                let number = fresh.next().or_else(|| retired.one(&mut old, &kept, &counted))?;
                given.new.push(number);
                Some(Slot::new(wants, number, &counted(number)))
            });
            let slot = slot.with_context(|| format!("no counter is left for rule \"{}\"", wants.rule))?;
            given.slots.push(slot.slot);
            now.push(slot);
        }
        old.append(&mut now);
        retired.inherit(&mut old);
        self.0 = old;
        Ok(given)
    }

    /// Notes that these numbers, which a hook has given while it ran, count for their rules since `now`.
    pub fn begin(&mut self, new: &[u16], now: SystemTime) {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.0.iter_mut().filter(|slot| new.contains(&slot.slot)).for_each(|slot| slot.since = now);
    }

    /// Whether no rule ever had a counter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Since when a rule has a counter, if that is later than the hook.
    #[must_use]
    pub fn since(&self, rule: &str) -> Option<SystemTime> {
        let since =
            self.0.iter().filter(|slot| slot.rule == rule).map(|slot| slot.since).min().filter(|since| *since > 0);
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since?))
    }

    /// Forgets numbers that there are not, and those that another rule has too: a pin may be damaged, and what two rules
    /// count in one place belongs to neither.
    fn forget_damage(&mut self, room: usize) {
        let mut numbers = HashSet::new();
        self.0.retain(|slot| usize::from(slot.slot) < room && numbers.insert(slot.slot));
    }

    /// What each rule has counted, under all numbers that it had, counter by counter, and the number that it has now;
    /// `counted` as for [`assign`](Self::assign).
    #[must_use]
    pub fn counts(&self, counted: impl Fn(u16) -> Vec<Counter>) -> HashMap<&str, (Vec<Counter>, u16)> {
        let mut counts: HashMap<&str, (Vec<Counter>, u16)> = HashMap::new();
        for slot in &self.0 {
            let own = slot.count(&counted(slot.slot));
            let sums = counts.remove(slot.rule.as_str()).map_or_else(|| own.clone(), |(sums, _)| add(&sums, &own));
            counts.insert(&slot.rule, (sums, slot.slot));
        }
        counts
    }
}

/// What rules had counted under numbers that are given to others.
#[derive(Default)]
struct Retired(Vec<(String, Vec<Counter>)>);

impl Retired {
    /// Takes the number that was wanted the longest ago and is not in the program that runs.
    fn one(
        &mut self,
        old: &mut Vec<Slot>,
        running: &HashSet<&Wants>,
        counted: &impl Fn(u16) -> Vec<Counter>,
    ) -> Option<u16> {
        let at = old.iter().position(|slot| !running.contains(&slot.wants()))?;
        let gone = old.remove(at);
        self.0.push((gone.rule.clone(), gone.count(&counted(gone.slot))));
        Some(gone.slot)
    }

    /// Gives it to the number that each rule has now, if it has one: what a rule has counted never falls.
    fn inherit(self, slots: &mut [Slot]) {
        for (rule, count) in self.0 {
            if let Some(heir) = slots.iter_mut().rev().find(|slot| slot.rule == rule) {
                heir.carried = words(&add(&counters(&heir.carried), &count));
            }
        }
    }
}

impl Slot {
    fn new(wants: &Wants, slot: u16, counted: &[Counter]) -> Self {
        let Wants { rule, numbers } = wants.clone();
        Self { rule, numbers, slot, base: words(counted), carried: vec![[0; 2]; counted.len()], since: 0 }
    }

    fn wants(&self) -> Wants {
        Wants { rule: self.rule.clone(), numbers: self.numbers.clone() }
    }

    /// What its rule has counted, of what is counted under its number.
    fn count(&self, counted: &[Counter]) -> Vec<Counter> {
        let own = counted.iter().zip(counters(&self.base)).map(|(now, base)| Counter {
            packets: now.packets.wrapping_sub(base.packets),
            bytes: now.bytes.wrapping_sub(base.bytes),
        });
        add(&own.collect::<Vec<_>>(), &counters(&self.carried))
    }
}

fn counters(words: &[[u64; 2]]) -> Vec<Counter> {
    words.iter().copied().map(Counter::from).collect()
}

fn words(counters: &[Counter]) -> Vec<[u64; 2]> {
    counters.iter().map(|counter| [counter.packets, counter.bytes]).collect()
}

fn add(one: &[Counter], other: &[Counter]) -> Vec<Counter> {
    let mut sums = one.to_vec();
    sums.iter_mut().zip(other).for_each(|(sum, more)| sum.add(*more));
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 8;

    fn nothing(_: u16) -> Vec<Counter> {
        vec![Counter::default()]
    }

    #[test]
    fn a_damaged_pin_gives_no_counter_twice_and_none_that_is_not_there() {
        let mut slots = Slots::default();
        assign(&mut slots, &["a", "b", "c"], &[]);
        (slots.0[1].slot, slots.0[2].slot) = (slots.0[0].slot, ROOM as u16);
        let given = assign(&mut slots, &["a", "b", "c"], &[]);
        let numbers: HashSet<u16> = given.iter().copied().filter(|number| usize::from(*number) < ROOM).collect();
        assert_eq!(numbers.len(), 3, "{given:?}");
    }

    fn wants(rules: &[&str]) -> Vec<Wants> {
        rules.iter().map(|rule| Wants { rule: (*rule).to_owned(), numbers: String::new() }).collect()
    }

    fn meter(rule: &str, numbers: &str) -> Vec<Wants> {
        vec![Wants { rule: rule.to_owned(), numbers: numbers.to_owned() }]
    }

    fn assign(slots: &mut Slots, rules: &[&str], running: &[&str]) -> Vec<u16> {
        slots.assign(ROOM, &wants(rules), &wants(running), nothing).unwrap().slots
    }

    #[test]
    fn a_counter_follows_its_rule() {
        let mut slots = Slots::default();
        assert_eq!(assign(&mut slots, &["a", "b"], &[]), [0, 1]);
        assert_eq!(assign(&mut slots, &["c", "b"], &["a", "b"]), [2, 1]);
        assert_eq!(assign(&mut slots, &["a", "b", "c"], &["c", "b"]), [0, 1, 2]);
    }

    #[test]
    fn a_rule_has_its_counter_since_it_was_given_one_also_if_it_was_left_out_meanwhile() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut slots = Slots::default();
        assign(&mut slots, &["a"], &[]);
        for (rules, now) in [(&["a", "b"][..], 100), (&["a"], 200), (&["b", "a"], 300)] {
            let given = slots.assign(ROOM, &wants(rules), &wants(&["a"]), nothing).unwrap();
            slots.begin(&given.new, at(now));
        }
        assert_eq!(["a", "b", "c"].map(|rule| slots.since(rule)), [None, Some(at(100)), None]);
    }

    #[test]
    fn a_counter_that_had_another_rule_begins_where_that_ended() {
        let mut slots = Slots::default();
        assign(&mut slots, &["a", "b", "c", "d"], &[]);
        assign(&mut slots, &["e", "f", "g", "h"], &["a", "b", "c", "d"]);
        let counted = |slot| vec![Counter { packets: 1000 + u64::from(slot), bytes: 0 }];
        let given = slots.assign(ROOM, &wants(&["new"]), &wants(&["e", "f", "g", "h"]), counted).unwrap();
        assert_eq!(given, Given { slots: vec![0], new: vec![0] });
        let later = |_| vec![Counter { packets: 1007, bytes: 9 }];
        let counts = slots.counts(later);
        assert_eq!(counts["new"], (vec![Counter { packets: 7, bytes: 9 }], 0));
        assert!(!counts.contains_key("a"));
        assert_eq!(counts["b"].1, 1);
    }

    #[test]
    fn no_counter_of_the_program_that_runs_is_given_away() {
        let mut slots = Slots::default();
        let names: Vec<String> = (0..12).map(|rule| format!("rule {rule}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut running: &[&str] = &[];
        for rules in names.chunks(ROOM / 2) {
            let before: Vec<u16> = running.iter().map(|rule| slots.counts(nothing)[rule].1).collect();
            let now = assign(&mut slots, rules, running);
            assert_eq!(now.len(), rules.len());
            assert!(now.iter().all(|slot| !before.contains(slot)));
            running = rules;
        }
    }

    #[test]
    fn a_meter_with_other_numbers_has_another_bucket_and_counts_on() {
        let mut slots = Slots::default();
        let ten = |_| vec![Counter { packets: 10, bytes: 1000 }];
        assert_eq!(slots.assign(2, &meter("m", "8M"), &[], nothing).unwrap().slots, [0]);
        assert!(slots.assign(2, &meter("m", "8M"), &meter("m", "8M"), ten).unwrap().new.is_empty());
        assert_eq!(slots.assign(2, &meter("m", "9M"), &meter("m", "8M"), nothing).unwrap().slots, [1]);
        assert_eq!(slots.counts(ten)["m"].0, [Counter { packets: 20, bytes: 2000 }]);
        // The first one is needed again, by a rule that is asked before: what was counted there is not lost.
        let wants = [meter("x", "1M"), meter("m", "9M")].concat();
        assert_eq!(slots.assign(2, &wants, &meter("m", "9M"), ten).unwrap().slots, [0, 1]);
        assert_eq!(slots.counts(ten)["m"].0, [Counter { packets: 20, bytes: 2000 }]);
    }

    #[test]
    fn one_too_many_is_an_error_and_no_shifted_number() {
        let mut slots = Slots::default();
        assign(&mut slots, &["a", "b", "c"], &[]);
        let five = wants(&["a", "v", "w", "x", "y"]);
        assert!(slots.assign(4, &five, &wants(&["a", "b", "c"]), nothing).is_err());
    }
}
