//! What hooks did before a change, written so that a rule which many of them have is written once, and a set which many
//! rules name. A policy for a dozen interfaces has a thousand rules at each, and they are the same ones.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    pending::HookBefore,
    sets,
    state::{Binding, LocalWord, TableRecord},
};
use crate::{
    hook::{Direction, Layer},
    rules::model::Rule,
    snapshot::HookPolicy,
};

/// All hooks.
#[derive(Serialize)]
struct Writing<'a> {
    #[serde(flatten, serialize_with = "sets::serialize")]
    rules: Vec<&'a Rule>,
    hooks: Vec<Hook>,
}

/// The same as it is read.
#[derive(Deserialize)]
struct Written {
    #[serde(flatten, deserialize_with = "sets::deserialize")]
    rules: Vec<Rule>,
    hooks: Vec<Hook>,
}

#[derive(Serialize, Deserialize)]
struct Hook {
    ifindex: u32,
    direction: Direction,
    binding: Option<Bound>,
}

/// A [`Binding`] with rules by their number.
#[derive(Serialize, Deserialize)]
struct Bound {
    policy: HookPolicy,
    table: Option<TableRecord>,
    local: LocalWord,
    rules: Vec<usize>,
    #[serde(default)]
    inside: Option<Vec<Layer>>,
    #[serde(default)]
    outer: Option<TableRecord>,
}

#[derive(Default)]
struct Pool<'a> {
    rules: Vec<&'a Rule>,
    known: HashMap<&'a Rule, usize>,
}

impl<'a> Pool<'a> {
    fn number(&mut self, rule: &'a Rule) -> usize {
        let next = self.rules.len();
        let number = *self.known.entry(rule).or_insert(next);
        if number == next {
            self.rules.push(rule);
        }
        number
    }

    fn hook(&mut self, before: &'a HookBefore) -> Hook {
        let binding = before.binding.as_ref().map(|binding| Bound {
            policy: binding.policy.clone(),
            table: binding.table.clone(),
            local: binding.local,
            rules: binding.rules.iter().map(|rule| self.number(rule)).collect(),
            inside: binding.inside.clone(),
            outer: binding.outer.clone(),
        });
        Hook { ifindex: before.ifindex, direction: before.direction, binding }
    }
}

pub(super) fn serialize<S: Serializer>(hooks: &[HookBefore], serializer: S) -> Result<S::Ok, S::Error> {
    let mut pool = Pool::default();
    let hooks = hooks.iter().map(|before| pool.hook(before)).collect();
    Writing { rules: pool.rules, hooks }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HookBefore>, D::Error> {
    let Written { rules, hooks } = Written::deserialize(deserializer)?;
    let rule = |number: usize| rules.get(number).cloned().ok_or_else(|| D::Error::custom("a rule is missing"));
    let hooks = hooks.into_iter().map(|hook| {
        let binding = hook.binding.map(|bound| {
            let rules = bound.rules.iter().copied().map(rule).collect::<Result<_, _>>()?;
            let Bound { policy, table, local, inside, outer, .. } = bound;
            Ok(Binding { policy, table, local, rules, inside, outer })
        });
        Ok(HookBefore { ifindex: hook.ifindex, direction: hook.direction, binding: binding.transpose()? })
    });
    hooks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::state::Entry,
        rules::model::{Action, Condition, Field, Place},
    };

    fn rule(number: usize) -> Rule {
        let ports = Condition { field: Field::DstPort(vec![(number as u16, number as u16)]), negated: false };
        Rule {
            name: format!("a rule with a name of some length, number {number}"),
            line: number,
            on: vec![Place { pattern: "*".to_owned(), direction: None }],
            conditions: vec![ports],
            action: Action::Set(None),
            count: false,
            log: None,
            priority: None,
            mark: None,
        }
    }

    fn before(ifindex: u32, direction: Direction, rules: Vec<Rule>) -> HookBefore {
        let policy = HookPolicy { name: "p".to_owned(), hash: "3f9a1c7d".to_owned(), file: "p.toml".to_owned() };
        let inside = Some(vec![Layer::Pppoe]).filter(|_| direction == Direction::Ingress);
        let entries = vec![Entry { to: 46, key: "other".to_owned(), line: 3 }; 64];
        let outer = inside.is_none().then(|| TableRecord { name: "tunnels".to_owned(), entries });
        let binding = Binding { policy, table: None, local: LocalWord::Keep, rules, inside, outer };
        HookBefore { ifindex, direction, binding: Some(binding) }
    }

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super")] Vec<HookBefore>);

    #[test]
    fn forty_hooks_with_a_thousand_rules_take_little_more_than_one() {
        let rules: Vec<Rule> = (0..1024).map(rule).collect();
        let of = |hooks: u32| {
            let hooks = (0..hooks).map(|at| before(at / 2, Direction::BOTH[at as usize % 2], rules.clone()));
            serde_json::to_vec(&Wrapped(hooks.collect())).unwrap()
        };
        let (one, forty) = (of(1), of(40));
        assert!(forty.len() < 2 * one.len(), "{} and {} bytes", one.len(), forty.len());
        let back: Wrapped = serde_json::from_slice(&forty).unwrap();
        assert!(back.0.iter().all(|hook| hook.binding.as_ref().unwrap().rules == rules));
    }

    #[test]
    fn rules_of_other_policies_and_hooks_without_one_stay_what_they_are() {
        let mut hooks = vec![
            before(2, Direction::Ingress, vec![rule(1), rule(2)]),
            before(3, Direction::Egress, vec![rule(2), Rule { line: 9, ..rule(1) }]),
        ];
        hooks.push(HookBefore { ifindex: 4, direction: Direction::Egress, binding: None });
        let text = serde_json::to_vec(&Wrapped(hooks.clone())).unwrap();
        assert_eq!(serde_json::from_slice::<Wrapped>(&text).unwrap().0, hooks);
        let broken = String::from_utf8(text).unwrap().replace("\"rules\":[1,2]", "\"rules\":[1,7]");
        assert!(serde_json::from_str::<Wrapped>(&broken).is_err());
    }
}
