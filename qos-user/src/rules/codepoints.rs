//! Which codepoints a rule speaks of.

use qos_common::ds::Dscp;

use super::model::{Action, Field, Rule, Verdict};

/// A rule that asks for more codepoints than half of them, such as one without a condition on them, names none by that.
const MOST: u32 = 32;

impl Rule {
    /// The codepoints that it gives.
    #[must_use]
    pub fn sets(&self) -> Vec<Dscp> {
        let of = |verdict: &Verdict| if let Verdict::Set(dscp) = verdict { Some(*dscp) } else { None };
        match &self.action {
            Action::Set(dscp) => dscp.iter().copied().collect(),
            Action::Meter(meter) => meter.verdicts().iter().filter_map(of).collect(),
            Action::None | Action::Drop => Vec::new(),
        }
    }

    /// Those that it asks for by name, or takes for colored.
    #[must_use]
    pub fn asks_for(&self) -> Vec<Dscp> {
        let colored = self.meter().and_then(|meter| meter.aware).map_or(0, |aware| aware.yellow | aware.red);
        let all = [self.asked(), colored].into_iter().filter(|bits| bits.count_ones() <= MOST);
        let bits = all.fold(0, |all, bits| all | bits);
        Dscp::all().filter(|dscp| has(bits, *dscp)).collect()
    }

    /// Whether it may make of a codepoint that comes another one.
    #[must_use]
    pub fn may_send(&self, from: Dscp, to: Dscp) -> bool {
        self.sets().contains(&to) && self.may_have(from)
    }

    /// Whether it may drop a packet that comes with this codepoint.
    #[must_use]
    pub fn may_drop(&self, dscp: Dscp) -> bool {
        let drops = match &self.action {
            Action::Drop => true,
            Action::Meter(meter) => meter.verdicts().contains(&Verdict::Drop),
            Action::None | Action::Set(_) => false,
        };
        drops && self.may_have(dscp)
    }

    /// Whether no packet that comes with this codepoint is left to who is asked behind it.
    #[must_use]
    pub fn decides_all(&self, dscp: Dscp) -> bool {
        let asks_no_more = self.conditions.iter().all(|condition| matches!(condition.field, Field::Dscp(_)));
        self.decides() && asks_no_more && self.may_have(dscp)
    }

    /// Whether it asks for no other codepoint.
    #[must_use]
    pub fn may_have(&self, dscp: Dscp) -> bool {
        has(self.asked(), dscp)
    }

    /// The codepoints with which a packet may match, a bit each.
    fn asked(&self) -> u64 {
        let conditions = self.conditions.iter().filter_map(|condition| match condition.field {
            Field::Dscp(bits) => Some(if condition.negated { !bits } else { bits }),
            _ => None,
        });
        conditions.fold(u64::MAX, |all, bits| all & bits)
    }
}

const fn has(bits: u64, dscp: Dscp) -> bool {
    bits >> dscp.value() & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{rules::model::Condition, snapshot::sample};

    fn asks_for(conditions: &[(u64, bool)]) -> Vec<u8> {
        let conditions =
            conditions.iter().map(|(bits, negated)| Condition { field: Field::Dscp(*bits), negated: *negated });
        let rule = Rule { conditions: conditions.collect(), ..sample::rule("calls", Default::default()).rule };
        rule.asks_for().into_iter().map(Dscp::value).collect()
    }

    #[test]
    fn a_rule_that_asks_for_most_codepoints_names_none() {
        assert_eq!(asks_for(&[(1 << 46 | 1 << 24, false)]), [24, 46]);
        assert_eq!(asks_for(&[(1 << 46 | 1 << 24, false), (1 << 46, true)]), [24]);
        assert_eq!(asks_for(&[(u64::from(u32::MAX), false)]).len(), 32);
        for most in [&[][..], &[(1 << 46, true)], &[(u64::from(u32::MAX) | 1 << 40, false)]] {
            assert!(asks_for(most).is_empty(), "{most:?}");
        }
    }
}
