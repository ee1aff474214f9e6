//! What is wrong with a policy: every mistake of one run, each with its place.

use crate::{
    error::{Exit, Failure, Place},
    policy::{
        render,
        source::{Source, Span},
    },
    printable::is_printable,
};

/// How many diagnostics a report has at most; the others are only counted.
pub const MAX_DIAGNOSTICS: usize = 50;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The policy cannot be used.
    Error,
    /// It can, but hardly says what was meant.
    Warning,
}

/// One mistake, before its place is known as a line and a column.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub severity: Severity,
    pub title: String,
    pub span: Span,
    pub label: Option<String>,
    pub also: Option<(Span, String)>,
    pub help: Option<String>,
}

impl Finding {
    pub fn error(span: Span, title: impl Into<String>) -> Self {
        Self { severity: Severity::Error, title: title.into(), span, label: None, also: None, help: None }
    }

    pub fn warning(span: Span, title: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, title) }
    }

    /// What to write under the caret.
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// A second place that has to do with it.
    pub fn also(self, span: Span, label: impl Into<String>) -> Self {
        Self { also: Some((span, label.into())), ..self }
    }

    /// What to do about it.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same with a "did you mean", if there is something near.
    pub fn suggest(self, nearest: Option<&str>) -> Self {
        match nearest {
            Some(word) => self.help(format!("did you mean `{word}`?")),
            None => self,
        }
    }
}

/// One mistake.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub(super) finding: Finding,
    place: Place,
}

impl Diagnostic {
    /// Error or warning.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.finding.severity
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.finding.title
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.finding.help.as_deref()
    }

    /// Where.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }
}

/// Diagnostics of one file in the order of the file, at most [`MAX_DIAGNOSTICS`].
#[derive(Clone, Debug)]
pub struct Report {
    source: Source,
    diagnostics: Vec<Diagnostic>,
    more: usize,
}

impl Report {
    pub(super) const fn new(source: Source) -> Self {
        Self { source, diagnostics: Vec::new(), more: 0 }
    }

    pub(super) fn of(source: Source, finding: Finding) -> Self {
        let mut report = Self::new(source);
        report.push(finding);
        report
    }

    pub(super) fn push(&mut self, finding: Finding) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            let place = self.source.place(finding.span.start);
            self.diagnostics.push(Diagnostic { finding, place });
        } else {
            self.more += 1;
        }
    }

    pub(super) fn sort(&mut self) {
        self.diagnostics.sort_by_key(|diagnostic| diagnostic.finding.span.start);
    }

    /// The diagnostics, in the order of the file.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many there are beyond [`diagnostics`](Self::diagnostics).
    #[must_use]
    pub const fn more(&self) -> usize {
        self.more
    }

    /// The file's name as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        self.source.file()
    }

    /// The same of a text that people are to know by another name than its file's; the file of each place stays that.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        let source = Source::unchecked(name, self.source.text().to_owned());
        Self { source, ..self }
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// What it says beyond an earlier one of the same file; `None` if that is nothing.
    #[must_use]
    pub fn beyond(mut self, earlier: &Self) -> Option<Self> {
        let as_said = |found: &Diagnostic| (found.finding.title.clone(), found.place.clone());
        let said: Vec<_> = earlier.diagnostics.iter().map(as_said).collect();
        self.diagnostics.retain(|found| !said.contains(&as_said(found)));
        self.more = self.more.saturating_sub(earlier.more);
        (!self.is_empty() || self.more > 0).then_some(self)
    }

    /// All of it for people: file, line and column, and a caret under the word. It ends with a newline.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let mut out = Vec::from_iter(self.diagnostics.iter().map(|found| render::render(&self.source, found, color)));
        if self.more > 0 {
            out.push(format!("and {} more\n", self.more));
        }
        out.join("\n")
    }

    /// Each diagnostic as the error of a command, with the code `policy`.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        let failure = |Diagnostic { finding, place }: &Diagnostic| Failure {
            exit: Exit::Usage,
            hint: finding.help.clone(),
            place: Some(Box::new(place.clone())),
            ..Failure::new("policy", &finding.title)
        };
        self.diagnostics.iter().map(failure).collect()
    }
}

/// The errors found so far, and whether something of the text is lost.
pub(super) struct Findings {
    report: Report,
    broken: bool,
}

impl Findings {
    pub const fn new(source: Source) -> Self {
        Self { report: Report::new(source), broken: false }
    }

    /// The text is not TOML or JSON, so that something of it is not in the tree.
    pub fn syntax(&mut self, finding: Finding) {
        self.hides_something();
        self.report.push(finding);
    }

    /// What is named there may be in what could not be read.
    pub const fn hides_something(&mut self) {
        self.broken = true;
    }

    /// A mistake.
    pub fn error(&mut self, finding: Finding) {
        self.report.push(finding);
    }

    /// Mistakes, if there are any.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.error(finding));
    }

    /// Something that should be there is not: said only if no syntax error can have hidden it.
    pub fn missing(&mut self, finding: Finding) {
        if !self.broken {
            self.report.push(finding);
        }
    }

    /// `Err` if there was any.
    pub fn into_result(mut self) -> Result<(), Report> {
        self.report.sort();
        if self.report.is_empty() { Ok(()) } else { Err(self.report) }
    }
}

/// A word of the file as it is quoted in a message.
pub(super) fn quote(word: &str) -> String {
    format!("`{}`", shown(word))
}

/// A word of the file as it may be shown: short, and without control characters.
pub(super) fn shown(word: &str) -> String {
    const MOST: usize = 40;
    let mut chars = word.chars();
    let shown: String = chars.by_ref().take(MOST).map(printable).collect();
    let rest = if chars.next().is_some() { "..." } else { "" };
    format!("{shown}{rest}")
}

fn printable(c: char) -> char {
    if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER }
}
