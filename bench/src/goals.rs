//! What is promised of figures, and what was measured: each promise has an outcome, also the one of which there is no
//! figure.

mod figure;
mod promises;

use self::{figure::Figure, promises::PROMISES};
use crate::report::{Gap, Goal, Outcome, Report};

/// What a number is promised of.
#[derive(Clone, Copy, Debug)]
struct Promise {
    figure: Figure,
    bound: f64,
    /// Whether the number may not be less; else it may not be more.
    at_least: bool,
}

/// Judges a report.
pub fn judge(report: &Report) -> Vec<Goal> {
    PROMISES.iter().map(|promise| promise.judge(report)).collect()
}

impl Promise {
    const fn at_most(bound: f64, figure: Figure) -> Self {
        Self { figure, bound, at_least: false }
    }

    const fn at_least(bound: f64, figure: Figure) -> Self {
        Self { figure, bound, at_least: true }
    }

    fn judge(&self, report: &Report) -> Goal {
        let Self { figure, bound, at_least } = *self;
        let (measured, gap) = match figure.of(report, bound) {
            Ok(measured) => (Some(measured), None),
            Err(gap) => (None, Some(gap)),
        };
        let keeps = |measured: f64| if at_least { measured >= bound } else { measured <= bound };
        let outcome = match measured {
            None => Outcome::NotMeasured,
            Some(measured) if keeps(measured) => Outcome::Kept,
            Some(_) => Outcome::NotKept,
        };
        let floor = figure.of_floor().and_then(|floor| floor.of(report, bound).ok());
        Goal { what: figure.what(), bound, at_least, outcome, measured, floor, gap, ways: figure.ways() }
    }
}

/// Why there is no figure: the gap that names it most closely, of those of the report.
fn gap(report: &Report, names: &[&str]) -> Gap {
    let named = |name: &&str| report.not_measured.iter().find(|gap| gap.what == *name);
    names.iter().find_map(named).cloned().unwrap_or_else(|| Gap {
        what: names.first().copied().unwrap_or_default().to_owned(),
        why: "the run has no such figure".to_owned(),
        declared: false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        report::{Case, Job, Ratio, Routed, Row},
        samples::Spread,
    };

    fn goal<'a>(goals: &'a [Goal], what: &str) -> &'a Goal {
        goals.iter().find(|goal| goal.what.contains(what)).unwrap()
    }

    #[test]
    fn of_an_empty_report_no_promise_is_measured_and_none_vanishes() {
        let goals = judge(&Report::default());
        assert!(goals.len() == PROMISES.len() && goals.len() > 60);
        assert!(goals.iter().all(|goal| goal.outcome == Outcome::NotMeasured && goal.measured.is_none()));
        assert!(goals.iter().all(|goal| goal.gap.as_ref().is_some_and(|gap| !gap.declared && !gap.why.is_empty())));
        let names: BTreeSet<&str> = goals.iter().map(|goal| goal.what.as_str()).collect();
        assert_eq!(names.len(), goals.len(), "each says what it is of");
    }

    #[test]
    fn a_part_that_was_not_asked_for_is_the_reason() {
        let report = Report { not_measured: vec![Gap::new("router", "not asked for")], ..Report::default() };
        let goals = judge(&report);
        let reasons =
            |wanted| goals.iter().filter(move |goal| goal.gap.as_ref().is_some_and(|gap| gap.declared == wanted));
        assert!(reasons(true).all(|goal| goal.what.starts_with("router") || goal.what.contains("switch")));
        assert!(reasons(true).count() > 20 && reasons(false).count() > 20);
    }

    fn case(frame: &'static str, median: f64) -> Case {
        let ratio = Ratio {
            of: "qosbpf, with a table",
            to: "C, whole, count and remark",
            ratio: Spread::of(median),
            ns: Spread::of(0.0),
        };
        Case { hook: "XDP", frame, rows: Vec::new(), ratios: vec![ratio], noise: 0.1 }
    }

    #[test]
    fn the_worst_frame_is_judged_and_none_may_be_missing() {
        let frames = [("IPv4", 1.01), ("IPv6", 1.06), ("IPv4, one tag", 1.0), ("ARP (not IP)", 1.2)];
        let mut program: Vec<Case> = frames.into_iter().map(|(frame, median)| case(frame, median)).collect();
        let what = "XDP: qosbpf, with a table against C, whole";
        let goals = judge(&Report { program: program.clone(), ..Report::default() });
        let judged = goal(&goals, what);
        assert_eq!((judged.outcome, judged.measured), (Outcome::NotKept, Some(1.06)));
        program.remove(2);
        let goals = judge(&Report { program, ..Report::default() });
        assert_eq!(goal(&goals, what).outcome, Outcome::NotMeasured);
    }

    fn routed(name: &str, above: f64) -> Routed {
        let row = Row { name: name.to_owned(), ns: Spread::of(0.0), above: Spread::of(above), rounds: Vec::new() };
        Routed { row, ratio: Spread::of(1.0), packets: 1 }
    }

    #[test]
    fn beside_a_promise_of_the_router_is_what_the_floor_has() {
        let rows = vec![routed("qosbpf, TCX", 46.0), routed("C floor, TCX", 33.0), routed("nft", 281.0)];
        let job = Job { name: "table, IPv4", what: "", rows, noise: 5.0 };
        let goals = judge(&Report { router: vec![job], ..Report::default() });
        let goal = goal(&goals, "router, table, IPv4: what nft adds, divided by what qosbpf, TCX adds");
        assert_eq!((goal.outcome, goal.floor), (Outcome::NotKept, Some(281.0 / 33.0)));
        assert!(goals.iter().filter(|goal| goal.floor.is_some()).all(|goal| goal.what.starts_with("router")));
    }

    #[test]
    fn nothing_is_divided_by_what_cannot_be_told_from_nothing() {
        let what = "router, table, IPv4: what nft adds, divided by what qosbpf, XDP adds";
        let judged = |ours: f64, nft: f64| {
            let rows = vec![routed("qosbpf, XDP", ours), routed("nft", nft)];
            let job = Job { name: "table, IPv4", what: "", rows, noise: 10.0 };
            let goals = judge(&Report { router: vec![job], ..Report::default() });
            let goal = goal(&goals, what);
            (goal.outcome, goal.measured)
        };
        assert_eq!(judged(20.0, 250.0), (Outcome::Kept, Some(12.5)));
        assert_eq!(judged(20.0, 100.0), (Outcome::NotKept, Some(5.0)));
        // At most 14 ns: the promise is kept whatever it is below that.
        assert_eq!(judged(4.0, 280.0), (Outcome::Kept, Some(20.0)));
        assert_eq!(judged(4.0, 130.0), (Outcome::NotMeasured, None));
        assert_eq!(judged(-4.0, 130.0), (Outcome::Kept, Some(13.0)));
    }
}
