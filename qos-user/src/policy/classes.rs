//! `[classes]`: names for groups of codepoints.

use qos_common::{ds::Dscp, notation::NotationError};

use crate::policy::{
    diagnostic::{Finding, Findings, quote},
    source::Span,
    tree::{Entry, Kind, Node, Table},
    words,
};

/// A name for a group of codepoints.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub name: String,
    /// At least one, in the order of the file.
    pub dscps: Vec<Dscp>,
    pub span: Span,
}

/// Which class has each codepoint, and where that is written.
type Owners = [Option<(String, Span)>; Dscp::COUNT];

/// Reads the table; no two classes of the result share a codepoint.
pub(super) fn check(table: &Table, findings: &mut Findings) -> Vec<Class> {
    let mut owners: Owners = [const { None }; Dscp::COUNT];
    table.entries().iter().map(|entry| class(entry, &mut owners, findings)).collect()
}

/// A class with a mistake in it is returned too, so that its name is known to the tables.
fn class(entry: &Entry, owners: &mut Owners, findings: &mut Findings) -> Class {
    let (name, span) = (entry.key.text.clone(), entry.key.span);
    check_name(&name, span, findings);
    let mut dscps = Vec::new();
    match &entry.value.kind {
        Kind::Array(members) if members.is_empty() => {
            findings.error(Finding::error(span, format!("the class {} has no codepoint", quote(&name))));
        }
        Kind::Array(members) => {
            dscps.extend(members.iter().filter_map(|node| member(&name, node, owners, findings)));
        }
        _ => findings.extend(words::not_a_list(&entry.value, "codepoints", |word| word.parse::<Dscp>().is_ok())),
    }
    Class { name, dscps, span }
}

fn check_name(name: &str, span: Span, findings: &mut Findings) {
    let word = quote(name);
    let title = if name.is_empty() || name.chars().count() > 64 {
        "the name of a class has 1 to 64 characters".to_owned()
    } else if words::RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        format!("a class cannot be called {word}: the word has a meaning of its own")
    } else if !matches!(name.parse::<Dscp>(), Err(NotationError::Unknown)) {
        format!("a class cannot be called {word}: that reads as a codepoint")
    } else if !name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        format!("a class cannot be called {word}: only letters, digits, `-`, `_` and `.`")
    } else {
        return;
    };
    findings.error(Finding::error(span, title));
}

fn member(class: &str, node: &Node, owners: &mut Owners, findings: &mut Findings) -> Option<Dscp> {
    let Some(word) = words::scalar(node) else {
        words::wrong_kind(node, "a codepoint", findings);
        return None;
    };
    match word.parse::<Dscp>() {
        Ok(dscp) => own(class, dscp, node.span, owners, findings),
        Err(error) => {
            let finding = words::unknown_dscp("DSCP", &word, node.span, error, None);
            findings.error(words::one_of_several(finding, &word));
            None
        }
    }
}

fn own(class: &str, dscp: Dscp, span: Span, owners: &mut Owners, findings: &mut Findings) -> Option<Dscp> {
    let owner = &mut owners[dscp.index()];
    let Some((other, first)) = owner else {
        *owner = Some((class.to_owned(), span));
        return Some(dscp);
    };
    let title = if other == class {
        format!("{dscp} is twice in the class {}", quote(class))
    } else {
        format!("{dscp} is in two classes, {} and {}", quote(other), quote(class))
    };
    let finding = Finding::error(span, title).label("again here").also(*first, "first here");
    findings.error(finding.help("a DSCP is in at most one class, once"));
    None
}
