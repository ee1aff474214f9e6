//! Rules as pins have them: addresses that many of them name are written once. A rule says all of the set that it names,
//! and a set has up to 65,536 prefixes.

use std::{
    borrow::{Borrow, Cow},
    collections::HashMap,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::rules::model::{Condition, Field, Prefixes, Rule};

/// More prefixes than these stand apart from the rule.
const FEW: usize = 8;

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    /// With no prefixes where a set belongs.
    rules: Vec<Rule>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sets: Vec<Cow<'a, Prefixes>>,
    /// Rule, condition, set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    places: Vec<(usize, usize, usize)>,
}

#[derive(Default)]
struct Pool<'a> {
    sets: Vec<Cow<'a, Prefixes>>,
    known: HashMap<&'a Prefixes, usize>,
    places: Vec<(usize, usize, usize)>,
}

impl<'a> Pool<'a> {
    /// The rule without the sets that stand apart.
    fn rule(&mut self, at: usize, rule: &'a Rule) -> Rule {
        let Rule { name, line, on, conditions, action, count, log, priority, mark } = rule;
        let conditions = conditions.iter().enumerate().map(|(place, condition)| self.condition(at, place, condition));
        Rule {
            conditions: conditions.collect(),
            name: name.clone(),
            line: *line,
            on: on.clone(),
            action: action.clone(),
            count: *count,
            log: *log,
            priority: *priority,
            mark: *mark,
        }
    }

    fn condition(&mut self, rule: usize, place: usize, condition: &'a Condition) -> Condition {
        let prefixes = prefixes(&condition.field).filter(|prefixes| prefixes.v4.len() + prefixes.v6.len() > FEW);
        let Some(prefixes) = prefixes else { return condition.clone() };
        let next = self.sets.len();
        let set = *self.known.entry(prefixes).or_insert(next);
        if set == next {
            self.sets.push(Cow::Borrowed(prefixes));
        }
        self.places.push((rule, place, set));
        let empty = Prefixes::default();
        let field = if matches!(condition.field, Field::Src(_)) { Field::Src(empty) } else { Field::Dst(empty) };
        Condition { field, negated: condition.negated }
    }
}

const fn prefixes(field: &Field) -> Option<&Prefixes> {
    match field {
        Field::Src(prefixes) | Field::Dst(prefixes) => Some(prefixes),
        _ => None,
    }
}

pub(super) fn serialize<R: Borrow<Rule>, S: Serializer>(rules: &[R], serializer: S) -> Result<S::Ok, S::Error> {
    let mut pool = Pool::default();
    let rules = rules.iter().enumerate().map(|(at, rule)| pool.rule(at, rule.borrow())).collect();
    Written { rules, sets: pool.sets, places: pool.places }.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    let Written { mut rules, sets, places } = Written::deserialize(deserializer)?;
    for (rule, place, set) in places {
        let condition = rules.get_mut(rule).and_then(|rule| rule.conditions.get_mut(place));
        let field = condition.map(|condition| &mut condition.field);
        match (field, sets.get(set)) {
            (Some(Field::Src(own) | Field::Dst(own)), Some(set)) => own.clone_from(set),
            _ => return Err(D::Error::custom("a set is missing")),
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::model::Action;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped {
        before: u8,
        #[serde(flatten, with = "super")]
        rules: Vec<Rule>,
    }

    fn set(count: u32) -> Prefixes {
        Prefixes { v4: (0..count).map(|host| ((2 * host).into(), 32)).collect(), v6: Vec::new() }
    }

    fn rule(name: &str, fields: Vec<Field>) -> Rule {
        Rule {
            name: name.to_owned(),
            line: 1,
            on: Vec::new(),
            conditions: fields.into_iter().map(|field| Condition { field, negated: false }).collect(),
            action: Action::Drop,
            count: false,
            log: None,
            priority: None,
            mark: None,
        }
    }

    fn written(rules: Vec<Rule>) -> String {
        let wrapped = Wrapped { before: 7, rules };
        let text = serde_json::to_string(&wrapped).unwrap();
        assert_eq!(serde_json::from_str::<Wrapped>(&text).unwrap(), wrapped);
        text
    }

    #[test]
    fn a_set_is_written_once_however_many_rules_name_it() {
        let naming = |rules: u32| {
            let rules =
                (0..rules).map(|at| rule(&at.to_string(), vec![Field::Proto(vec![(6, 6)]), Field::Src(set(65_536))]));
            written(rules.collect()).len()
        };
        let (one, many) = (naming(1), naming(64));
        assert!(many < one + 64 * 300, "{one} and {many} bytes");
    }

    #[test]
    fn both_addresses_and_small_sets_come_back() {
        let text = written(vec![
            rule("both", vec![Field::Src(set(20)), Field::Dst(set(30))]),
            rule("few", vec![Field::Dst(set(3)), Field::Dst(set(20))]),
        ]);
        assert_eq!(text.matches("0.0.0.38").count(), 2, "{text}");
    }

    /// As earlier versions wrote them, and as nobody does.
    #[test]
    fn plain_rules_are_read_and_places_that_do_not_exist_refused() {
        let plain = serde_json::to_value(rule("old", vec![Field::Src(set(20))])).unwrap();
        let document = serde_json::json!({ "before": 7, "rules": [plain] });
        let read: Wrapped = serde_json::from_value(document).unwrap();
        assert_eq!(read.rules, [rule("old", vec![Field::Src(set(20))])]);
        let text = written(read.rules);
        for place in ["[0,0,1]", "[0,1,0]", "[1,0,0]"] {
            assert!(serde_json::from_str::<Wrapped>(&text.replace("[0,0,0]", place)).is_err(), "{place}");
        }
    }
}
