//! The policy: parse, check, compile. Pure: no file, no clock, no kernel.
//!
//! [`Source`] is the text, [`parse`] reads it as TOML or JSON into one kind of tree, checks all of it, and returns a
//! [`Policy`] or a [`Report`] with every mistake. A policy says which remark table is in force on which interface and
//! direction ([`Policy::bind`]), and each table compiles to the 64 entries that the kernel program reads
//! ([`RemarkTable::compile`]).
//!
//! What is not here: reading files, and anything about interfaces that exist.

mod check;
mod classes;
mod compile;
mod diagnostic;
mod hash;
mod interfaces;
#[expect(clippy::string_slice, reason = "every offset is that of a character just read")]
mod json;
mod lint;
pub mod model;
pub mod packet;
mod render;
mod source;
mod tables;
#[cfg(test)]
mod tests;
mod toml;
mod tree;
pub mod walk;
mod words;

use qos_common::{ds::Dscp, policy::Local};

use self::{check::Checked, diagnostic::Findings, interfaces::Interface};
pub use self::{
    compile::{RemarkTable, rules},
    diagnostic::{Diagnostic, MAX_DIAGNOSTICS, Report, Severity},
    source::{MAX_BYTES, Source},
};
use crate::{hook::Direction, snapshot::PolicyLabel};

/// The version of the policy language that is read.
pub const VERSION: u32 = 1;

/// A policy without mistakes: the whole statement for one network namespace.
#[derive(Clone, Debug)]
pub struct Policy {
    name: String,
    hash: String,
    file: String,
    classes: Vec<(String, Vec<Dscp>)>,
    interfaces: Vec<Interface>,
    tables: Vec<RemarkTable>,
    warnings: Report,
}

/// What is in force at one hook.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The table.
    pub table: &'a RemarkTable,
    /// Which of this host's own packets it does not touch; it matters at egress.
    pub local: Local,
    /// The interface's name or the glob in the file.
    pub pattern: &'a str,
    /// The line of the file that binds the table.
    pub line: usize,
}

/// One line of the file that binds a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The interface's name or the glob in the file.
    pub pattern: &'a str,
    /// The direction.
    pub direction: Direction,
    /// The table's name.
    pub table: &'a str,
    /// The line.
    pub line: usize,
}

impl Binding<'_> {
    /// Whether the pattern is a glob, which an interface need not exist for.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.pattern.ends_with('*')
    }
}

/// Reads a policy: JSON if the first character that is not blank is `{`, else TOML.
///
/// # Errors
///
/// The report has every mistake in the file, up to [`MAX_DIAGNOSTICS`].
pub fn parse(source: &Source) -> Result<Policy, Report> {
    let mut findings = Findings::new(source.clone());
    let json = source.text().trim_start_matches('\u{feff}').trim_start().starts_with('{');
    let tree = if json { json::read(source, &mut findings) } else { toml::read(source, &mut findings) };
    let checked = check::check(source, &tree, &mut findings);
    findings.into_result().map(|()| Policy::new(source, checked))
}

impl Policy {
    fn new(source: &Source, checked: Checked) -> Self {
        let warnings = lint::warnings(source, &checked);
        let Checked { name, classes, interfaces, tables } = checked;
        Self {
            hash: hash::hash(&name, &classes, &interfaces, &tables),
            name,
            file: source.file().to_owned(),
            classes: classes.into_iter().map(|class| (class.name, class.dscps)).collect(),
            interfaces,
            tables,
            warnings,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Eight hexadecimal digits that stand for what it means: the same in TOML and JSON, in any order and notation.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Classes and their codepoints, in the order of the file; no codepoint is in two.
    #[must_use]
    pub fn classes(&self) -> &[(String, Vec<Dscp>)] {
        &self.classes
    }

    /// The remark tables, in the order of the file.
    #[must_use]
    pub fn tables(&self) -> &[RemarkTable] {
        &self.tables
    }

    /// What is in force at a hook, or `None` if the policy binds nothing there.
    ///
    /// An exact name beats the longest glob, and the section that wins is whole: a direction that it leaves out is not
    /// taken from another one.
    #[must_use]
    pub fn bind(&self, interface: &str, direction: Direction) -> Option<Bound<'_>> {
        let ranked = self.interfaces.iter().filter_map(|section| Some((section.rank(interface)?, section)));
        let (_, section) = ranked.max_by_key(|(rank, _)| *rank)?;
        let bound = section.bound(direction)?;
        let table = self.tables.iter().find(|table| table.name == bound.table)?;
        Some(Bound { table, local: section.local, pattern: &section.pattern, line: bound.line })
    }

    /// Every line of the file that binds a table, section by section, ingress first.
    pub fn bindings(&self) -> impl Iterator<Item = Binding<'_>> {
        self.interfaces.iter().flat_map(|section| {
            Direction::BOTH.into_iter().filter_map(|direction| {
                let bound = section.bound(direction)?;
                Some(Binding { pattern: &section.pattern, direction, table: &bound.table, line: bound.line })
            })
        })
    }

    /// The policy as snapshots have it; `saved`: whether it is the one that a reboot brings back.
    #[must_use]
    pub fn label(&self, saved: bool) -> PolicyLabel {
        PolicyLabel {
            name: self.name.clone(),
            hash: self.hash.clone(),
            saved,
            file: self.file.clone(),
            classes: self.classes.clone(),
        }
    }

    /// What is no error but hardly meant.
    #[must_use]
    pub const fn warnings(&self) -> &Report {
        &self.warnings
    }
}
