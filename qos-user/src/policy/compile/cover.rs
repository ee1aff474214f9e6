//! Rules that never decide: impossible ones, and those that an earlier rule leaves nothing.

use std::collections::HashSet;

use qos_common::rules::{Constant, MAX_RULES};

use super::{bits::Bits, demand::Demand};
use crate::policy::model::Rule;

/// One field, as a set of sets of rules: those that its values leave.
pub struct Dimension {
    field: Option<Constant>,
    /// Whether a rule needs a value of it, or one of the field that it is paired with.
    paired: bool,
    /// The rules that ask for the field.
    asking: Bits,
    /// Rules that no value leaves without one of those.
    common: Bits,
    /// By rule, for those that ask: the rules that every value leaves that leaves it.
    above: Vec<Bits>,
    seen: HashSet<Bits>,
    /// Rules that some value leaves.
    reached: Bits,
}

impl Dimension {
    /// A field without values yet.
    pub fn new(asking: Bits) -> Self {
        let above = vec![Bits::ALL; MAX_RULES];
        Self { field: None, paired: false, asking, common: Bits::ALL, above, seen: HashSet::new(), reached: Bits::NONE }
    }

    /// A field of a pair, without values yet.
    pub fn of_pair(asking: Bits) -> Self {
        Self { paired: true, ..Self::new(asking) }
    }

    /// The same, which is that of a field with a family.
    pub fn of(self, field: Constant) -> Self {
        Self { field: Some(field), ..self }
    }

    /// Adds the rules that a value leaves.
    pub fn add(&mut self, rules: Bits) {
        if !self.seen.insert(rules) {
            return;
        }
        self.common &= rules;
        self.reached |= rules;
        (rules & self.asking).iter().for_each(|bit| self.above[bit] &= rules);
    }

    /// The rules that hold wherever a rule does, as far as this field goes.
    fn above(&self, bit: usize) -> Bits {
        if self.asking.contains(bit) { self.above[bit] } else { self.common }
    }

    /// Of which families packets can come to a rule here.
    fn families(&self, bit: usize) -> [bool; 2] {
        let reached = self.paired || self.reached.contains(bit);
        match self.field {
            Some(Constant::Source4 | Constant::Destination4) => [reached, true],
            Some(Constant::Source6 | Constant::Destination6) => [true, reached],
            _ => [reached; 2],
        }
    }
}

/// Whether no packet can match the rule at a bit.
pub fn is_impossible(bit: usize, demand: &Demand<'_>, dimensions: &[Dimension]) -> bool {
    let mut families = demand.families;
    for dimension in dimensions {
        families.iter_mut().zip(dimension.families(bit)).for_each(|(family, reached)| *family &= reached);
    }
    let [v4, v6] = families;
    let icmp = demand.needs_icmp() && !(v4 && demand.allows(&[1]) || v6 && demand.allows(&[58]));
    let ports = demand.needs_ports() && !demand.allows(&[6, 17, 33, 132, 136]);
    !(v4 || v6) || icmp || ports
}

/// The first rule before the one at `bit` that decides on all that it matches.
///
/// Found field by field: what only several rules together leave nothing of is not.
pub fn shadow(bit: usize, order: &[usize], rules: &[&Rule], dimensions: &[Dimension]) -> Option<usize> {
    let above = dimensions.iter().fold(Bits::ALL, |all, dimension| all & dimension.above(bit));
    let earlier = above.iter().filter_map(|other| order.get(other).copied()).filter(|other| *other < order[bit]);
    earlier.filter(|other| rules[*other].decides()).min()
}
