//! TOML as a tree. The grammar is toml_parser's; this is what its keys and headers mean, with every place kept and
//! every error reported, which a reader that stops at the first one could not do.

use std::borrow::Cow;

use toml_parser::{
    ErrorSink, Expected, ParseError,
    decoder::{Encoding, ScalarKind},
    parser::{Event, EventKind, EventReceiver, RecursionGuard, ValidateWhitespace, parse_document},
};

use crate::policy::{
    diagnostic::{Finding, Findings, quote},
    source::{Source, Span},
    tree::{Key, Kind, Node, Opened, Table},
};

/// How deep arrays and inline tables, and how long dotted keys may be; a policy needs three.
const DEPTH: u32 = 16;

/// Reads the whole text; what is wrong is in `findings`, the rest in the tree.
pub(super) fn read(source: &Source, findings: &mut Findings) -> Table {
    let text = toml_parser::Source::new(source.text());
    let mut builder = Builder::new(text);
    let mut errors = Vec::new();
    let mut guard = RecursionGuard::new(&mut builder, DEPTH);
    let mut receiver = ValidateWhitespace::new(&mut guard, text);
    parse_document(&text.lex().into_vec(), &mut receiver, &mut errors);
    report_syntax(&errors, builder.unclosed, source, findings);
    builder.conflicts.into_iter().for_each(|conflict| findings.error(conflict));
    builder.root
}

/// A bracket that nothing closes takes the rest of the file in: only it is reported then, not what follows from it.
fn report_syntax(errors: &[ParseError], unclosed: Option<usize>, source: &Source, findings: &mut Findings) {
    let end = unclosed.unwrap_or(usize::MAX);
    errors.iter().filter(|error| place(error).start < end).for_each(|error| findings.syntax(syntax(error, source)));
    if let Some(start) = unclosed {
        findings.syntax(Finding::error(Span { start, end: start + 1 }, "this bracket is never closed"));
    }
}

fn place(error: &ParseError) -> Span {
    error.unexpected().or_else(|| error.context()).map_or(Span::at(0), Span::from)
}

fn syntax(error: &ParseError, source: &Source) -> Finding {
    let span = place(error);
    let finding = Finding::error(span, error.description());
    match error.description() {
        "string values must be quoted" => {
            let word = source.text().get(span.start..span.end).unwrap_or_default();
            return finding.help(format!("write {}", quote(word).replace('`', "\"")));
        }
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
    /// Where the first bracket is that nothing closes.
    unclosed: Option<usize>,
}

struct Open {
    start: usize,
    /// The key under which it will be put.
    keys: Vec<Key>,
    kind: Kind,
}

/// Two keys that cannot both be, and where they are.
struct Conflict {
    key: Key,
    first: Span,
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
            unclosed: None,
        }
    }

    fn open(&mut self, span: toml_parser::Span, kind: Kind) {
        let keys = std::mem::take(&mut self.keys);
        self.open.push(Open { start: span.start(), keys, kind });
    }

    fn close(&mut self, span: toml_parser::Span) {
        let Some(open) = self.open.pop() else { return };
        self.keys = open.keys;
        let kind = if span.is_empty() {
            self.unclosed = Some(open.start);
            Kind::Broken
        } else {
            open.kind
        };
        self.value(Node { kind, span: Span { start: open.start, end: span.end() } });
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

/// The table below `table` to which `path` leads; tables that are not there yet are made.
fn descend<'t>(mut table: &'t mut Table, path: &[Key], by: Opened) -> Result<&'t mut Table, Conflict> {
    for key in path {
        let entry = table.entry_or(key, || Kind::Table(Table::opened(by)));
        let conflict = Conflict { key: key.clone(), first: entry.key.span };
        table = match inner_table(&mut entry.value.kind, by) {
            Some(table) if admits(table.opened, by) => table,
            _ => return Err(conflict),
        };
    }
    Ok(table)
}

/// The table that a value is, or for a header below `[[a]]` the last of its tables. An array in brackets is not told
/// from one of headers: no array in a policy may have a table in it, so that the file is wrong in any case.
fn inner_table(kind: &mut Kind, by: Opened) -> Option<&mut Table> {
    match kind {
        Kind::Table(table) => Some(table),
        Kind::Array(items) if by == Opened::Implicit => match &mut items.last_mut()?.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a table may be added to by a header below it, or by a dotted key.
fn admits(opened: Opened, by: Opened) -> bool {
    match opened {
        Opened::Inline => false,
        Opened::Dotted => true,
        Opened::Implicit | Opened::Header => by == Opened::Implicit,
    }
}

fn put(table: &mut Table, keys: &[Key], node: Node) -> Result<(), Conflict> {
    let Some((last, path)) = keys.split_last() else { return Ok(()) };
    let table = descend(table, path, Opened::Dotted)?;
    table.insert(last.clone(), node).map_err(|first| Conflict { key: last.clone(), first })
}

fn open_section(root: &mut Table, keys: &[Key]) -> Result<(), Conflict> {
    let Some((last, path)) = keys.split_last() else { return Ok(()) };
    let entry = descend(root, path, Opened::Implicit)?.entry_or(last, || Kind::Table(Table::opened(Opened::Implicit)));
    match &mut entry.value.kind {
        Kind::Table(table) if table.opened == Opened::Implicit => {
            table.opened = Opened::Header;
            entry.key.span = last.span;
            Ok(())
        }
        _ => Err(Conflict { key: last.clone(), first: entry.key.span }),
    }
}

fn open_array(root: &mut Table, keys: &[Key]) -> Result<(), Conflict> {
    let Some((last, path)) = keys.split_last() else { return Ok(()) };
    let entry = descend(root, path, Opened::Implicit)?.entry_or(last, || Kind::Array(Vec::new()));
    match &mut entry.value.kind {
        Kind::Array(items) => {
            items.push(Node { kind: Kind::Table(Table::opened(Opened::Header)), span: last.span });
            Ok(())
        }
        _ => Err(Conflict { key: last.clone(), first: entry.key.span }),
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
            let kind = scalar(raw, span, errors);
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
        ScalarKind::Boolean(_) => Kind::Other("a boolean"),
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
