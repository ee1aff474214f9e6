//! Sets of numbers, as ranges.

/// Ranges of numbers, both ends included; sorted, and with a gap between any two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// All numbers below `end`.
    pub fn below(end: u32) -> Self {
        Self::of([(0, end - 1)])
    }

    /// The numbers in any of these.
    pub fn of(ranges: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().copied()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all numbers below `end` are in it.
    pub fn is_below(&self, end: u32) -> bool {
        self.0 == [(0, end - 1)]
    }

    /// The numbers below `end` that are not in it.
    pub fn complement(&self, end: u32) -> Self {
        let mut next = 0;
        let mut gaps = Vec::with_capacity(self.0.len() + 1);
        for (first, last) in self.iter() {
            if first > next {
                gaps.push((next, first - 1));
            }
            next = last + 1;
        }
        if next < end {
            gaps.push((next, end - 1));
        }
        Self(gaps)
    }

    /// The numbers below `end` that are in it; for `negated` those that are not.
    pub fn negated_if(self, negated: bool, end: u32) -> Self {
        if negated { self.complement(end) } else { self }
    }

    /// The numbers that are in both.
    pub fn intersect(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.iter().peekable(), other.iter().peekable());
        let mut both = Vec::new();
        while let (Some(a), Some(b)) = (ours.peek().copied(), theirs.peek().copied()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                both.push((first, last));
            }
            if a.1 < b.1 {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self(both)
    }

    /// Whether any number is in both.
    pub fn meets(&self, other: &Self) -> bool {
        !self.intersect(other).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const END: u32 = 64;

    fn ranges() -> impl Strategy<Value = Ranges> {
        let range = (0..END, 0..END).prop_map(|(a, b)| (a.min(b), a.max(b)));
        proptest::collection::vec(range, 0..6).prop_map(Ranges::of)
    }

    fn members(ranges: &Ranges) -> Vec<u32> {
        (0..END).filter(|number| ranges.iter().any(|(first, last)| (first..=last).contains(number))).collect()
    }

    proptest! {
        #[test]
        fn they_are_sets(a in ranges(), b in ranges()) {
            let (in_a, in_b) = (members(&a), members(&b));
            let both: Vec<u32> = in_a.iter().copied().filter(|number| in_b.contains(number)).collect();
            prop_assert_eq!(members(&a.intersect(&b)), both.clone());
            prop_assert_eq!(a.meets(&b), !both.is_empty());
            let outside: Vec<u32> = (0..END).filter(|number| !in_a.contains(number)).collect();
            prop_assert_eq!(members(&a.complement(END)), outside);
            prop_assert_eq!(a.is_below(END), in_a.len() == END as usize);
            prop_assert_eq!(a.complement(END).complement(END), a);
        }
    }
}
