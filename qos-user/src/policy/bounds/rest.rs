//! What several rules together leave of another one.
//!
//! What a rule matches is taken apart by family; within one, its fields are independent of each other, so that what another
//! rule leaves of it is a few pieces of the same form. A piece may be larger than what is left, and is never smaller.

use super::{Axis, Bounds, Ranges, complement, intersection, is_subset};

/// More pieces than this are not followed.
const MOST_PIECES: usize = 64;

/// A part of what a rule matches, in one family.
#[derive(Clone)]
struct Piece {
    family: u128,
    numbers: Vec<(Axis, Ranges)>,
}

impl Bounds {
    /// Those of `earlier`, by their places, that together match all that `self` matches; `None` if they leave something, or
    /// it cannot be said.
    pub fn covered_by(&self, earlier: &[&Self]) -> Option<Vec<usize>> {
        let usable = |at: &usize| self.is_comparable_to(earlier[*at]);
        let usable: Vec<usize> = (0..earlier.len()).filter(usable).collect();
        let mut needed = self.used(earlier, &usable)?;
        for at in needed.clone() {
            let without: Vec<usize> = needed.iter().copied().filter(|other| *other != at).collect();
            if let Some(fewer) = self.used(earlier, &without) {
                needed = fewer;
            }
        }
        (!needed.is_empty()).then_some(needed)
    }

    /// Whether what is no number of the other one holds wherever this one does.
    fn is_comparable_to(&self, other: &Self) -> bool {
        let beside = Self { numbers: Vec::new(), marks: other.marks.clone(), from: other.from.clone(), ..*other };
        self.is_within(&beside)
    }

    /// Those of `which` that took something away, if nothing is left.
    fn used(&self, earlier: &[&Self], which: &[usize]) -> Option<Vec<usize>> {
        let mut pieces: Vec<Piece> = [4, 6].into_iter().filter_map(|family| Piece::of(self, family)).collect();
        let mut used = Vec::new();
        for at in which {
            let mut left = Vec::new();
            let mut taken = false;
            for piece in pieces {
                match piece.without(earlier[*at]) {
                    Some(rest) => {
                        taken = true;
                        left.extend(rest);
                    }
                    None => left.push(piece),
                }
            }
            pieces = left;
            used.extend(taken.then_some(*at));
            if pieces.is_empty() || pieces.len() > MOST_PIECES {
                break;
            }
        }
        pieces.is_empty().then_some(used)
    }
}

impl Piece {
    /// What a rule matches in a family; `None`: nothing.
    fn of(bounds: &Bounds, family: u128) -> Option<Self> {
        let numbers: Vec<_> = asked(bounds, family)?.cloned().collect();
        numbers.iter().all(|(_, ranges)| !ranges.is_empty()).then_some(Self { family, numbers })
    }

    fn get(&self, axis: Axis) -> Option<&Ranges> {
        self.numbers.iter().find(|(of, _)| *of == axis).map(|(_, ranges)| ranges)
    }

    fn with(&self, axis: Axis, ranges: Ranges) -> Self {
        let others = self.numbers.iter().filter(|(of, _)| *of != axis).cloned();
        Self { family: self.family, numbers: others.chain([(axis, ranges)]).collect() }
    }

    /// What a rule leaves of it; `None` if that is all of it, or cannot be said.
    fn without(&self, rule: &Bounds) -> Option<Vec<Self>> {
        let mut inside = self.clone();
        let mut rest = Vec::new();
        for (axis, wider) in asked(rule, self.family)? {
            let all = whole(*axis);
            let narrower = match (inside.get(*axis), all) {
                (Some(ranges), _) => ranges.clone(),
                // Every packet of the family has it.
                (None, Some(most)) => vec![(0, most)],
                (None, None) => return None,
            };
            if is_subset(&narrower, wider) {
                continue;
            }
            let common = intersection(&narrower, wider);
            if common.is_empty() || *axis == Axis::BothPorts {
                return None;
            }
            rest.push(inside.with(*axis, intersection(&narrower, &complement(wider, u128::MAX))));
            // One port may be here and the other one there: of those nothing is taken away.
            if *axis != Axis::EitherPort {
                inside = inside.with(*axis, common);
            }
        }
        Some(rest)
    }
}

/// What is asked of packets of a family; `None` if it matches none of them.
fn asked(bounds: &Bounds, family: u128) -> Option<impl Iterator<Item = &(Axis, Ranges)>> {
    let others = if family == 4 { [Axis::SrcV6, Axis::DstV6] } else { [Axis::SrcV4, Axis::DstV4] };
    let is_meant = bounds.get(Axis::Family).is_none_or(|left| left.iter().any(|(a, b)| (*a..=*b).contains(&family)));
    let asked = bounds.numbers.iter().filter(move |(axis, _)| *axis != Axis::Family && !others.contains(axis));
    is_meant.then_some(asked)
}

/// The largest value of a field that no packet lacks; a packet without a field matches neither of its forms.
const fn whole(axis: Axis) -> Option<u128> {
    match axis {
        Axis::Dscp => Some(63),
        Axis::SrcV4 | Axis::DstV4 => Some(u32::MAX as u128),
        Axis::SrcV6 | Axis::DstV6 => Some(u128::MAX),
        Axis::Length => Some(0xffff),
        Axis::Fragment => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{bounds::Bounds, tests::read};

    /// Which rules before the last one leave nothing of it.
    fn covering(rules: &[&str]) -> Option<Vec<usize>> {
        let rule = |(at, conditions): (usize, &&str)| {
            format!("[[rule]]\nname = \"{at}\"\non = \"x:egress\"\nmatch = {{ {conditions} }}\nset = \"DF\"\n")
        };
        let rules: String = rules.iter().enumerate().map(rule).collect();
        let policy = read(&format!("version = 1\nname = \"test\"\n{rules}")).unwrap();
        let bounds: Vec<_> = policy.rules().iter().map(Bounds::of).collect();
        let (last, earlier) = bounds.split_last().unwrap();
        last.covered_by(&earlier.iter().collect::<Vec<_>>())
    }

    #[test]
    fn two_halves_are_a_whole_and_who_adds_nothing_is_not_named() {
        for rules in [
            ["dscp = \"EF\"", "dscp = \"AF41\"", "dscp = \"VA\"", "dscp = [\"EF\", \"VA\"], proto = \"udp\""],
            ["dst-port = \"1-99\"", "vlan = 5", "dst-port = \"100-200\"", "proto = \"udp\", dst-port = \"50-150\""],
            ["family = 4", "dst-port = 7", "family = 6", "dscp = \"EF\""],
            ["src = \"10.0.0.0/9\"", "src = \"10.0.0.0/16\"", "src = \"10.128.0.0/9\"", "src = \"10.0.0.0/8\""],
            ["length = \"0-500\"", "pcp = 1", "length = \"501-65535\"", "proto = \"tcp\""],
            ["port = \"1-99\"", "port = 7", "port = \"100-200\"", "port = \"90-110\""],
        ] {
            assert_eq!(covering(&rules), Some(vec![0, 2]), "{rules:?}");
        }
        let boxes = ["dscp = \"EF\", length = \"0-500\"", "dscp = \"EF\", length-not = \"0-400\"", "dscp = \"EF\""];
        assert_eq!(covering(&boxes), Some(vec![0, 1]));
    }

    #[test]
    fn what_is_left_by_a_packet_without_the_field_or_by_a_corner_is_not_covered() {
        for rules in [
            // A packet without ports, tags or a known protocol.
            &["dst-port = \"0-999\"", "dst-port = \"1000-65535\"", "proto = \"udp\""][..],
            &["vlan = \"0-99\"", "vlan-not = \"0-99\"", "dscp = \"EF\""],
            &["proto = \"udp\"", "proto-not = \"udp\"", "dscp = \"EF\""],
            &["src = \"0.0.0.0/1\"", "src = \"128.0.0.0/1\"", "dscp = \"EF\""],
            &["dscp = \"EF\"", "dscp = \"VA\"", "dscp = [\"EF\", \"VA\", \"CS1\"]"],
            &["dscp = \"EF\", length = \"0-500\"", "dscp = \"EF\", length = \"502-65535\"", "dscp = \"EF\""],
            // One port in the first range, the other one in the second.
            &["port-not = \"1-99\"", "port-not = \"100-200\"", "port = \"1-200\""],
            &["mark = \"1/1\"", "mark-not = \"1/1\"", "dscp = \"EF\""],
        ] {
            assert_eq!(covering(rules), None, "{rules:?}");
        }
    }
}
