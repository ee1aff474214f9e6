//! PASS or FAIL, a line a check, and the sum.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use crate::{cmd::Context, error::Exit};

const PASS: Style = AnsiColor::Green.on_default().bold();
const FAIL: Style = AnsiColor::Red.on_default().bold();
/// The column in which what was found begins.
const FOUND: usize = 48;

/// What was checked so far.
#[derive(Debug)]
pub struct Scoreboard {
    context: Context,
    passed: usize,
    failed: usize,
}

impl Scoreboard {
    /// None yet.
    pub fn new(context: &Context) -> Self {
        Self { context: context.clone(), passed: 0, failed: 0 }
    }

    /// What is about to happen.
    ///
    /// # Errors
    ///
    /// That nobody reads any more; so with all that prints.
    pub fn introduce(&self, picture: &str, prefix: &str) -> anyhow::Result<()> {
        let title = self.styled(Style::new().bold(), "qosbpf demo: three network namespaces, removed at the end");
        self.context.print(&format!("{title}\n{picture}\nqosbpf below is: {prefix}\n"))
    }

    /// The heading of a step.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn begin(&self, number: usize, title: &str) -> anyhow::Result<()> {
        let heading = self.styled(Style::new().bold(), &format!("{number}. {title}"));
        self.context.print(&format!("\n{heading}\n"))
    }

    /// A remark between commands and checks.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn note(&self, text: &str) -> anyhow::Result<()> {
        self.context.print(&format!("{text}\n"))
    }

    /// Whether it is as it should be, what that is, and what was found.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn check(&mut self, is_right: bool, what: &str, found: impl Display) -> anyhow::Result<()> {
        let word = if is_right { self.styled(PASS, "PASS") } else { self.styled(FAIL, "FAIL") };
        *(if is_right { &mut self.passed } else { &mut self.failed }) += 1;
        self.context.print(&format!("{word}  {what:<FOUND$}  {found}\n"))
    }

    /// Whether the number is the one that it should be.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn count(&mut self, what: &str, found: u64, wanted: u64) -> anyhow::Result<()> {
        self.check(found == wanted, what, format_args!("{found} of {wanted}"))
    }

    /// That the lab stands, and how to go on.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn tell(&self, around: &[String], removal: &[String]) -> anyhow::Result<()> {
        let list = |lines: &[String]| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
        self.context.print(&format!(
            "\nThe lab stands, attached and with its policy. Look around:\n{}Remove it:\n{}",
            list(around),
            list(removal)
        ))
    }

    /// The last line, and how the process ends.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn finish(self) -> anyhow::Result<Exit> {
        let (style, word, exit) = if self.failed == 0 { (PASS, "PASS", Exit::Done) } else { (FAIL, "FAIL", Exit::No) };
        let word = self.styled(style, word);
        self.context.print(&format!("\n{word}  {} passed, {} failed\n", self.passed, self.failed))?;
        Ok(exit)
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.context.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
