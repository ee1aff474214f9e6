//! Sets of numbers as ranges: what the conditions of two rules have in common is a matter of these.

use crate::policy::bounds;

/// Inclusive ranges, sorted, disjoint, and not adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Spans(Vec<(u128, u128)>);

impl Spans {
    /// All of these; a range that runs backwards has nothing in it.
    pub fn of(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        Self(bounds::join(ranges.into_iter().filter(|(first, last)| first <= last).collect()))
    }

    pub fn one(number: u128) -> Self {
        Self(vec![(number, number)])
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn ranges(&self) -> &[(u128, u128)] {
        &self.0
    }

    pub fn and(&self, other: &Self) -> Self {
        Self(bounds::intersection(&self.0, &other.0))
    }

    /// Everything up to `most` that is not in it.
    pub fn complement(&self, most: u128) -> Self {
        Self(bounds::complement(&self.0, most))
    }

    /// Whether everything in `other` is in it.
    pub fn covers(&self, other: &Self) -> bool {
        bounds::is_subset(&other.0, &self.0)
    }
}
