//! Figures of several rounds, and taking them so that a disturbance meets all candidates alike.

use serde::Serialize;

/// One figure a round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

/// The middle of the figures, and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The quarter that is lower ends here.
    pub p25: f64,
    /// Half is lower, half is higher.
    pub median: f64,
    /// The quarter that is higher begins here.
    pub p75: f64,
}

impl Spread {
    /// Of a figure that stands for all.
    pub const fn of(value: f64) -> Self {
        Self { p25: value, median: value, p75: value }
    }
}

impl Samples {
    /// Adds the figure of a round.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The figure that a share of them does not exceed; 0 where there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
    }

    /// Middle and spread.
    pub fn spread(&self) -> Spread {
        Spread { p25: self.quantile(0.25), median: self.quantile(0.5), p75: self.quantile(0.75) }
    }

    /// Round by round, what `combine` makes of this figure and the other's: what disturbed a round disturbed both.
    pub fn paired(&self, other: &Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| combine(*a, *b)).collect())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// The order of a round: each round begins with the next candidate, so that none always follows the same one.
pub fn order(round: usize, candidates: usize) -> impl Iterator<Item = usize> {
    (0..candidates).map(move |index| (index + round) % candidates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_figures_that_were_measured() {
        let samples: Samples = [5.0, 1.0, 4.0, 2.0, 3.0].into_iter().collect();
        assert_eq!(samples.spread(), Spread { p25: 2.0, median: 3.0, p75: 4.0 });
        assert_eq!(Samples::default().quantile(0.5), 0.0);
    }

    #[test]
    fn pairs_are_of_the_same_round() {
        let ours: Samples = [10.0, 20.0, 90.0].into_iter().collect();
        let floor: Samples = [10.0, 10.0, 30.0].into_iter().collect();
        assert_eq!(ours.paired(&floor, |a, b| a / b).quantile(0.5), 2.0);
    }

    #[test]
    fn every_round_has_every_candidate_in_another_order() {
        assert_eq!(order(0, 3).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(order(4, 3).collect::<Vec<_>>(), [1, 2, 0]);
    }
}
