//! The policy: parse, check, compile. Pure: no file, no clock, no kernel.
//!
//! [`Source`] is the text, [`parse`] reads it as TOML or JSON into one kind of tree, checks all of it, and returns a
//! [`Policy`] or a [`Report`] with every mistake. A policy says which remark table is in force on which interface and
//! direction ([`Policy::bind`]), and each table compiles to the 64 entries that the kernel program reads
//! ([`RemarkTable::compile`]). Its rules ([`Policy::rules_for`]) are in [`model`], and [`walk`] is what they mean.
//!
//! What is not here: reading files, and anything about interfaces that exist.

mod addresses;
mod bounds;
mod canonical;
mod check;
mod classes;
mod compile;
mod diagnostic;
mod dissect;
mod expectations;
mod frame;
mod hash;
pub mod import;
mod interfaces;
#[expect(clippy::string_slice, reason = "every offset is that of a character just read")]
mod json;
mod limits;
mod lint;
mod meant;
mod names;
mod notation;
pub mod packet;
mod places;
mod ranges;
mod render;
mod rules;
mod schema;
mod sets;
pub mod settings;
mod shadow;
mod source;
mod tables;
#[cfg(test)]
mod tests;
mod toml;
mod tree;
mod units;
pub mod walk;
mod words;

use qos_common::{ds::Dscp, policy::Local};

use self::{check::Checked, diagnostic::Findings, interfaces::Interface, model::Rule};
pub use self::{
    compile::{RemarkTable, classifier},
    diagnostic::{Diagnostic, MAX_DIAGNOSTICS, Report, Severity},
    expectations::PolicyTest,
    frame::MOST_BYTES,
    limits::{MAX_COUNT_RULES, MAX_RULES},
    schema::schema,
    sets::MAX_PREFIXES,
    shadow::{never_asked, shadowed_by},
    source::{MAX_BYTES, Source},
    words::nearest,
};
pub use crate::rules::model;
use crate::rules::protocols;
use crate::{
    hook::{Direction, Layer, Via},
    snapshot::PolicyLabel,
};

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
    rules: Vec<Rule>,
    tests: Vec<PolicyTest>,
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

/// One hook, or glob of hooks, that the file names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The interface's name or the glob in the file.
    pub pattern: &'a str,
    /// The direction.
    pub direction: Direction,
    /// The table's name; `None` where only rules name it.
    pub table: Option<&'a str>,
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

/// The places that a rule names, one for each direction.
fn places(rule: &Rule) -> impl Iterator<Item = Binding<'_>> {
    let named = rule.on.iter().filter(|place| place.pattern != "*");
    named.flat_map(|place| {
        let both = Direction::BOTH.into_iter();
        let asked = both.filter(|direction| place.direction.is_none_or(|asked| asked == *direction));
        asked.map(|direction| Binding { pattern: &place.pattern, direction, table: None, line: rule.line })
    })
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
        let hash = hash::hash(&checked);
        let Checked { name, classes, interfaces, tables, rules, tests, .. } = checked;
        Self {
            hash,
            name,
            file: source.file().to_owned(),
            classes: classes.into_iter().map(|class| (class.name, class.dscps)).collect(),
            interfaces,
            tables,
            rules: rules.into_iter().map(|written| written.rule).collect(),
            tests,
            warnings,
        }
    }

    /// The same policy, of which places are in a text that is called otherwise than its file.
    #[must_use]
    pub fn in_text(self, name: &str) -> Self {
        Self { warnings: self.warnings.called(name), ..self }
    }

    /// What the text is called in which its lines are; mostly its file.
    #[must_use]
    pub fn text_name(&self) -> &str {
        self.warnings.file()
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

    /// The file it came from.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
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
        let section = self.section(interface)?;
        let bound = section.bound(direction)?;
        let table = self.tables.iter().find(|table| table.name == bound.table)?;
        Some(Bound { table, local: section.local, pattern: &section.pattern, line: bound.line })
    }

    /// All rules, in the order of the file.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules of a hook, in the order in which they are asked; at most [`MAX_RULES`], of which at most
    /// [`MAX_COUNT_RULES`] do not decide. They are in force whether or not a table is bound there.
    #[must_use]
    pub fn rules_for(&self, interface: &str, direction: Direction) -> Vec<&Rule> {
        self.rules.iter().filter(|rule| rule.is_asked_at(interface, direction)).collect()
    }

    /// The tests, in the order of the file.
    #[must_use]
    pub fn tests(&self) -> &[PolicyTest] {
        &self.tests
    }

    /// Which of this host's own packets are out of the policy's reach on an interface.
    #[must_use]
    pub fn local(&self, interface: &str) -> Local {
        self.section(interface).map_or_else(Local::default, |section| section.local)
    }

    /// The mechanism that the policy asks for by name on an interface; `None`: the best that works. XDP is only at
    /// ingress, and says nothing of the egress.
    #[must_use]
    pub fn hook(&self, interface: &str) -> Option<Via> {
        self.section(interface)?.hook
    }

    /// The table by which outer headers that this host makes are marked at an interface's egress; it is asked with the
    /// codepoint inside.
    #[must_use]
    pub fn outer(&self, interface: &str) -> Option<&RemarkTable> {
        let outer = self.section(interface)?.outer.as_ref()?;
        self.tables.iter().find(|table| table.name == outer.table)
    }

    /// Behind which headers the policy has an interface look for IP; `None`: it does not say.
    #[must_use]
    pub fn inside(&self, interface: &str) -> Option<&[Layer]> {
        self.section(interface)?.inside.as_deref()
    }

    /// The section of an interface: its own, else that of the longest glob.
    fn section(&self, interface: &str) -> Option<&Interface> {
        let ranked = self.interfaces.iter().filter_map(|section| Some((section.rank(interface)?, section)));
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, section)| section)
    }

    /// Every hook that the file names: section by section, ingress first, then those that only rules name. `on = "all"`
    /// names none: it means those that are attached.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding<'_>> {
        let tables = self.interfaces.iter().flat_map(|section| {
            Direction::BOTH.into_iter().filter_map(|direction| {
                let outer = section.outer.as_ref().filter(|_| direction == Direction::Egress);
                let (table, line) = match section.bound(direction) {
                    Some(bound) => (Some(&*bound.table), bound.line),
                    None => (None, outer?.line),
                };
                Some(Binding { pattern: &section.pattern, direction, table, line })
            })
        });
        let mut bindings: Vec<_> = tables.collect();
        for binding in self.rules.iter().flat_map(places) {
            if !bindings.iter().any(|known| (known.pattern, known.direction) == (binding.pattern, binding.direction)) {
                bindings.push(binding);
            }
        }
        bindings
    }

    /// Whether the file has something to say of an interface: a section, or a rule that names it.
    #[must_use]
    pub fn is_about(&self, interface: &str) -> bool {
        let by_rule = |rule: &Rule| Direction::BOTH.into_iter().any(|way| rule.is_asked_at(interface, way));
        self.section(interface).is_some() || self.rules.iter().any(by_rule)
    }

    /// By which pattern, and to which table if to any, a hook is bound; `None` if the file does not name it.
    #[must_use]
    pub fn names(&self, interface: &str, direction: Direction) -> Option<(&str, Option<&str>)> {
        if let Some(bound) = self.bind(interface, direction) {
            return Some((bound.pattern, Some(bound.table.name())));
        }
        let outer = self.section(interface).filter(|section| section.outer.is_some() && direction == Direction::Egress);
        if let Some(section) = outer {
            return Some((&section.pattern, None));
        }
        let mut places = self.rules.iter().flat_map(places);
        let place =
            places.find(|place| place.direction == direction && model::pattern_matches(place.pattern, interface))?;
        Some((place.pattern, None))
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
