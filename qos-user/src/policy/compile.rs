//! Remark tables: what they say, and the 64 entries that the kernel program reads.

mod bits;
pub mod classifier;
mod cover;
mod demand;
mod fields;
mod meters;
mod ranges;
mod store;
mod trie;

use qos_common::{ds::Dscp, policy::Table};

use crate::{
    policy::source::Span,
    snapshot::{EntryLabel, TableLabel},
};

/// A remark table (Cisco: table-map): a codepoint for each codepoint.
#[derive(Clone, Debug)]
pub struct RemarkTable {
    pub(super) name: String,
    pub(super) span: Span,
    /// All but `other`, in the order of the file.
    pub(super) entries: Vec<RemarkEntry>,
    pub(super) other: RemarkEntry,
}

/// One line of a table.
#[derive(Clone, Debug)]
pub(super) struct RemarkEntry {
    pub on: Match,
    pub to: Target,
    /// The key as written.
    pub key: String,
    pub span: Span,
    pub line: usize,
}

/// Which codepoints an entry is for.
#[derive(Clone, Debug)]
pub(super) enum Match {
    Dscp(Dscp),
    Class(Vec<Dscp>),
    Other,
}

/// What they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Keep,
    Mark(Dscp),
}

impl RemarkEntry {
    /// What a codepoint becomes.
    pub const fn apply(&self, from: Dscp) -> Dscp {
        match self.to {
            Target::Keep => from,
            Target::Mark(to) => to,
        }
    }
}

impl RemarkTable {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The table of the kernel program.
    #[must_use]
    pub fn compile(&self) -> Table {
        let mut table = Table::IDENTITY;
        for dscp in Dscp::all() {
            table.set(dscp, self.decides(dscp).apply(dscp));
        }
        table
    }

    /// The same for people: for each codepoint, in order, the entry that decides on it.
    #[must_use]
    pub fn label(&self) -> TableLabel {
        let entries = Dscp::all().map(|dscp| {
            let entry = self.decides(dscp);
            EntryLabel { key: entry.key.clone(), to: entry.apply(dscp), line: entry.line }
        });
        TableLabel { name: self.name.clone(), entries: entries.collect() }
    }

    /// The entry that decides on a codepoint: its own, else that of its class, else `other`.
    pub(super) fn decides(&self, dscp: Dscp) -> &RemarkEntry {
        self.decides_without(dscp, None)
    }

    /// The same as if the entry at `without` were not there.
    pub(super) fn decides_without(&self, dscp: Dscp, without: Option<usize>) -> &RemarkEntry {
        let entries = || self.entries.iter().enumerate().filter(|(at, _)| Some(*at) != without).map(|(_, entry)| entry);
        let own = entries().find(|entry| matches!(entry.on, Match::Dscp(on) if on == dscp));
        let class = || entries().find(|entry| matches!(&entry.on, Match::Class(members) if members.contains(&dscp)));
        own.or_else(class).unwrap_or(&self.other)
    }
}
