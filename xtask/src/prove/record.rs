//! The table of what was tried at length, in `docs/reliability.md`.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

use crate::markdown::{head, row};

/// Where it is.
pub const PAGE: &str = "docs/reliability.md";

const BEGIN: &str = "<!-- What was tried at length: written by cargo xtask prove. -->\n";
const END: &str = "<!-- The end of what was tried at length. -->\n";
const TITLES: [&str; 6] = ["proof", "what", "how often", "when", "commit", "took"];

/// One thing that was tried, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// What holds.
    pub what: String,
    /// How often it did.
    pub often: String,
}

/// When and of what a proof was run.
pub struct Run {
    /// As `2026-01-31`.
    pub date: String,
    /// As `uname -r` says it.
    pub kernel: String,
    /// Of the sources.
    pub commit: String,
    /// From its beginning to its end.
    pub seconds: u64,
}

/// A row; its cells in the order of the titles.
type Record = [String; TITLES.len()];

/// The page, its table read.
pub struct Page {
    before: String,
    records: Vec<Record>,
    behind: String,
}

impl Page {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// That there is no table in it, or one that `cargo xtask prove` has not written.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        Self::parse(&fs::read_to_string(root.join(PAGE)).context(PAGE)?)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{PAGE}: no line {BEGIN}"))?;
        let (table, behind) = rest.split_once(END).with_context(|| format!("{PAGE}: no line {END}"))?;
        let lines: Vec<&str> = table.lines().filter(|line| !line.is_empty()).collect();
        let titles = head(TITLES.map(str::to_owned));
        let Some(rows) = lines.strip_prefix(titles.lines().collect::<Vec<_>>().as_slice()) else {
            bail!("{PAGE}: the table of what was tried at length has other titles than {}", TITLES.join(", "));
        };
        let records =
            rows.iter().map(|line| read(line).with_context(|| format!("{PAGE}: no row of six cells: {line}")));
        let records = records.collect::<anyhow::Result<_>>()?;
        Ok(Self { before: before.to_owned(), records, behind: behind.to_owned() })
    }

    /// The commits of which a proof is recorded, each once.
    pub fn commits_of(&self, proof: &str) -> Vec<&str> {
        let mut commits: Vec<&str> = Vec::new();
        for [name, _, _, _, commit, _] in &self.records {
            if *name == quoted(proof) && !commits.contains(&commit.as_str()) {
                commits.push(commit);
            }
        }
        commits
    }

    /// With these rows in the place of those of the same proof.
    #[must_use]
    pub fn with(mut self, proof: &str, tried: &[Tried], run: &Run) -> Self {
        let name = quoted(proof);
        let at = self.records.iter().position(|record| record[0] == name);
        self.records.retain(|record| record[0] != name);
        let at = at.unwrap_or(self.records.len());
        let (when, took) = (format!("{}, Linux {}", run.date, run.kernel), format!("{} s", run.seconds));
        let rows = tried.iter().map(|Tried { what, often }| [&name, what, often, &when, &run.commit, &took]);
        drop(self.records.splice(at..at, rows.map(|cells| cells.map(Clone::clone))));
        self
    }

    fn text(&self) -> String {
        let rows: String = self.records.iter().map(|record| row(record.clone())).collect();
        format!("{}{BEGIN}\n{}{rows}\n{END}{}", self.before, head(TITLES.map(str::to_owned)), self.behind)
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// That it cannot be written.
    pub fn write(&self, root: &Path) -> anyhow::Result<()> {
        fs::write(root.join(PAGE), self.text()).context(PAGE)
    }
}

fn quoted(proof: &str) -> String {
    format!("`{proof}`")
}

fn read(line: &str) -> Option<Record> {
    let cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
    cells.map(str::to_owned).collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let table = "| proof | what | how often | when | commit | took |\n| --- | --- | --- | --- | --- | --- |\n\
            | `frames` | frames | 5 frames | 2026-01-30, Linux 6.1 | 111111111111 | 3 s |\n\
            | `kills` | attach | 7 kills | 2026-01-30, Linux 6.1 | 222222222222 | 9 s |\n\
            | `kills` | detach | 8 kills | 2026-01-30, Linux 6.1 | 222222222222 | 9 s |\n\
            | `later` | more | 1 time | 2026-01-30, Linux 6.1 | 333333333333 | 1 s |\n";
        format!("# A page\n\n{BEGIN}\n{table}\n{END}\n## More\n")
    }

    #[test]
    fn a_run_takes_the_place_of_the_earlier_one_and_of_nothing_else() -> anyhow::Result<()> {
        let tried = |what: &str, often: &str| Tried { what: what.to_owned(), often: often.to_owned() };
        let run = Run {
            date: "2026-02-01".to_owned(),
            kernel: "6.18.0".to_owned(),
            commit: "444444444444".to_owned(),
            seconds: 70,
        };
        let page = Page::parse(&page())?;
        assert_eq!(page.text(), self::page(), "what is read and not changed is written as it was");
        assert_eq!(page.commits_of("kills"), ["222222222222"]);
        let new = page.with("kills", &[tried("`attach`, XDP", "9 kills; 0 of 5 lost")], &run).text();
        let row = "| `kills` | `attach`, XDP | 9 kills; 0 of 5 lost | 2026-02-01, Linux 6.18.0 | 444444444444 | 70 s |";
        let rows: Vec<&str> = new.lines().filter(|line| line.starts_with("| `")).collect();
        let old = self::page();
        let old: Vec<&str> = old.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows, [old[0], row, old[3]]);
        assert_eq!(Page::parse(&new)?.commits_of("kills"), ["444444444444"]);
        let added = Page::parse(&new)?.with("new", &[tried("a", "b")], &run).text();
        assert!(
            added.contains("1 s |\n| `new` | a | b |") && added.ends_with(&format!("\n{END}\n## More\n")),
            "{added}"
        );
        Ok(())
    }

    #[test]
    fn a_table_that_somebody_has_changed_by_hand_is_not_read() {
        assert!(Page::parse(&page().replace("| how often |", "| so often |")).is_err());
        assert!(Page::parse(&page().replace("| 3 s |", "")).is_err());
        assert!(Page::parse("# A page\n").is_err());
    }
}
