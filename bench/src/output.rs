//! Where a report goes: the terminal, and files.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;

use crate::{render, report::Report};

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

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
