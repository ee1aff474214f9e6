//! What the conditions of a rule leave of each field, as ranges of numbers: whether anything, and whether it is within
//! what another rule leaves.

mod rest;

use crate::policy::model::{Condition, Field, Fragment, MarkBits, Origin, Prefixes, Rule, pattern_matches};

/// Ranges that are inclusive, sorted, disjoint, and not adjacent.
pub(super) type Ranges = Vec<(u128, u128)>;

/// More prefixes than this are taken for all addresses of their family: a thousand rules may name a set of thousands.
const MOST_PREFIXES: usize = 1024;

/// A field as far as it is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Dscp,
    Family,
    Proto,
    SrcV4,
    SrcV6,
    DstV4,
    DstV6,
    SrcPort,
    DstPort,
    /// At least one of the ports.
    EitherPort,
    /// Both ports.
    BothPorts,
    Vlan,
    Pcp,
    Length,
    Fragment,
    IcmpType,
    Origin,
}

/// What is left.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    numbers: Vec<(Axis, Ranges)>,
    marks: Vec<(MarkBits, bool)>,
    from: Vec<(Vec<String>, bool)>,
    /// Whether some condition leaves less than is said here.
    is_wider: bool,
}

impl Bounds {
    pub fn of(rule: &Rule) -> Self {
        let mut bounds = Self::default();
        rule.conditions.iter().for_each(|condition| bounds.narrow(condition));
        bounds
    }

    /// What an axis has left; `None` if nothing is asked of it.
    pub fn get(&self, axis: Axis) -> Option<&[(u128, u128)]> {
        self.numbers.iter().find(|(of, _)| *of == axis).map(|(_, ranges)| &**ranges)
    }

    /// Whether an axis has a number left that `admits` admits; an axis of which nothing is asked has all.
    pub fn leaves(&self, axis: Axis, most: u128, admits: impl Fn(u128) -> bool) -> bool {
        let all = [(0, most)];
        self.get(axis).unwrap_or(&all).iter().any(|(first, last)| (*first..=*last).any(&admits))
    }

    /// Narrows by one more condition.
    pub fn narrow(&mut self, condition: &Condition) {
        match &condition.field {
            Field::Mark(bits) => self.marks.push((*bits, condition.negated)),
            Field::From(patterns) => self.from.push((patterns.clone(), condition.negated)),
            field => {
                self.is_wider |= is_large(field);
                numbers(field, condition.negated).into_iter().for_each(|(axis, ranges)| self.cut(axis, ranges));
            }
        }
    }

    fn cut(&mut self, axis: Axis, ranges: Ranges) {
        match self.numbers.iter_mut().find(|(of, _)| *of == axis) {
            Some((_, left)) => *left = intersection(left, &ranges),
            None => self.numbers.push((axis, ranges)),
        }
    }

    /// Whether every packet within `self` is within `other` too. A `false` may only mean that it is not plain.
    pub fn is_within(&self, other: &Self) -> bool {
        let numbers = other
            .numbers
            .iter()
            .all(|(axis, wider)| self.get(*axis).is_some_and(|narrower| is_subset(narrower, wider)));
        !other.is_wider
            && numbers
            && other.marks.iter().all(|wider| self.marks.iter().any(|narrower| implies_mark(*narrower, *wider)))
            && other.from.iter().all(|wider| self.from.iter().any(|narrower| implies_from(narrower, wider)))
    }
}

fn numbers(field: &Field, negated: bool) -> Vec<(Axis, Ranges)> {
    let plain =
        |axis, ranges: Ranges, most: u128| vec![(axis, if negated { complement(&ranges, most) } else { ranges })];
    match field {
        Field::Dscp(bits) => plain(Axis::Dscp, singles((0..64).filter(|bit| bits >> bit & 1 == 1)), 63),
        Field::Family(versions) => {
            let wanted = |version: &u128| versions.iter().any(|v| u128::from(*v) == *version) != negated;
            vec![(Axis::Family, singles([4, 6].into_iter().filter(wanted)))]
        }
        Field::Proto(ranges) => plain(Axis::Proto, wide(ranges), 255),
        Field::Src(prefixes) => addresses(Axis::SrcV4, Axis::SrcV6, prefixes, negated),
        Field::Dst(prefixes) => addresses(Axis::DstV4, Axis::DstV6, prefixes, negated),
        Field::SrcPort(ranges) => plain(Axis::SrcPort, wide(ranges), 0xffff),
        Field::DstPort(ranges) => plain(Axis::DstPort, wide(ranges), 0xffff),
        Field::Port(ranges) if negated => plain(Axis::BothPorts, wide(ranges), 0xffff),
        Field::Port(ranges) => plain(Axis::EitherPort, wide(ranges), 0xffff),
        Field::Vlan(ranges) => plain(Axis::Vlan, wide(ranges), 4095),
        Field::Pcp(ranges) => plain(Axis::Pcp, wide(ranges), 7),
        Field::Length(ranges) => plain(Axis::Length, wide(ranges), 0xffff),
        Field::Fragment(kinds) => {
            let kinds = [Fragment::No, Fragment::First, Fragment::Later].map(|kind| kinds.contains(&kind));
            plain(Axis::Fragment, singles((0..3).filter(|kind| kinds[*kind as usize])), 2)
        }
        Field::IcmpType(ranges) => plain(Axis::IcmpType, wide(ranges), 255),
        Field::Origin(origin) => plain(Axis::Origin, singles([u128::from(*origin == Origin::Local)]), 1),
        Field::Mark(_) | Field::From(_) => Vec::new(),
    }
}

/// Prefixes of one family leave nothing of the other, in both forms.
fn addresses(v4: Axis, v6: Axis, prefixes: &Prefixes, negated: bool) -> Vec<(Axis, Ranges)> {
    let of_v4 = prefixes.v4.iter().map(|(network, length)| block(u128::from(network.to_bits()), 32 - *length));
    let of_v6 = prefixes.v6.iter().map(|(network, length)| block(network.to_bits(), 128 - *length));
    let form = |count: usize, ranges: &mut dyn Iterator<Item = (u128, u128)>, most| match count {
        0 => Vec::new(),
        1..=MOST_PREFIXES if negated => complement(&join(ranges.collect()), most),
        1..=MOST_PREFIXES => join(ranges.collect()),
        _ => vec![(0, most)],
    };
    vec![
        (v4, form(prefixes.v4.len(), &mut of_v4.into_iter(), u128::from(u32::MAX))),
        (v6, form(prefixes.v6.len(), &mut of_v6.into_iter(), u128::MAX)),
    ]
}

fn is_large(field: &Field) -> bool {
    match field {
        Field::Src(prefixes) | Field::Dst(prefixes) => prefixes.v4.len().max(prefixes.v6.len()) > MOST_PREFIXES,
        _ => false,
    }
}

fn block(network: u128, host_bits: u8) -> (u128, u128) {
    let hosts = if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 };
    (network, network | hosts)
}

fn wide<T: Copy + Into<u128>>(ranges: &[(T, T)]) -> Ranges {
    ranges.iter().map(|(first, last)| ((*first).into(), (*last).into())).collect()
}

fn singles(numbers: impl IntoIterator<Item = u128>) -> Ranges {
    join(numbers.into_iter().map(|number| (number, number)).collect())
}

pub(super) fn join(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut joined: Ranges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}

pub(super) fn complement(ranges: &[(u128, u128)], most: u128) -> Ranges {
    let mut gaps = Vec::with_capacity(ranges.len() + 1);
    let mut next = Some(0);
    for (first, last) in ranges {
        if let Some(start) = next.filter(|start| start < first) {
            gaps.push((start, first - 1));
        }
        next = last.checked_add(1);
    }
    gaps.extend(next.filter(|start| *start <= most).map(|start| (start, most)));
    gaps
}

pub(super) fn intersection(one: &[(u128, u128)], other: &[(u128, u128)]) -> Ranges {
    let (mut at, mut with, mut common) = (0, 0, Vec::new());
    while let (Some((first, last)), Some((start, end))) = (one.get(at), other.get(with)) {
        if first.max(start) <= last.min(end) {
            common.push((*first.max(start), *last.min(end)));
        }
        if last < end { at += 1 } else { with += 1 }
    }
    common
}

pub(super) fn is_subset(narrower: &[(u128, u128)], wider: &[(u128, u128)]) -> bool {
    let mut wider = wider.iter().peekable();
    narrower.iter().all(|(first, last)| {
        while wider.next_if(|(_, end)| end < first).is_some() {}
        wider.peek().is_some_and(|(start, end)| start <= first && last <= end)
    })
}

fn implies_mark((narrower, negated): (MarkBits, bool), (wider, wider_negated): (MarkBits, bool)) -> bool {
    match (negated, wider_negated) {
        (false, false) => wider.mask & !narrower.mask == 0 && narrower.value & wider.mask == wider.value,
        (true, true) => narrower == wider,
        _ => false,
    }
}

fn implies_from((narrower, negated): &(Vec<String>, bool), (wider, wider_negated): &(Vec<String>, bool)) -> bool {
    let covered = |inner: &[String], outer: &[String]| inner.iter().all(|p| outer.iter().any(|o| covers(o, p)));
    match (negated, wider_negated) {
        (false, false) => covered(narrower, wider),
        (true, true) => covered(wider, narrower),
        _ => false,
    }
}

/// Whether every interface that `inner` means is meant by `outer` too.
pub(super) fn covers(outer: &str, inner: &str) -> bool {
    match (outer.strip_suffix('*'), inner.strip_suffix('*')) {
        (Some(outer), Some(inner)) => inner.starts_with(outer),
        (_, None) => pattern_matches(outer, inner),
        (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn set(ranges: &[(u128, u128)]) -> Vec<u128> {
        (0..64).filter(|n| ranges.iter().any(|(first, last)| first <= n && n <= last)).collect()
    }

    fn ranges() -> impl Strategy<Value = Ranges> {
        vec((0u128..64, 0u128..8), 0..6)
            .prop_map(|ranges| join(ranges.into_iter().map(|(first, more)| (first, (first + more).min(63))).collect()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn ranges_are_sets(one in ranges(), other in ranges()) {
            let (left, right) = (set(&one), set(&other));
            let common = left.iter().copied().filter(|n| right.contains(n)).collect::<Vec<_>>();
            prop_assert_eq!(set(&intersection(&one, &other)), common);
            let rest = (0..64).filter(|n| !left.contains(n)).collect::<Vec<_>>();
            prop_assert_eq!(set(&complement(&one, 63)), rest);
            prop_assert_eq!(is_subset(&one, &other), left.iter().all(|n| right.contains(n)));
        }
    }

    #[test]
    fn the_whole_of_ipv6() {
        let all = vec![(0, u128::MAX)];
        assert_eq!(complement(&all, u128::MAX), []);
        assert_eq!(complement(&[], u128::MAX), all);
        assert_eq!(join(vec![(0, u128::MAX), (5, 6)]), all);
        assert_eq!(block(0, 128), (0, u128::MAX));
    }
}
