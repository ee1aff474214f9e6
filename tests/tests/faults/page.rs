//! The table of faults in `docs/reliability.md`.

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use nix::unistd::gethostname;
use qosbpf_tests::binary::{self, Answer};

use crate::{fixed::is_same, stage::Row};

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

/// The rows of a table: the fault, traffic, counters, and what was said.
fn rows(table: &str) -> Vec<[&str; 4]> {
    table.lines().filter_map(cells).skip(2).collect()
}

fn cells(line: &str) -> Option<[&str; 4]> {
    let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    cells.collect::<Vec<_>>().try_into().ok()
}

/// Whether the page has a row for each fault, and for nothing else.
pub fn check(faults: &[&str]) -> anyhow::Result<()> {
    let page = fs::read_to_string(path())?;
    let [_, table, _] = parts(&page)?;
    let recorded: Vec<&str> = rows(table).into_iter().map(|[fault, ..]| fault).collect();
    ensure!(recorded == faults, "docs/reliability.md has other faults: QOSBPF_RECORD=1 writes it\n{recorded:#?}");
    Ok(())
}

/// Whether the page says of a fault what came of it now, but for what is another at each time.
pub fn says(fault: &str, row: &Row) -> anyhow::Result<()> {
    let page = fs::read_to_string(path())?;
    let [_, table, _] = parts(&page)?;
    let recorded = rows(table).into_iter().find(|[name, ..]| *name == fault);
    let recorded = recorded.with_context(|| format!("docs/reliability.md has no row of {fault}"))?;
    let now = line(fault, row)?;
    let now = cells(&now).with_context(|| format!("not four cells: {now}"))?;
    for (was, is) in recorded.into_iter().zip(now) {
        ensure!(
            is_same(was, is),
            "docs/reliability.md says of {fault}:\n  {was}\nand this was said now:\n  {is}\n\
             if it is meant so, QOSBPF_RECORD=1 cargo test -p qosbpf-tests --test faults writes the page anew"
        );
    }
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
    let date = Answer::of(Command::new("date").args(["-u", "+%Y-%m-%d"]))?.expect(0)?.stdout;
    let build = Answer::of(&mut binary::command(&["--version"])?)?.expect(0)?.stdout;
    let [release, date, build] = [&release, &date, &build].map(|text| text.trim());
    let mut text = format!("\nRecorded on {date}: {build} on Linux {release}.\n\n");
    text += "| fault | traffic | counters | what was said |\n| --- | --- | --- | --- |\n";
    for (fault, row) in rows {
        writeln!(text, "{}", line(fault, row)?)?;
    }
    Ok(text + "\n")
}

fn line(fault: &str, row: &Row) -> anyhow::Result<String> {
    let host = gethostname()?.into_string().unwrap_or_default();
    // What `status` begins with is the name of the machine that recorded the table.
    let said = row.said.strip_prefix(&format!("{host}  ")).map(|rest| format!("HOST  {rest}"));
    let said = said.as_ref().unwrap_or(&row.said).replace('|', "\\|");
    Ok(format!("| {fault} | {} | {} | {said} |", row.traffic, row.counters))
}
