//! What a policy asks of a hook that not every mechanism can do.

use super::{network::Interface, state::Binding};
use crate::{
    hook::Via,
    rules::model::{Condition, Field, Rule},
};

/// Programs at TC tell the kernel what they have changed; there is no such call at XDP. In IPv4 the header's own checksum keeps
/// the sum. A driver that runs XDP itself works the sum out behind it, or gives none.
const LEAVES_THE_SUM: &str = "what generic XDP remarks of IPv6 may be dropped: the sum that the kernel keeps beside a packet \
     stays as it was";

/// What of it matters for the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The first rule that XDP cannot do, and what of it.
    pub tc: Option<String>,
    /// Whether IPv6 may be remarked.
    remarks_ipv6: bool,
}

impl Needs {
    /// What the binding of a hook asks for, if it has one.
    #[must_use]
    pub fn of(binding: Option<&Binding>) -> Self {
        let Some(binding) = binding else { return Self::default() };
        let tc = binding.rules.iter().find_map(|rule| {
            let what = rule.needs_tc()?;
            Some(format!("rule \"{}\" needs TC for its {what}", rule.name))
        });
        let by_table = || binding.table.iter().any(|table| table.targets().zip(0..).any(|(to, from)| to != from));
        let by_rule = || binding.rules.iter().any(may_mark_ipv6);
        Self { tc, remarks_ipv6: by_table() || by_rule() }
    }

    /// Why not by this mechanism at an interface. What a veth receives was sent before, which takes such a sum away; and what tc
    /// has redirected to it, sum and all, generic XDP is not shown.
    #[must_use]
    pub fn forbid(&self, via: Via, interface: Option<&Interface>) -> Option<String> {
        let has_sums = || interface.is_some_and(|interface| interface.kind.as_deref() != Some("veth"));
        let leaves_the_sum = || self.remarks_ipv6 && via == Via::XdpGeneric && has_sums();
        let at_xdp = self.tc.clone().filter(|_| via.is_xdp());
        at_xdp.or_else(|| leaves_the_sum().then(|| LEAVES_THE_SUM.to_owned()))
    }
}

fn may_mark_ipv6(rule: &Rule) -> bool {
    !rule.sets().is_empty() && !rule.conditions.iter().any(is_of_ipv4_alone)
}

fn is_of_ipv4_alone(Condition { field, negated }: &Condition) -> bool {
    match field {
        Field::Family(versions) => versions.contains(&6) == *negated,
        Field::Src(prefixes) | Field::Dst(prefixes) => prefixes.v6.is_empty() && !negated,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use qos_common::ds::Dscp;

    use super::*;
    use crate::rules::model::{Action, Prefixes};

    fn setting(conditions: &[(Field, bool)]) -> Rule {
        let condition = |(field, negated): &(Field, bool)| Condition { field: field.clone(), negated: *negated };
        Rule {
            name: "rule".to_owned(),
            line: 1,
            on: Vec::new(),
            conditions: conditions.iter().map(condition).collect(),
            action: Action::Set(Some(Dscp::EF)),
            count: false,
            log: None,
            priority: None,
            mark: None,
        }
    }

    #[test]
    fn a_rule_may_mark_ipv6_unless_it_is_of_ipv4_alone_or_marks_nothing() {
        let v4 = || Field::Src(Prefixes { v4: vec![([192, 0, 2, 0].into(), 24)], v6: Vec::new() });
        assert!(may_mark_ipv6(&setting(&[])));
        for alone in [(Field::Family(vec![4]), false), (Field::Family(vec![6]), true), (v4(), false)] {
            assert!(!may_mark_ipv6(&setting(&[(Field::Dscp(1), false), alone.clone()])), "{alone:?}");
        }
        for both in [(Field::Family(vec![4]), true), (Field::Family(vec![4, 6]), false), (v4(), true)] {
            assert!(may_mark_ipv6(&setting(std::slice::from_ref(&both))), "{both:?}");
        }
        for action in [Action::None, Action::Drop, Action::Set(None)] {
            assert!(!may_mark_ipv6(&Rule { action: action.clone(), ..setting(&[]) }), "{action:?}");
        }
    }
}
