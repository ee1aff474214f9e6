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

    /// Each of them, to a thousandth.
    pub fn rounds(&self) -> Vec<f64> {
        self.0.iter().map(|value| (value * 1e3).round() / 1e3).collect()
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

/// Round by round the middle of two figures: of two that measure the same.
pub fn mean(one: &Samples, other: &Samples) -> Samples {
    one.paired(other, f64::midpoint)
}

/// How far two figures lie apart that should be none: no smaller difference is told from nothing.
pub fn noise(one: &Samples, other: &Samples) -> f64 {
    let apart = other.paired(one, |a, b| a - b).spread();
    apart.p25.abs().max(apart.p75.abs())
}

/// The order of a round. Over as many rounds as there are candidates (twice as many, if their number is odd) each one
/// comes equally often behind each other one: what it leaves in caches meets all of them alike (E. J. Williams, 1949).
pub fn order(round: usize, candidates: usize) -> Vec<usize> {
    let zigzag = (0..candidates).map(|place| if place % 2 == 0 { candidates - place / 2 } else { place / 2 + 1 });
    let mut order: Vec<usize> = zigzag.map(|index| (index + round) % candidates).collect();
    let is_second_half = round / candidates.max(1) % 2 == 1;
    if candidates % 2 == 1 && is_second_half {
        order.reverse();
    }
    order
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

    /// How often each candidate came behind each other one.
    fn behind(rounds: usize, candidates: usize) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; candidates]; candidates];
        for round in 0..rounds {
            let order = order(round, candidates);
            order.windows(2).for_each(|pair| counts[pair[1]][pair[0]] += 1);
            let mut sorted = order;
            sorted.sort_unstable();
            assert_eq!(sorted, (0..candidates).collect::<Vec<_>>(), "each once a round");
        }
        counts
    }

    #[test]
    fn each_comes_equally_often_behind_each_other_one() {
        for candidates in 2..=15 {
            let cycle = if candidates % 2 == 0 { candidates } else { 2 * candidates };
            let counts = behind(cycle, candidates);
            let (wanted, cells) = (cycle / candidates, counts.iter().enumerate());
            let unequal = cells.filter(|(at, row)| {
                row.iter().enumerate().any(|(before, count)| *count != if before == *at { 0 } else { wanted })
            });
            assert_eq!(unequal.count(), 0, "{candidates}: {counts:?}");
        }
    }

    #[test]
    fn in_a_few_rounds_too_nobody_has_the_same_one_before_it_thrice() {
        for candidates in 3..=15 {
            assert!(behind(candidates, candidates).iter().flatten().all(|count| *count <= 2));
        }
    }

    #[test]
    fn an_order_of_few_is_one() {
        assert!(order(5, 0).is_empty());
        assert_eq!(order(5, 1), [0]);
    }

    #[test]
    fn noise_is_what_two_that_are_alike_differ_by() {
        let one: Samples = [10.0; 5].into_iter().collect();
        let other: Samples = [7.0, 7.5, 11.0, 11.0, 12.0].into_iter().collect();
        assert_eq!(noise(&one, &other), 2.5);
        assert_eq!(mean(&one, &other).rounds(), [8.5, 8.75, 10.5, 10.5, 11.0]);
    }
}
