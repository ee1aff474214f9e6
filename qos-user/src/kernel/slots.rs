//! Which counter of a hook belongs to which rule. A rule is its name: its counter follows it through every policy.

use std::collections::{HashMap, HashSet};

use qos_common::{abi::Counter, rules::RULE_SLOTS};
use serde::{Deserialize, Serialize};

/// The counters that a hook has given to rules; the rule that was named the longest ago comes first.
///
/// A rule that a policy leaves out keeps its counter, until another rule needs it. The program that still runs counts in
/// those of its own rules: they are given to nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slots(Vec<Slot>);

/// The counter of one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The rule's name.
    pub rule: String,
    /// Its number in the map.
    pub slot: u16,
    /// The packets that another rule has counted there before.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Slots {
    /// Whether any rule has ever had a counter here.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The counter of a rule.
    #[must_use]
    pub fn of(&self, rule: &str) -> Option<&Slot> {
        self.0.iter().find(|slot| slot.rule == rule)
    }

    /// Gives each of these rules a counter, and says which; `running` are those of the program that runs, `counted` is
    /// what a counter has now.
    pub fn assign(&mut self, rules: &[&str], running: &[&str], counted: impl Fn(u16) -> Counter) -> Vec<u16> {
        let named: HashSet<_> = rules.iter().copied().collect();
        let kept: HashSet<_> = running.iter().copied().collect();
        let (mut old, mut used): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|slot| !named.contains(slot.rule.as_str()));
        let mut known: HashMap<String, Slot> = used.drain(..).map(|slot| (slot.rule.clone(), slot)).collect();
        let taken: HashSet<u16> = known.values().chain(&old).map(|slot| slot.slot).collect();
        let mut fresh = (0..RULE_SLOTS as u16).filter(|slot| !taken.contains(slot));
        let mut slots = Vec::new();
        for rule in rules {
            let slot = known.remove(*rule).or_else(|| {
                let number = fresh.next().or_else(|| retire(&mut old, &kept))?;
                let Counter { packets, bytes } = counted(number);
                Some(Slot { rule: (*rule).to_owned(), slot: number, packets, bytes })
            });
            slots.extend(slot.as_ref().map(|slot| slot.slot));
            used.extend(slot);
        }
        self.0 = old;
        self.0.append(&mut used);
        slots
    }
}

/// Takes the counter of the rule that was named the longest ago, and is not in the program that runs.
fn retire(old: &mut Vec<Slot>, running: &HashSet<&str>) -> Option<u16> {
    let at = old.iter().position(|slot| !running.contains(slot.rule.as_str()))?;
    Some(old.remove(at).slot)
}

impl Slot {
    /// What its rule has counted, of what the counter has.
    #[must_use]
    pub const fn of_rule(&self, counted: Counter) -> Counter {
        Counter { packets: counted.packets.wrapping_sub(self.packets), bytes: counted.bytes.wrapping_sub(self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: fn(u16) -> Counter = |_| Counter { packets: 0, bytes: 0 };

    #[test]
    fn a_counter_follows_its_rule() {
        let mut slots = Slots::default();
        assert_eq!(slots.assign(&["a", "b"], &[], NOTHING), [0, 1]);
        assert_eq!(slots.assign(&["c", "b"], &["a", "b"], NOTHING), [2, 1]);
        assert_eq!(slots.assign(&["a", "b", "c"], &["c", "b"], NOTHING), [0, 1, 2]);
    }

    #[test]
    fn a_counter_that_had_another_rule_begins_where_that_ended() {
        let mut slots = Slots::default();
        let names: Vec<String> = (0..RULE_SLOTS).map(|rule| format!("rule {rule}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (first, second) = names.split_at(RULE_SLOTS / 2);
        slots.assign(first, &[], NOTHING);
        slots.assign(second, first, NOTHING);
        let counted = |slot| Counter { packets: 1000 + u64::from(slot), bytes: 0 };
        assert_eq!(slots.assign(&["new"], second, counted), [0]);
        let new = slots.of("new").unwrap();
        assert_eq!(new.of_rule(Counter { packets: 1007, bytes: 9 }), Counter { packets: 7, bytes: 9 });
        assert_eq!(slots.of("rule 0"), None);
        assert_eq!(slots.of("rule 1").map(|slot| slot.slot), Some(1));
    }

    #[test]
    fn no_counter_of_the_program_that_runs_is_given_away() {
        let mut slots = Slots::default();
        let names: Vec<String> = (0..3 * RULE_SLOTS / 2).map(|rule| format!("rule {rule}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut running: &[&str] = &[];
        for rules in names.chunks(RULE_SLOTS / 2) {
            let before: Vec<u16> = running.iter().map(|rule| slots.of(rule).unwrap().slot).collect();
            let now = slots.assign(rules, running, NOTHING);
            assert_eq!(now.len(), rules.len());
            assert!(now.iter().all(|slot| !before.contains(slot)));
            running = rules;
        }
    }
}
