//! `[[rule]]`: multi-field classifiers and what they do.

mod actions;
mod fields;
mod meter;
mod sense;

pub(super) use self::{actions::number_32, fields::FIELDS};

use std::collections::HashMap;

use crate::policy::{
    diagnostic::{Finding, Findings, quote},
    interfaces::Interface,
    meant::Within,
    model::{Action, Place, Rule},
    names::Names,
    places,
    source::{Source, Span},
    tree::{Kind, Node, Opened, Table},
    words,
};

const KEYS: [&str; 14] = [
    "name", "on", "match", "set", "drop", "meter", "color", "green", "yellow", "red", "count", "log", "priority",
    "mark",
];

/// A rule, and where its parts are written.
#[derive(Debug)]
pub(super) struct Written {
    pub rule: Rule,
    /// Its name, or its header if it has none.
    pub span: Span,
    /// The value of each place of `on`.
    pub places: Vec<Span>,
    /// The key of each condition.
    pub fields: Vec<Span>,
    /// The key `origin` where it names both, and so is no condition.
    pub any_origin: Option<Span>,
    /// The key of what sets the mark, drops or meters.
    pub action: Option<Span>,
    /// The keys `priority` and `mark`.
    pub hand_over: Vec<(&'static str, Span)>,
}

/// What the rules are checked against.
pub(super) struct Rules<'a, 'n> {
    pub source: &'a Source,
    pub interfaces: &'a [Interface],
    pub names: &'n mut Names<'a>,
    pub findings: &'n mut Findings,
}

impl Rules<'_, '_> {
    /// Reads all of them.
    pub fn check(&mut self, node: &Node) -> Vec<Written> {
        let Kind::Array(items) = &node.kind else {
            wrong_header("rule", node, self.findings);
            return Vec::new();
        };
        let mut names = HashMap::new();
        let mut rules = Vec::with_capacity(items.len());
        for item in items {
            let Some(table) = words::table(item, "a rule", self.findings) else { continue };
            let written = self.rule(item, table);
            self.check_name_is_new(&written, &mut names);
            rules.push(written);
        }
        rules
    }

    fn check_name_is_new(&mut self, written: &Written, names: &mut HashMap<String, Span>) {
        let name = &written.rule.name;
        if name.is_empty() {
            return;
        }
        if let Some(first) = names.get(name) {
            let finding = Finding::error(written.span, format!("two rules are called {}", quote(name)));
            let finding = finding.label("again here").also(*first, "first here");
            return self.findings.error(finding.help("a name is an identity: counters follow it"));
        }
        names.insert(name.clone(), written.span);
    }

    fn rule(&mut self, item: &Node, table: &Table) -> Written {
        for entry in table.entries().iter().filter(|entry| !KEYS.contains(&&*entry.key.text)) {
            self.unknown_key(entry, table);
        }
        let (name, span) = named("rule", item, table, self.findings);
        let places = self.places(span, table);
        let mut written = Written {
            rule: empty(name, self.source.line(item.span.start)),
            span,
            places: places.iter().map(|(_, span)| *span).collect(),
            fields: Vec::new(),
            any_origin: None,
            action: None,
            hand_over: Vec::new(),
        };
        written.rule.on = places.into_iter().map(|(place, _)| place).collect();
        self.conditions(table, &mut written);
        self.actions(table, &mut written);
        sense::check(&written, self.interfaces, self.findings);
        written
    }

    fn places(&mut self, span: Span, table: &Table) -> Vec<(Place, Span)> {
        match table.get("on") {
            Some(entry) => places::read(&entry.value, self.findings),
            None if words::is_misspelt(Within::Rule, table, "on", &KEYS) => Vec::new(),
            None => {
                let finding = Finding::error(span, "this rule does not say where: `on` is missing");
                self.findings.missing(finding.help("write on = \"lan0:ingress\", a list, or on = \"all\""));
                Vec::new()
            }
        }
    }
}

fn empty(name: String, line: usize) -> Rule {
    Rule {
        name,
        line,
        on: Vec::new(),
        conditions: Vec::new(),
        action: Action::None,
        count: false,
        log: None,
        priority: None,
        mark: None,
    }
}

/// The name of a rule or a test, and where it is; without one its header.
pub(super) fn named(what: &str, item: &Node, table: &Table, findings: &mut Findings) -> (String, Span) {
    let Some(entry) = table.get("name") else {
        let finding = Finding::error(header(item), format!("this {what} has no `name`"));
        findings.missing(finding.help("its name stands for it wherever it is shown: write name = \"...\""));
        return (String::new(), header(item));
    };
    let span = entry.value.span;
    let name = words::string(&entry.value, "a name", findings).unwrap_or_default();
    if matches!(entry.value.kind, Kind::String(_)) {
        words::check_name(&format!("a {what}"), name, span, findings);
    }
    (name.to_owned(), span)
}

/// The word in `[[rule]]`; of `{ ... }` only the bracket.
fn header(item: &Node) -> Span {
    let inline = matches!(&item.kind, Kind::Table(table) if table.opened == Opened::Inline);
    if inline { Span { start: item.span.start, end: item.span.start + 1 } } else { item.span }
}

/// Reports that a section is not a list of tables.
pub(super) fn wrong_header(section: &str, node: &Node, findings: &mut Findings) {
    if matches!(node.kind, Kind::Table(_)) {
        let finding = Finding::error(node.span, format!("`{section}` is a list: there may be several"));
        findings.error(finding.help(format!("write [[{section}]] with two brackets, or in JSON [{{...}}]")));
    } else {
        words::wrong_kind(node, &format!("a list of tables `{section}`"), findings);
    }
}
