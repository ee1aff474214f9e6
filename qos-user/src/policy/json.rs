//! JSON (RFC 8259) as a tree. Places are found here; what is inside a string or a number is serde_json's to judge.

use crate::policy::{
    diagnostic::{Finding, Findings, quote},
    source::{Source, Span},
    tree::{Key, Kind, Node, Table},
};

/// How deep arrays and objects may be; a policy needs three.
const DEPTH: usize = 16;

/// Reads the whole text; what is wrong is in `findings`, and the tree has nothing then.
pub(super) fn read(source: &Source, findings: &mut Findings) -> Table {
    let text = source.text();
    let mut reader = Reader { text, at: text.len() - text.trim_start_matches('\u{feff}').len(), findings };
    match reader.document() {
        Ok(table) => table,
        Err(finding) => {
            findings.syntax(*finding);
            Table::default()
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    findings: &'a mut Findings,
}

type Read<T> = Result<T, Box<Finding>>;

impl<'a> Reader<'a> {
    fn document(&mut self) -> Read<Table> {
        self.blanks();
        let start = self.at;
        let kind = self.value(0)?.kind;
        self.blanks();
        if self.at < self.text.len() {
            return Err(self.unexpected("the end of the file"));
        }
        match kind {
            Kind::Table(table) => Ok(table),
            kind => fail(Span::at(start), format!("a policy is an object, not {}", kind.describe())),
        }
    }

    fn value(&mut self, depth: usize) -> Read<Node> {
        self.blanks();
        let start = self.at;
        let kind = match self.peek() {
            Some('{' | '[') if depth == DEPTH => {
                return fail(self.here(), format!("more than {DEPTH} levels of objects and arrays"));
            }
            Some('{') => self.object(depth)?,
            Some('[') => self.array(depth)?,
            Some('"') => Kind::String(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some(c) if c.is_ascii_alphabetic() => self.word()?,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Node { kind, span: Span { start, end: self.at } })
    }

    fn object(&mut self, depth: usize) -> Read<Kind> {
        let mut table = Table::default();
        self.items('}', |reader| {
            let start = reader.at;
            if reader.peek() != Some('"') {
                return Err(reader.unexpected("a key in quotes"));
            }
            let key = Key { text: reader.string()?, span: Span { start, end: reader.at } };
            reader.blanks();
            reader.take(':')?;
            let value = reader.value(depth + 1)?;
            reader.insert(&mut table, key, value);
            Ok(())
        })?;
        Ok(Kind::Table(table))
    }

    fn insert(&mut self, table: &mut Table, key: Key, value: Node) {
        let (span, title) = (key.span, format!("{} is defined twice", quote(&key.text)));
        if let Err(first) = table.insert(key, value) {
            self.findings.error(Finding::error(span, title).label("again here").also(first, "first here"));
        }
    }

    fn array(&mut self, depth: usize) -> Read<Kind> {
        let mut items = Vec::new();
        self.items(']', |reader| {
            items.push(reader.value(depth + 1)?);
            Ok(())
        })?;
        Ok(Kind::Array(items))
    }

    /// What is between the bracket here and `close`, separated by commas.
    fn items(&mut self, close: char, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.at += 1;
        self.blanks();
        if self.skip(close) {
            return Ok(());
        }
        loop {
            self.blanks();
            item(self)?;
            self.blanks();
            if self.skip(close) {
                return Ok(());
            }
            if !self.skip(',') {
                return Err(self.unexpected(&format!("a comma or `{close}`")));
            }
        }
    }

    fn string(&mut self) -> Read<String> {
        let rest = &self.text[self.at..];
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else {
            return fail(self.here(), "a string without its closing quote");
        };
        self.token(end + 1)
    }

    fn number(&mut self) -> Read<Kind> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let number: serde_json::Number = self.token(end)?;
        Ok(number.as_i64().map_or(Kind::Other("a number that is no integer"), Kind::Integer))
    }

    /// Takes `length` bytes and has serde_json read them.
    fn token<T: serde::de::DeserializeOwned>(&mut self, length: usize) -> Read<T> {
        let span = Span { start: self.at, end: self.at + length };
        self.at = span.end;
        serde_json::from_str(&self.text[span.start..span.end]).map_err(|error| {
            let message = error.to_string();
            // Its place is one within the token.
            let what = message.split(" at line ").next().unwrap_or_default();
            Box::new(Finding::error(span, what))
        })
    }

    fn word(&mut self) -> Read<Kind> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let kind = match &rest[..end] {
            "true" => Kind::Boolean(true),
            "false" => Kind::Boolean(false),
            "null" => Kind::Other("null"),
            word => {
                let span = Span { start: self.at, end: self.at + end };
                let title = format!("{} is not a value", quote(word));
                return Err(Box::new(Finding::error(span, title).help("strings need double quotes")));
            }
        };
        self.at += end;
        Ok(kind)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn take(&mut self, c: char) -> Read<()> {
        if self.skip(c) { Ok(()) } else { Err(self.unexpected(&format!("`{c}`"))) }
    }

    fn blanks(&mut self) {
        let rest: &'a str = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
    }

    fn here(&self) -> Span {
        Span { start: self.at, end: self.at + self.peek().map_or(0, char::len_utf8) }
    }

    fn unexpected(&self, wanted: &str) -> Box<Finding> {
        let found = self.peek().map_or("the end of the file".to_owned(), |c| quote(c.encode_utf8(&mut [0; 4])));
        Box::new(Finding::error(self.here(), format!("expected {wanted}, found {found}")))
    }
}

fn fail<T>(span: Span, title: impl Into<String>) -> Read<T> {
    Err(Box::new(Finding::error(span, title)))
}
