//! What is said of a text that is not TOML.

use std::collections::HashSet;

use toml_parser::{Expected, ParseError};

use super::{
    Reading,
    strings::{self, Spoiled},
};
use crate::policy::{
    diagnostic::{Finding, Findings, quote, shown},
    source::{Source, Span},
    tree::Table,
    words::nearest,
};

impl Reading {
    /// Says what is wrong; `unclosed` are the values that were left out.
    pub(super) fn report(self, unclosed: &[Spoiled], source: &Source, findings: &mut Findings) -> Table {
        unclosed.iter().for_each(|spoiled| findings.syntax(strings::never_closed(spoiled.string, source)));
        // In their lines there is something missing now.
        let lines: HashSet<usize> = unclosed.iter().map(|spoiled| source.line(spoiled.string.start)).collect();
        let errors = self.errors.into_iter().filter(|error| !lines.contains(&source.line(place(error).start)));
        let said = errors_to_say(&errors.collect::<Vec<_>>(), &self.brackets);
        for error in said {
            let finding = syntax(&error, source);
            // What is lost with a value is that value alone.
            if is_within(place(&error).start, &self.unread) {
                findings.error(finding)
            } else {
                findings.syntax(finding)
            }
        }
        for Span { start, .. } in self.brackets {
            findings.syntax(Finding::error(Span { start, end: start + 1 }, "this bracket is never closed"));
        }
        self.conflicts.into_iter().for_each(|conflict| findings.error(conflict));
        self.root
    }
}

/// A bracket that nothing closes takes in what is behind it: only it is reported then, not what follows from it.
fn errors_to_say(errors: &[ParseError], unclosed: &[Span]) -> Vec<ParseError> {
    let taken_in = |at: usize| {
        let before = unclosed.partition_point(|span| span.start < at);
        before > 0 && at <= unclosed[before - 1].end
    };
    let unopened: HashSet<usize> = errors.iter().filter_map(unopened).map(|span| span.start).collect();
    // A word behind a string that is closed too early has no comma before it either.
    let follows =
        |error: &ParseError| error.description().starts_with("missing comma") && unopened.contains(&place(error).start);
    errors.iter().filter(|error| !taken_in(place(error).start) && !follows(error)).cloned().collect()
}

/// Whether a place is in one of these, which are in the order of the text.
fn is_within(at: usize, spans: &[Span]) -> bool {
    let before = spans.partition_point(|span| span.start <= at);
    before > 0 && at < spans[before - 1].end
}

fn place(error: &ParseError) -> Span {
    error.unexpected().or_else(|| error.context()).map_or(Span::at(0), Span::from)
}

/// The word that has a quote at its end alone.
fn unopened(error: &ParseError) -> Option<Span> {
    (error.description() == "missing opening quote").then(|| error.context().map(Span::from))?
}

/// What word processors and web pages make of quotes.
const TYPOGRAPHIC: [char; 6] = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{201a}'];

fn syntax(error: &ParseError, source: &Source) -> Finding {
    if let Some(string) = strings::unclosed(error) {
        return strings::never_closed(string, source);
    }
    if let Some(word) = unopened(error) {
        return strings::never_opened(word, source);
    }
    let span = place(error);
    let word = source.text().get(span.start..span.end).unwrap_or_default();
    const UNQUOTED: &str = "string values must be quoted";
    let description = match error.description() {
        // What begins with a letter of true or false is taken for one of them.
        "invalid boolean" if nearest(word, ["true", "false"]).is_none() => UNQUOTED,
        description => description,
    };
    let finding = Finding::error(span, description);
    match description {
        UNQUOTED => return finding.help(format!("write \"{}\"", shown(word.trim_matches(TYPOGRAPHIC)))),
        "invalid unquoted key" => {
            return finding.help("a name with a dot, a star or an equals sign needs quotes: [interface.\"ppp*\"]");
        }
        _ => {}
    }
    match error.expected() {
        Some(expected) if !expected.is_empty() => finding.label(format!("expected {}", list(expected))),
        _ => finding,
    }
}

fn list(expected: &[Expected]) -> String {
    let words = expected.iter().map(|expected| match expected {
        Expected::Literal("\n") => "a newline".to_owned(),
        Expected::Literal(text) => quote(text),
        Expected::Description(text) => (*text).to_owned(),
        _ => "something else".to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}
