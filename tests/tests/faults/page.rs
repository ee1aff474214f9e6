//! The table of faults in `docs/reliability.md`.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, ensure};

use crate::stage::Row;

const BEGIN: &str = "<!-- The table of faults: written by cargo test, as said above. -->\n";
const END: &str = "<!-- The end of the table. -->\n";

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reliability.md"))
}

/// Before the table, the table, and behind it.
fn parts(page: &str) -> anyhow::Result<[&str; 3]> {
    let (before, rest) = page.split_once(BEGIN).context("docs/reliability.md: no mark where the table begins")?;
    let (table, behind) = rest.split_once(END).context("docs/reliability.md: no mark where the table ends")?;
    Ok([before, table, behind])
}

/// Whether the page has a row for each fault, and for nothing else.
pub fn check(faults: &[&str]) -> anyhow::Result<()> {
    let page = fs::read_to_string(path())?;
    let [_, table, _] = parts(&page)?;
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).skip(2);
    let rows: Vec<&str> = rows.collect();
    ensure!(rows == faults, "docs/reliability.md has other faults: QOSBPF_RECORD=1 writes it\n{rows:#?}");
    Ok(())
}

/// Writes the table.
pub fn write(rows: &[(&str, Row)]) -> anyhow::Result<()> {
    let page = fs::read_to_string(path())?;
    let [before, _, behind] = parts(&page)?;
    fs::write(path(), format!("{before}{BEGIN}{}{END}{behind}", table(rows)?))?;
    Ok(())
}

fn table(rows: &[(&str, Row)]) -> anyhow::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut text = format!("\nOn Linux {}.\n\n", release.trim());
    text += "| fault | traffic | counters | what was said |\n| --- | --- | --- | --- |\n";
    for (fault, row) in rows {
        let said = row.said.replace('|', "\\|");
        writeln!(text, "| {fault} | {} | {} | {said} |", row.traffic, row.counters)?;
    }
    Ok(text + "\n")
}
