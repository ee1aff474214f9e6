//! The text of a policy, and places in it.

use std::sync::Arc;

use crate::{
    error::Place,
    policy::diagnostic::{Finding, Report},
};

/// The most that a policy may have, in bytes: room for two sets of the most prefixes of the longest notation.
pub const MAX_BYTES: usize = 8 << 20;

/// A policy's text with the name of its file, cheap to clone.
#[derive(Clone, Debug)]
pub struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: String,
    text: String,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

/// A part of the text, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The first byte.
    pub start: usize,
    /// Behind the last one.
    pub end: usize,
}

impl Source {
    /// Takes the bytes of `file`.
    ///
    /// # Errors
    ///
    /// They are not UTF-8, there is nothing but blanks, or they are more than [`MAX_BYTES`].
    pub fn new(file: &str, bytes: Vec<u8>) -> Result<Self, Report> {
        let source = Self::new_or_empty(file, bytes)?;
        if source.text().trim_start_matches('\u{feff}').trim().is_empty() {
            let finding = Finding::error(Span::at(0), "the file is empty").help("a policy begins with `version = 1`");
            return Err(Report::of(source, finding));
        }
        Ok(source)
    }

    /// The same of a file that need not say anything.
    pub(super) fn new_or_empty(file: &str, bytes: Vec<u8>) -> Result<Self, Report> {
        if bytes.len() > MAX_BYTES {
            let title = format!("the file has {} bytes, and a policy at most {MAX_BYTES}", bytes.len());
            return Err(Report::of(Self::unchecked(file, String::new()), Finding::error(Span::at(0), title)));
        }
        Self::decode(file, bytes)
    }

    fn decode(file: &str, bytes: Vec<u8>) -> Result<Self, Report> {
        String::from_utf8(bytes).map(|text| Self::unchecked(file, text)).map_err(|error| {
            let start = error.utf8_error().valid_up_to();
            // Up to `start` the readable form has the same bytes, and there it has one replacement character.
            let readable = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let span = Span { start, end: start + char::REPLACEMENT_CHARACTER.len_utf8() };
            let finding = Finding::error(span, "the file is not UTF-8").label("this byte is not part of a character");
            Report::of(Self::unchecked(file, readable), finding)
        })
    }

    pub(super) fn unchecked(file: &str, text: String) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self(Arc::new(Inner { file: file.to_owned(), text, lines }))
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The file's name as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// Line and column of a byte.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.line(offset);
        let before = self.text().get(self.0.lines[line - 1]..offset).unwrap_or_default();
        Place { file: self.file().to_owned(), line, column: before.chars().count() + 1 }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.0.lines.partition_point(|start| *start <= offset)
    }

    /// Where a line is, without its end; `line` counts from 1.
    pub(super) fn line_span(&self, line: usize) -> Span {
        let start = self.0.lines[line - 1];
        let end = self.0.lines.get(line).map_or(self.text().len(), |next| next - 1);
        Span { start, end }
    }
}

impl Span {
    /// No bytes, at a place.
    pub(super) const fn at(offset: usize) -> Self {
        Self { start: offset, end: offset }
    }
}
