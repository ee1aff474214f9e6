//! Strings that nothing closes. What follows one in its line is taken for a part of it, brackets too, so that all of the
//! rest would be read as something else than it is.

use toml_parser::ParseError;

use crate::policy::{
    diagnostic::{Finding, shown},
    source::{Source, Span},
};

/// Quotes of strings that may have several lines.
const LONG: [&str; 2] = ["\"\"\"", "'''"];

/// A string that should be closed in its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoiled {
    pub string: Span,
    /// The string, or what stands in brackets around it, from its begin in the same line.
    pub value: Span,
}

/// The string that an error is about, if nothing closes it: the parser misses the quote at its end.
pub(super) fn unclosed(error: &ParseError) -> Option<Span> {
    let (string, missed): (Span, Span) = (error.context()?.into(), error.unexpected()?.into());
    let is_string = error.description().starts_with("invalid ") && error.description().ends_with("string");
    (is_string && string.start < string.end && missed == Span::at(string.end)).then_some(string)
}

/// What to say of it.
pub(super) fn never_closed(string: Span, source: &Source) -> Finding {
    let text = source.text().get(string.start..string.end).unwrap_or_default();
    let help = match LONG.into_iter().find(|quotes| text.starts_with(quotes)) {
        Some(quotes) => format!("write a closing {quotes}"),
        None => format!("write a closing {} in this line", text.get(..1).unwrap_or_default()),
    };
    Finding::error(string, "this string is never closed").help(help)
}

/// What to say of a word that has a quote at its end alone.
pub(super) fn never_opened(word: Span, source: &Source) -> Finding {
    let before = source.text().get(..word.start).unwrap_or_default();
    let text = source.text().get(word.start..word.end).unwrap_or_default();
    let finding = Finding::error(word, "missing opening quote");
    match before.ends_with(['"', '\'']) {
        true => finding.help("the quote before it has closed a string: an earlier one in this line is missing"),
        false => finding.help(format!("write \"{}\"", shown(text.trim_matches(['"', '\''])))),
    }
}

/// Whether a string may go on over the end of its line.
pub(super) fn has_lines(text: &str, string: Span) -> bool {
    LONG.into_iter().any(|quotes| text.get(string.start..).is_some_and(|text| text.starts_with(quotes)))
}

/// The same text, each byte in its place, with blanks for values: what stands behind them can be read then.
pub(super) fn without(text: &str, values: &[Spoiled]) -> String {
    let mut whole = String::with_capacity(text.len());
    for Spoiled { value, .. } in values {
        whole += text.get(whole.len()..value.start).unwrap_or_default();
        whole.extend(std::iter::repeat_n(' ', value.end.saturating_sub(whole.len())));
    }
    whole += text.get(whole.len()..).unwrap_or_default();
    whole
}
