//! The pages and rows of a hook, each kept once.

use std::collections::HashMap;

use qos_common::rules::{LEAF, MAX_PAGES, MAX_ROWS, Page, Row};

use super::{bits::Bits, classifier::Refusal};

/// What a lookup leads to: rules that the value does not rule out, and those of which it is one of two ways to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    pub rules: Bits,
    /// `None` for fields that have no such pair.
    pub either: Option<Bits>,
}

impl Class {
    pub const fn plain(rules: Bits) -> Self {
        Self { rules, either: None }
    }
}

/// Pages and rows under construction. The first of each is none.
pub struct Store {
    pages: Vec<Page>,
    rows: Vec<Row>,
    known_pages: HashMap<Page, u16>,
    known_rows: HashMap<Class, u16>,
}

impl Store {
    pub fn new() -> Self {
        Self {
            pages: vec![Page::new([0; 256])],
            rows: vec![Row::new([0; 16])],
            known_pages: HashMap::new(),
            known_rows: HashMap::new(),
        }
    }

    /// The entry for a class, which gets a row if it has none.
    pub fn leaf(&mut self, class: &Class) -> Result<u16, Refusal> {
        if let Some(number) = self.known_rows.get(class) {
            return Ok(LEAF | number);
        }
        let number = self.rows.len() as u16;
        self.rows.push(Row::new(class.rules.0));
        self.rows.extend(class.either.map(|either| Row::new(either.0)));
        if self.rows.len() > MAX_ROWS {
            return Err(Refusal::Rows);
        }
        self.known_rows.insert(*class, number);
        Ok(LEAF | number)
    }

    /// The number of a page with these entries.
    pub fn page(&mut self, entries: [u16; 256]) -> Result<u16, Refusal> {
        let page = Page::new(entries);
        if let Some(number) = self.known_pages.get(&page) {
            return Ok(*number);
        }
        let number = self.append(std::iter::once(page.clone()))?;
        self.known_pages.insert(page, number);
        Ok(number)
    }

    /// The number of the first of the pages that have these entries, one after the other.
    pub fn pages(&mut self, entries: &[u16]) -> Result<u16, Refusal> {
        self.append(entries.chunks(256).map(|chunk| {
            let mut page = [0; 256];
            page[..chunk.len()].copy_from_slice(chunk);
            Page::new(page)
        }))
    }

    fn append(&mut self, pages: impl Iterator<Item = Page>) -> Result<u16, Refusal> {
        let number = self.pages.len() as u16;
        self.pages.extend(pages);
        if self.pages.len() > MAX_PAGES { Err(Refusal::Pages) } else { Ok(number) }
    }

    pub fn finish(self) -> (Vec<Page>, Vec<Row>) {
        (self.pages, self.rows)
    }
}
