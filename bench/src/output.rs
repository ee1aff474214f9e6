//! Where a report goes: the terminal, and files.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;

use crate::{
    render::{
        self,
        listing::{listing, name},
    },
    report::{Gap, Outcome, Report},
    walks::Pair,
};

/// Says what is being done; a terminal that has gone is no reason to stop.
pub fn progress(text: &str) {
    let _gone = writeln!(io::stderr(), "bench: {text}");
}

/// Prints the tables, and writes them, the charts and the JSON document into a folder.
///
/// # Errors
///
/// What cannot be written.
pub fn write(report: &Report, folder: &Path) -> anyhow::Result<()> {
    let _gone = io::stdout().write_all(render::page(report, None).as_bytes());
    let charts = folder.join("performance");
    fs::create_dir_all(&charts).with_context(|| charts.display().to_string())?;
    for (name, chart) in render::charts(report) {
        put(&charts.join(name), &chart)?;
    }
    put(&charts.join("bench.json"), &(serde_json::to_string_pretty(report)? + "\n"))?;
    let page = folder.join("performance.md");
    put(&page, &render::page(report, Some("performance")))?;
    progress(&format!("written: {}, and charts and bench.json in {}", page.display(), charts.display()));
    Ok(())
}

/// Writes listings into the folder: of what promises that are not kept compare; where none could be, of all.
///
/// # Errors
///
/// What cannot be written.
pub fn listings(report: &Report, pairs: &[Pair], folder: &Path) -> anyhow::Result<()> {
    let folder = folder.join("performance/disassembly");
    // Those of an earlier run are of other programs.
    let _none = fs::remove_dir_all(&folder);
    let wanted: Vec<&Pair> = pairs.iter().filter(|pair| is_asked_for(report, pair)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for pair in &wanted {
        put(&folder.join(name(pair)), &listing(pair))?;
    }
    progress(&format!("written: {} listings in {}", wanted.len(), folder.display()));
    Ok(())
}

fn is_asked_for(report: &Report, pair: &Pair) -> bool {
    let ways = [pair.hook.name(), pair.base, pair.name];
    let mut broken = report.goals.iter().filter(|goal| goal.outcome == Outcome::NotKept);
    let is_measured = !report.program.is_empty() || !report.rules.is_empty() || !report.scaling.is_empty();
    !is_measured || broken.any(|goal| goal.ways == Some(ways))
}

/// Whether all was measured that is not declared as a gap.
pub fn is_whole(report: &Report) -> bool {
    missing(report).next().is_none()
}

/// What failed: parts and candidates, then promises for no declared reason.
fn missing(report: &Report) -> impl Iterator<Item = &Gap> {
    let gaps = report.goals.iter().filter_map(|goal| goal.gap.as_ref());
    report.not_measured.iter().chain(gaps).filter(|gap| !gap.declared)
}

/// Says last what is missing, and which promises are not kept.
pub fn verdict(report: &Report) {
    for gap in report.not_measured.iter().filter(|gap| !gap.declared) {
        progress(&format!("FAILED: {}: {}", gap.what, gap.why));
    }
    let of = |outcome| report.goals.iter().filter(move |goal| goal.outcome == outcome);
    for goal in of(Outcome::NotMeasured) {
        let why = goal.gap.as_ref().map_or("", |gap| &gap.why);
        progress(&format!("NOT MEASURED: {}: {why}", goal.what));
    }
    for goal in of(Outcome::NotKept) {
        progress(&format!("NOT KEPT: {}: {}", goal.what, render::against_bound(goal)));
    }
    if !report.goals.is_empty() {
        let [kept, broken, unknown] =
            [Outcome::Kept, Outcome::NotKept, Outcome::NotMeasured].map(|outcome| of(outcome).count());
        progress(&format!("{kept} promises kept, {broken} NOT KEPT, {unknown} NOT MEASURED"));
    }
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{goals, program::candidate::Hook, report::Goal};

    fn pair(name: &'static str) -> Pair {
        Pair { hook: Hook::Xdp, frame: "IPv4", base: "one rule", name, left: Vec::new(), right: Vec::new() }
    }

    #[test]
    fn listings_are_of_promises_that_are_not_kept() {
        let ways = Some(["XDP", "one rule", "swap"]);
        let goal = |outcome| Goal {
            what: String::new(),
            bound: 1.0,
            at_least: false,
            outcome,
            measured: Some(2.0),
            floor: None,
            gap: None,
            ways,
        };
        let case = crate::report::Case { hook: "XDP", frame: "IPv4", rows: Vec::new(), ratios: Vec::new(), noise: 0.0 };
        let report = |outcome| Report { goals: vec![goal(outcome)], program: vec![case.clone()], ..Report::default() };
        assert!(is_asked_for(&report(Outcome::NotKept), &pair("swap")));
        assert!(!is_asked_for(&report(Outcome::NotKept), &pair("lock")));
        assert!(!is_asked_for(&report(Outcome::Kept), &pair("swap")));
        assert!(is_asked_for(&Report::default(), &pair("lock")), "the disassembly alone is of all");
    }

    #[test]
    fn a_run_with_a_gap_that_nobody_declared_is_not_whole() {
        assert!(is_whole(&Report::default()));
        let gap = |declared| Gap { what: "nft".to_owned(), why: "lost".to_owned(), declared };
        assert!(is_whole(&Report { not_measured: vec![gap(true)], ..Report::default() }));
        assert!(!is_whole(&Report { not_measured: vec![gap(false)], ..Report::default() }));
        assert!(!is_whole(&Report { goals: goals::judge(&Report::default()), ..Report::default() }));
    }
}
