//! `[remark.*]`: what becomes of each codepoint.

use std::collections::HashMap;

use qos_common::{ds::Dscp, notation::NotationError};

use crate::policy::{
    classes::Class,
    compile::{Match, RemarkEntry, RemarkTable, Target},
    diagnostic::{Finding, Findings, quote},
    meant, names,
    source::{Source, Span},
    tree::{Entry, Key, Kind, Node, Table},
    words,
};

/// What the tables are checked against.
pub(super) struct Tables<'a> {
    source: &'a Source,
    classes: &'a [Class],
    by_name: HashMap<&'a str, &'a Class>,
}

impl<'a> Tables<'a> {
    pub fn new(source: &'a Source, classes: &'a [Class]) -> Self {
        Self { source, classes, by_name: classes.iter().map(|class| (&*class.name, class)).collect() }
    }

    /// Reads all of them; one with a mistake in it is left out.
    pub fn check(&self, remark: &Table, findings: &mut Findings) -> Vec<RemarkTable> {
        remark.entries().iter().filter_map(|entry| self.table(entry, findings)).collect()
    }

    fn table(&self, entry: &Entry, findings: &mut Findings) -> Option<RemarkTable> {
        let Key { text: name, span } = &entry.key;
        words::check_name("a table", name, *span, findings);
        let table = words::table(&entry.value, "a remark table", findings)?;
        if let Some(inner) = table.entries().iter().find(|inner| matches!(inner.value.kind, Kind::Table(_))) {
            findings.error(words::unquoted("remark", name, inner));
            return None;
        }
        self.check_repeats(table, findings);
        self.check_other(&entry.key, table, findings);
        let mut other = None;
        let mut entries = Vec::new();
        for entry in table.entries() {
            match self.entry(entry, findings) {
                Some(entry) if matches!(entry.on, Match::Other) => other = Some(entry),
                Some(entry) => entries.push(entry),
                None => {}
            }
        }
        Some(RemarkTable { name: name.clone(), span: *span, entries, other: other? })
    }

    fn check_other(&self, name: &Key, table: &Table, findings: &mut Findings) {
        // A key that only looks like it is answered with "did you mean `other`?".
        if !table.entries().iter().any(|entry| self.means_other(&entry.key.text)) {
            let title = format!("the table {} has no `other`", quote(&name.text));
            let finding = Finding::error(name.span, title).label("what happens to everything not named?");
            findings.missing(finding.help("write other = \"keep\", or other = \"DF\" to wash"));
        }
    }

    fn means_other(&self, key: &str) -> bool {
        let unknown = || key.parse::<Dscp>().is_err() && self.class(key).is_none();
        matches!(key, "other" | "default") || unknown() && words::nearest(key, ["other"]).is_some()
    }

    /// Reports a codepoint that has two entries, in two notations.
    fn check_repeats(&self, table: &Table, findings: &mut Findings) {
        let mut seen: [Option<&Key>; Dscp::COUNT] = [None; Dscp::COUNT];
        for Entry { key, .. } in table.entries() {
            let Ok(dscp) = key.text.parse::<Dscp>() else { continue };
            match seen[dscp.index()] {
                Some(first) => {
                    let title = format!("{} and {} are the same codepoint", quote(&first.text), quote(&key.text));
                    findings.error(Finding::error(key.span, title).label("again here").also(first.span, "first here"));
                }
                None => seen[dscp.index()] = Some(key),
            }
        }
    }

    fn entry(&self, entry: &Entry, findings: &mut Findings) -> Option<RemarkEntry> {
        let on = self.key(&entry.key, findings);
        let to = self.target(&entry.value, findings);
        let key = entry.key.text.clone();
        Some(RemarkEntry { on: on?, to: to?, key, span: entry.key.span, line: self.source.line(entry.key.span.start) })
    }

    fn key(&self, key: &Key, findings: &mut Findings) -> Option<Match> {
        if key.text == "other" {
            return Some(Match::Other);
        }
        let error = match key.text.parse() {
            Ok(dscp) => return Some(Match::Dscp(dscp)),
            Err(error) => error,
        };
        if let Some(class) = self.class(&key.text) {
            return Some(Match::Class(class.dscps.clone()));
        }
        if key.text == "default" {
            findings.error(Finding::error(key.span, "`default` is not a key").suggest(Some("other")));
        } else {
            let known = self.classes.iter().map(|class| &*class.name).chain(["other"]);
            // It may be a class whose line could not be read.
            findings.missing(words::unknown_dscp("DSCP or class", &key.text, key.span, error, known));
        }
        None
    }

    fn target(&self, node: &Node, findings: &mut Findings) -> Option<Target> {
        let Some(word) = words::scalar(node) else {
            words::wrong_kind(node, "a codepoint or \"keep\"", findings);
            return None;
        };
        if word == "keep" {
            return Some(Target::Keep);
        }
        match word.parse() {
            Ok(dscp) => Some(Target::Mark(dscp)),
            Err(error) => {
                findings.error(self.bad_target(&word, node.span, error));
                None
            }
        }
    }

    fn bad_target(&self, word: &str, span: Span, error: NotationError) -> Finding {
        if let Some(class) = self.class(word) {
            return names::class_as_value(class, word, span);
        }
        let verdict = meant::verdict(word);
        if word.eq_ignore_ascii_case("drop") || verdict == Some("drop") {
            let help = "the value is a codepoint or \"keep\": to drop, write a [[rule]] with drop = true";
            return Finding::error(span, "a remark table cannot drop").help(help);
        }
        let finding = words::unknown_dscp("DSCP", word, span, error, ["keep"]);
        if verdict.is_some() { finding.suggest(verdict) } else { finding }
    }

    fn class(&self, name: &str) -> Option<&Class> {
        self.by_name.get(name).copied()
    }
}
