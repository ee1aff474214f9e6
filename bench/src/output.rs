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
    report::Report,
    walks::Pair,
};

/// The most that qosbpf may cost by the floor of the same contract before it has to say why.
const EXPLAINED: f64 = 1.05;

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

/// Writes listings into the folder: where programs were measured, of those that were dearer than their floor by more than
/// they may; else of all.
///
/// # Errors
///
/// What cannot be written.
pub fn listings(report: &Report, pairs: &[Pair], folder: &Path) -> anyhow::Result<()> {
    let folder = folder.join("performance/disassembly");
    // Those of an earlier run are of other programs.
    let _none = fs::remove_dir_all(&folder);
    let wanted: Vec<&Pair> = pairs.iter().filter(|pair| is_dear(report, pair)).collect();
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

fn is_dear(report: &Report, pair: &Pair) -> bool {
    let case = report.program.iter().find(|case| case.hook == pair.hook.name() && case.frame == pair.frame);
    let ratios = case.iter().flat_map(|case| &case.ratios);
    let mut whole = ratios.filter(|ratio| ratio.of == pair.name && ratio.to.contains("whole"));
    report.program.is_empty() || whole.any(|ratio| ratio.ratio.median > EXPLAINED)
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
