//! A report as text, as Markdown and as charts.

mod charts;
pub mod listing;
mod markdown;
mod svg;
mod table;

pub use self::{charts::charts, markdown::page};
use crate::report::Goal;

/// A figure with as many digits as it deserves.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A figure with its sign.
fn signed(value: f64) -> String {
    if value < 0.0 { number(value) } else { format!("+{}", number(value)) }
}

/// What was measured, and what it has to be.
pub fn against_bound(goal: &Goal) -> String {
    let measured = goal.measured.map(number).unwrap_or_default();
    let floor = goal.floor.map(|floor| format!("; of the floor in C it is {}", number(floor))).unwrap_or_default();
    format!("{measured}, and promised is {}{floor}", bound(goal))
}

fn bound(goal: &Goal) -> String {
    format!("{} {}", if goal.at_least { "at least" } else { "at most" }, number(goal.bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_that_mean_something() {
        assert_eq!((number(1234.5), number(12.34), number(1.234)), ("1234".into(), "12.3".into(), "1.23".into()));
        assert_eq!((signed(3.0), signed(-3.0)), ("+3.00".into(), "-3.00".into()));
    }
}
