//! `[sets]`: names for addresses and prefixes of both families.

use crate::policy::{
    addresses::Collected,
    diagnostic::{Finding, Findings, quote},
    model::Prefixes,
    source::Span,
    tree::{Entry, Kind, Node, Table},
    words,
};

/// The most prefixes that a set may have, adjacent ones joined.
pub const MAX_PREFIXES: usize = 1 << 16;

/// A name for some addresses.
#[derive(Debug)]
pub(super) struct Set {
    pub name: String,
    pub prefixes: Prefixes,
    pub span: Span,
}

/// Reads the table.
pub(super) fn check(table: &Table, findings: &mut Findings) -> Vec<Set> {
    table.entries().iter().map(|entry| set(entry, findings)).collect()
}

/// A set with a mistake in it is returned too, so that its name is known to the rules.
fn set(entry: &Entry, findings: &mut Findings) -> Set {
    let (name, span) = (entry.key.text.clone(), entry.key.span);
    check_name(&name, span, findings);
    let mut collected = Collected::default();
    match &entry.value.kind {
        Kind::Array(members) if members.is_empty() => {
            let title = format!("the set {} has no address", quote(&name));
            findings.error(Finding::error(span, title));
        }
        Kind::Array(members) => members.iter().for_each(|node| member(node, &mut collected, findings)),
        _ => {
            let is_address = |word: &str| Collected::default().push(word, span).is_ok();
            findings.extend(words::not_a_list(&entry.value, "addresses", is_address));
        }
    }
    let prefixes = collected.finish();
    let count = prefixes.v4.len() + prefixes.v6.len();
    if count > MAX_PREFIXES {
        let title = format!("the set {} has {count} prefixes, and a set at most {MAX_PREFIXES}", quote(&name));
        findings.error(Finding::error(span, title));
    }
    Set { name, prefixes, span }
}

fn check_name(name: &str, span: Span, findings: &mut Findings) {
    let title = if name.is_empty() || name.chars().count() > 64 {
        "the name of a set has 1 to 64 characters".to_owned()
    } else if name.starts_with('@') {
        let finding = Finding::error(span, format!("a set cannot be called {}", quote(name)));
        return findings.error(finding.help("the `@` is written where the set is used"));
    } else if !name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        format!("a set cannot be called {}: only letters, digits, `-`, `_` and `.`", quote(name))
    } else {
        return;
    };
    findings.error(Finding::error(span, title));
}

fn member(node: &Node, collected: &mut Collected, findings: &mut Findings) {
    match &node.kind {
        Kind::String(word) if word.starts_with('@') => {
            let title = "a set cannot have another one in it";
            findings.error(Finding::error(node.span, title).help("a rule may name several: src = [\"@a\", \"@b\"]"));
        }
        Kind::String(word) => {
            if let Err(finding) = collected.push(word, node.span) {
                findings.error(words::one_of_several(*finding, word));
            }
        }
        _ => words::wrong_kind(node, "an address or a prefix", findings),
    }
}
