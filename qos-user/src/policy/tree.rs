//! What TOML and JSON have in common: tables, arrays and scalars, each with its place. All checks work on this.

use std::collections::HashMap;

use crate::policy::source::Span;

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub span: Span,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Kind {
    Table(Table),
    Array(Vec<Node>),
    String(String),
    Integer(i64),
    Boolean(bool),
    /// A kind for which a policy has no use, described as "a float" is.
    Other(&'static str),
    /// A value that could not be read, and was reported.
    Broken,
}

impl Kind {
    /// The kind with its article.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::Array(_) => "an array",
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Other(what) => what,
            Self::Broken => "something unreadable",
        }
    }
}

/// A key as it was meant, and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub text: String,
    pub span: Span,
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: Key,
    pub value: Node,
}

/// How a TOML table came to be, on which depends what may still be added to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Opened {
    /// `{ ... }`, in TOML and in JSON: complete.
    #[default]
    Inline,
    /// `[a.b]` makes `a`: a header `[a]` may follow.
    Implicit,
    /// By its own header.
    Header,
    /// `a.b = 1` makes `a`: further dotted keys may follow.
    Dotted,
}

/// Keys and values in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
    pub opened: Opened,
}

impl Table {
    pub fn opened(opened: Opened) -> Self {
        Self { opened, ..Self::default() }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).map(|at| &self.entries[*at])
    }

    /// Adds an entry, or says where the key is already.
    pub fn insert(&mut self, key: Key, value: Node) -> Result<(), Span> {
        if let Some(first) = self.get(&key.text) {
            return Err(first.key.span);
        }
        self.index.insert(key.text.clone(), self.entries.len());
        self.entries.push(Entry { key, value });
        Ok(())
    }

    /// The entry of a key, made by `make` if there is none.
    pub fn entry_or(&mut self, key: &Key, make: impl FnOnce() -> Kind) -> &mut Entry {
        let at = self.index.get(&key.text).copied().unwrap_or(self.entries.len());
        if at == self.entries.len() {
            self.index.insert(key.text.clone(), at);
            self.entries.push(Entry { key: key.clone(), value: Node { kind: make(), span: key.span } });
        }
        &mut self.entries[at]
    }
}
