//! TOML as a tree. The grammar is toml_parser's; this is what its keys and headers mean, with every place kept and
//! every error reported, which a reader that stops at the first one could not do.

mod report;
mod sections;
mod strings;

use std::borrow::Cow;

use toml_parser::{
    ErrorSink, ParseError,
    decoder::{Encoding, ScalarKind},
    parser::{Event, EventKind, EventReceiver, RecursionGuard, ValidateWhitespace, parse_document},
};

use self::{
    sections::{Conflict, descend, open_array, open_section, put},
    strings::Spoiled,
};
use crate::policy::{
    diagnostic::{Finding, Findings, quote},
    source::{Source, Span},
    tree::{Key, Kind, Node, Opened, Table},
};

/// How deep arrays and inline tables, and how long dotted keys may be; a policy needs three.
const DEPTH: u32 = 16;

/// How often the text is read again without strings that nothing closes.
const MOST_READINGS: usize = 8;

/// Reads the whole text; what is wrong is in `findings`, the rest in the tree.
pub(super) fn read(source: &Source, findings: &mut Findings) -> Table {
    let mut text = Cow::Borrowed(source.text());
    let mut unclosed = Vec::new();
    for _ in 1..MOST_READINGS {
        let reading = Reading::of(&text);
        if reading.spoiled.is_empty() {
            return reading.report(&unclosed, source, findings);
        }
        text = Cow::Owned(strings::without(&text, &reading.spoiled));
        unclosed.extend(reading.spoiled);
    }
    Reading::of(&text).report(&unclosed, source, findings)
}

/// What the parser makes of a text.
struct Reading {
    root: Table,
    errors: Vec<ParseError>,
    conflicts: Vec<Finding>,
    /// The brackets that nothing closes.
    brackets: Vec<Span>,
    /// The scalars that could not be read, in the order of the text; their keys are in the tree.
    unread: Vec<Span>,
    /// Values with a string in them that should be closed in their line.
    spoiled: Vec<Spoiled>,
}

impl Reading {
    fn of(text: &str) -> Self {
        let text = toml_parser::Source::new(text);
        let mut builder = Builder::new(text);
        let mut errors = Vec::new();
        let mut guard = RecursionGuard::new(&mut builder, DEPTH);
        let mut receiver = ValidateWhitespace::new(&mut guard, text);
        parse_document(&text.lex().into_vec(), &mut receiver, &mut errors);
        let Builder { root, conflicts, unclosed: brackets, unread, spoiled, .. } = builder;
        Self { root, errors, conflicts, brackets, unread, spoiled }
    }
}

impl From<toml_parser::Span> for Span {
    fn from(span: toml_parser::Span) -> Self {
        Self { start: span.start(), end: span.end() }
    }
}

/// Takes the parser's events in, and puts each value where it belongs.
struct Builder<'s> {
    text: toml_parser::Source<'s>,
    root: Table,
    /// The table that the last header opened; `None` if that was refused.
    section: Option<Vec<Key>>,
    /// The parts of the key that is being read.
    keys: Vec<Key>,
    /// Arrays and inline tables that are still open.
    open: Vec<Open>,
    conflicts: Vec<Finding>,
    /// The brackets that nothing closes, each to where the parser gave up; none within another.
    unclosed: Vec<Span>,
    unread: Vec<Span>,
    spoiled: Vec<Spoiled>,
}

struct Open {
    start: usize,
    /// The key under which it will be put.
    keys: Vec<Key>,
    kind: Kind,
}

impl<'s> Builder<'s> {
    fn new(text: toml_parser::Source<'s>) -> Self {
        Self {
            text,
            root: Table::opened(Opened::Header),
            section: Some(Vec::new()),
            keys: Vec::new(),
            open: Vec::new(),
            conflicts: Vec::new(),
            unclosed: Vec::new(),
            unread: Vec::new(),
            spoiled: Vec::new(),
        }
    }

    /// Notes that a string is not closed, and which value of its line has it.
    fn spoil(&mut self, string: Span) {
        let text = self.text.input();
        let in_line = |start: &usize| !text.get(*start..string.start).unwrap_or_default().contains('\n');
        let start = self.open.iter().map(|open| open.start).find(in_line).unwrap_or(string.start);
        if !strings::has_lines(text, string) {
            self.spoiled.push(Spoiled { string, value: Span { start, end: string.end } });
        }
    }

    fn open(&mut self, span: toml_parser::Span, kind: Kind) {
        let keys = std::mem::take(&mut self.keys);
        self.open.push(Open { start: span.start(), keys, kind });
    }

    fn close(&mut self, span: toml_parser::Span) {
        let Some(open) = self.open.pop() else { return };
        self.keys = open.keys;
        let whole = Span { start: open.start, end: span.end() };
        // The parser makes up an end that is not there, so that every begin has one.
        let closed = !span.is_empty();
        if !closed && self.open.is_empty() {
            self.unclosed.push(whole);
        }
        self.value(Node { kind: if closed { open.kind } else { Kind::Broken }, span: whole });
    }

    fn value(&mut self, node: Node) {
        let keys = std::mem::take(&mut self.keys);
        let put = match self.open.last_mut().map(|open| &mut open.kind) {
            Some(Kind::Array(items)) => {
                items.push(node);
                Ok(())
            }
            Some(Kind::Table(table)) => put(table, &keys, node),
            Some(_) => Ok(()),
            None => match &self.section {
                Some(section) => {
                    descend(&mut self.root, section, Opened::Implicit).and_then(|table| put(table, &keys, node))
                }
                None => Ok(()),
            },
        };
        self.refuse(put);
    }

    fn header(&mut self, array: bool) {
        let keys = std::mem::take(&mut self.keys);
        let opened = if array { open_array(&mut self.root, &keys) } else { open_section(&mut self.root, &keys) };
        self.section = (opened.is_ok() && !keys.is_empty()).then_some(keys);
        self.refuse(opened);
    }

    fn refuse(&mut self, result: Result<(), Conflict>) {
        if let Err(Conflict { key, first }) = result {
            let title = format!("{} is defined twice", quote(&key.text));
            self.conflicts.push(Finding::error(key.span, title).label("again here").also(first, "first here"));
        }
    }

    /// Forgets what a syntax error left open; the header that begins here may be wrong itself.
    fn restart(&mut self) {
        self.section = None;
        self.keys.clear();
        self.open.clear();
    }
}

impl EventReceiver for Builder<'_> {
    fn std_table_open(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.restart();
    }

    fn std_table_close(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.header(false);
    }

    fn array_table_open(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.restart();
    }

    fn array_table_close(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.header(true);
    }

    fn inline_table_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span, Kind::Table(Table::default()));
        true
    }

    fn inline_table_close(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.close(span);
    }

    fn array_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) -> bool {
        self.open(span, Kind::Array(Vec::new()));
        true
    }

    fn array_close(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.close(span);
    }

    fn simple_key(&mut self, span: toml_parser::Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        let mut text = Cow::default();
        if let Some(raw) = self.text.get(Event::new_unchecked(EventKind::SimpleKey, encoding, span)) {
            raw.decode_key(&mut text, errors);
        }
        if self.keys.len() < DEPTH as usize {
            self.keys.push(Key { text: text.into_owned(), span: span.into() });
        } else {
            errors.report_error(ParseError::new("too many dots in a key").with_unexpected(span));
        }
    }

    fn scalar(&mut self, span: toml_parser::Span, encoding: Option<Encoding>, errors: &mut dyn ErrorSink) {
        let event = Event::new_unchecked(EventKind::Scalar, encoding, span);
        if let Some(raw) = self.text.get(event) {
            let mut string = None;
            let kind = scalar(raw, span, &mut |error: ParseError| {
                string = string.or_else(|| strings::unclosed(&error));
                errors.report_error(error);
            });
            string.into_iter().for_each(|string| self.spoil(string));
            if string.is_none() && matches!(kind, Kind::Broken) && !span.is_empty() {
                self.unread.push(span.into());
            }
            self.value(Node { kind, span: span.into() });
        }
    }

    fn newline(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        // A key without a value ends here, and was reported.
        if self.open.is_empty() {
            self.keys.clear();
        }
    }
}

/// Decodes a scalar; one with an error in it is [`Kind::Broken`].
fn scalar(raw: toml_parser::Raw<'_>, span: toml_parser::Span, errors: &mut dyn ErrorSink) -> Kind {
    if raw.is_empty() {
        errors.report_error(ParseError::new("a value is missing").with_unexpected(span));
        return Kind::Broken;
    }
    let mut text = Cow::default();
    let mut broken = false;
    let kind = raw.decode_scalar(&mut text, &mut |error: ParseError| {
        broken = true;
        errors.report_error(error);
    });
    match kind {
        _ if broken => Kind::Broken,
        ScalarKind::String => Kind::String(text.into_owned()),
        ScalarKind::Boolean(value) => Kind::Boolean(value),
        ScalarKind::DateTime => Kind::Other("a date"),
        ScalarKind::Float => Kind::Other("a float"),
        ScalarKind::Integer(radix) => i64::from_str_radix(&text, radix.value()).map_or_else(
            |_too_large| {
                errors.report_error(ParseError::new("the integer has more than 64 bits").with_unexpected(span));
                Kind::Broken
            },
            Kind::Integer,
        ),
    }
}
