//! Rules on addresses that translation has changed before they are asked.

use super::{
    Cure, Finding,
    facts::Port,
    outside::{Does, Outside},
};
use crate::{
    hook::Direction,
    rules::model::{Field, Rule},
};

/// Rules of the policy that look at an address which is another one at this hook.
pub(super) fn translated(port: &Port, outside: &Outside) -> Vec<Finding> {
    Direction::BOTH.into_iter().flat_map(|direction| at(port, direction, outside)).collect()
}

fn at(port: &Port, direction: Direction, outside: &Outside) -> Vec<Finding> {
    let rules = port.hook(direction).map_or(&[][..], |hook| &hook.rules);
    let found = rules.iter().filter_map(|rule| translated_rule(&port.device.name, direction, rule, outside));
    found.collect()
}

/// At egress the source is the one after translation, at ingress the destination the one before.
pub(super) fn translated_rule(
    interface: &str,
    direction: Direction,
    rule: &Rule,
    outside: &Outside,
) -> Option<Finding> {
    let (looks, does) = match direction {
        Direction::Egress => (looks_at(rule, |field| matches!(field, Field::Src(_))), Does::SourceNat),
        Direction::Ingress => (looks_at(rule, |field| matches!(field, Field::Dst(_))), Does::DestinationNat),
    };
    let by = outside.rules().find(|other| looks && other.does == does && other.concerns(interface, direction))?;
    let name = &rule.name;
    let (text, advice) = match direction {
        Direction::Egress => (
            format!("rule \"{name}\" looks at src at {interface}:egress, which is after source NAT: this router's own"),
            "ask it where packets come in: on = \"IFACE:ingress\" of the LAN",
        ),
        Direction::Ingress => (
            format!("rule \"{name}\" looks at dst at {interface}:ingress, which is before destination NAT"),
            "ask it where packets leave: on = \"IFACE:egress\" of the LAN",
        ),
    };
    let cure = Cure::Advice(advice.to_owned());
    Some(Finding::warn(interface, "translated-address", text).details([format!("by {}", by.words())]).cure(cure))
}

fn looks_at(rule: &Rule, is_address: impl Fn(&Field) -> bool) -> bool {
    rule.conditions.iter().any(|condition| is_address(&condition.field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::{Level, nft, testing::enforcing},
        rules::model::{Action, Condition, Prefixes},
    };

    fn rule(field: Field) -> Rule {
        Rule {
            name: "x".to_owned(),
            line: 1,
            on: Vec::new(),
            conditions: vec![Condition { field, negated: false }],
            action: Action::Set(None),
            count: false,
            log: None,
            priority: None,
            mark: None,
        }
    }

    fn found(interface: &str, direction: Direction, field: Field) -> Vec<Finding> {
        let ruleset = nft::read(include_str!("testdata/nft.json"), "");
        let outside = Outside { nft: ruleset, iptables: Vec::new() };
        let mut port = enforcing(interface, direction);
        port.hooks[0].rules = vec![rule(field)];
        translated(&port, &outside)
    }

    #[test]
    fn src_behind_masquerade_and_dst_before_dnat_are_told() {
        let src = || Field::Src(Prefixes::default());
        let dst = || Field::Dst(Prefixes::default());
        let egress = found("wan0", Direction::Egress, src()).remove(0);
        assert_eq!((egress.level, egress.code), (Level::Warn, "translated-address"));
        assert!(
            egress.details[0].text.starts_with("by nft table inet qos chain nat handle 18"),
            "{:?}",
            egress.details
        );
        assert!(found("wan0", Direction::Ingress, dst())[0].text.contains("before destination NAT"));
        assert!(found("lan0", Direction::Egress, src()).is_empty(), "nothing is translated there");
        assert!(found("wan0", Direction::Egress, dst()).is_empty());
        assert!(found("wan0", Direction::Ingress, src()).is_empty());
    }
}
