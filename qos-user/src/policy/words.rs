//! The words of a policy: codepoints in every notation, names, and what was probably meant.

use qos_common::{ds::Dscp, notation::NotationError};

use crate::{
    policy::{
        diagnostic::{Finding, Findings, quote, shown},
        meant::{self, Within},
        source::Span,
        tree::{Entry, Key, Kind, Node, Table},
    },
    printable::is_printable,
};

/// Words that a class may not have as its name, since a table or `expect` means something else by them.
pub(super) const RESERVED: [&str; 5] = ["keep", "drop", "other", "before", "after"];

/// How many words are compared with a wrong one: a broken file of thousands shall not take minutes.
const MOST_CANDIDATES: usize = 100;

/// The most characters of a name.
const LONGEST_NAME: usize = 64;

/// The candidate nearest to `word` by edit distance, if it is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > LONGEST_NAME {
        return None;
    }
    let word = word.to_lowercase();
    let near = (length / 3).max(1);
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
    let ranked = candidates.into_iter().take(MOST_CANDIDATES).map(|candidate| (distance(candidate), candidate));
    ranked.filter(|(distance, _)| *distance <= near).min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// Why a word is not a codepoint, and what was meant by it: a name of a codepoint or one of `others`, which `what`
/// describes together.
pub(super) fn unknown_dscp<'a>(
    what: &str,
    word: &str,
    span: Span,
    error: NotationError,
    others: impl IntoIterator<Item = &'a str>,
) -> Finding {
    let quoted = quote(word);
    let out_of_range = || Finding::error(span, format!("{quoted} is not a DSCP: they are 0 to 63"));
    match error {
        NotationError::NotSixBits(Some(dscp)) => {
            out_of_range().help(format!("did you mean tos={word}, which is {dscp}?"))
        }
        NotationError::NotSixBits(None) => out_of_range(),
        NotationError::NotEightBits => Finding::error(span, format!("{quoted} is not a ToS byte: they are 0 to 255")),
        NotationError::Unknown if word.parse::<i64>().is_ok() => out_of_range(),
        NotationError::Unknown => match range_of_family(word) {
            Some(range) => Finding::error(span, format!("unknown DSCP {quoted}: {range}")),
            None => {
                let others: Vec<&str> = others.into_iter().collect();
                let finding = Finding::error(span, format!("unknown {what} {quoted}"));
                match nearest(word, dscp_names().chain(others.iter().copied())) {
                    Some(near) => finding.suggest(Some(near)),
                    None => finding.help(wanted(&others)),
                }
            }
        },
    }
}

/// What may be written where a codepoint is wanted, or one of `others`.
fn wanted(others: &[&str]) -> String {
    const MOST: usize = 8;
    let shown = sentence(others.iter().copied().take(MOST));
    let or = match others.len() {
        0 => String::new(),
        1 => format!(", or {shown}"),
        2..=MOST => format!(", or one of {shown}"),
        _ => format!(", or one of {shown}, ..."),
    };
    format!("write a DSCP such as \"EF\", \"AF41\" or 46{or}")
}

/// Which names there are of the kind to which `AF44` and `CS8` seem to belong.
fn range_of_family(word: &str) -> Option<&'static str> {
    let (family, number) = word.split_at_checked(2)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match &*family.to_ascii_uppercase() {
        "AF" => Some("AF classes run AF11 to AF43"),
        "CS" => Some("class selectors run CS0 to CS7"),
        _ => None,
    }
}

fn dscp_names<'a>() -> impl Iterator<Item = &'a str> {
    Dscp::all().filter_map(|dscp| dscp.name())
}

/// The text of a value that may be a codepoint: a string, or a number in decimal.
pub(super) fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::String(text) => Some(text.clone()),
        Kind::Integer(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A value in the notation of TOML: with quotes if it was a string.
pub(super) fn literal(node: &Node, word: &str) -> String {
    let shown = shown(word);
    if matches!(node.kind, Kind::String(_)) { format!("\"{shown}\"") } else { shown }
}

/// Reports that a value is of the wrong kind; one that could not be read was reported before.
pub(super) fn wrong_kind(node: &Node, wanted: &str, findings: &mut Findings) {
    findings.extend(unlike(node, wanted));
}

/// A value is of the wrong kind; `None` if it could not be read.
pub(super) fn unlike(node: &Node, wanted: &str) -> Option<Finding> {
    let title = || format!("expected {wanted}, found {}", node.kind.describe());
    (!matches!(node.kind, Kind::Broken)).then(|| Finding::error(node.span, title()))
}

/// A text such as `5060, 5061` as the list that was meant, with quotes around what is no number.
pub(super) fn as_list(word: &str) -> Option<String> {
    const MOST: usize = 8;
    let parts: Vec<_> = word.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let list = parts.iter().take(MOST).map(|part| match part.bytes().all(|byte| byte.is_ascii_digit()) {
        true => shown(part),
        false => format!("\"{}\"", shown(part)),
    });
    let more = if parts.len() > MOST { ", ..." } else { "" };
    (parts.len() > 1).then(|| format!("[{}{more}]", list.collect::<Vec<_>>().join(", ")))
}

/// What is not the list of `what` that it has to be: one of them, or several in one text.
pub(super) fn not_a_list(node: &Node, what: &str, is_one: impl Fn(&str) -> bool) -> Option<Finding> {
    let finding = unlike(node, &format!("a list of {what}"))?;
    let Kind::String(word) = &node.kind else { return Some(finding) };
    let list = as_list(word).or_else(|| is_one(word).then(|| format!("[{}]", literal(node, word))));
    Some(match list {
        Some(list) => finding.help(format!("write {list}")),
        None => finding,
    })
}

/// What is wrong with a word of which several may be given; one that has commas is meant as a list.
pub(super) fn one_of_several(finding: Finding, word: &str) -> Finding {
    match as_list(word) {
        Some(list) => finding.help(format!("several are a list, not one text: write {list}")),
        None => finding,
    }
}

/// The string that a value has to be.
pub(super) fn string<'n>(node: &'n Node, wanted: &str, findings: &mut Findings) -> Option<&'n str> {
    match &node.kind {
        Kind::String(text) => Some(text),
        _ => {
            wrong_kind(node, wanted, findings);
            None
        }
    }
}

/// The table that a value has to be.
pub(super) fn table<'n>(node: &'n Node, wanted: &str, findings: &mut Findings) -> Option<&'n Table> {
    match &node.kind {
        Kind::Table(table) => Some(table),
        _ => {
            wrong_kind(node, wanted, findings);
            None
        }
    }
}

/// Reports a key that is not one of `known`.
pub(super) fn unknown_key(key: &Key, known: &[&'static str], findings: &mut Findings) {
    let finding = Finding::error(key.span, format!("unknown key {}", quote(&key.text)));
    findings.error(match nearest(&key.text, known.iter().copied()) {
        Some(near) => finding.suggest(Some(near)),
        None => finding.help(format!("known here: {}", sentence(known.iter().copied()))),
    });
}

/// The same of a table of which is known what else people write there.
pub(super) fn unknown_key_within(within: Within, entry: &Entry, known: &[&'static str], findings: &mut Findings) {
    match meant::help(within, entry) {
        Some(help) => {
            let finding = Finding::error(entry.key.span, format!("unknown key {}", quote(&entry.key.text)));
            findings.error(finding.help(help));
        }
        None => unknown_key(&entry.key, known, findings),
    }
}

/// Whether a table has an unknown key that is probably meant as `key`, and answered with it.
pub(super) fn is_misspelt(within: Within, table: &Table, key: &str, known: &[&'static str]) -> bool {
    let unknown = table.entries().iter().map(|entry| &*entry.key.text).filter(|word| !known.contains(word));
    let meant = |word| meant::key(within, word).or_else(|| nearest(word, known.iter().copied()));
    unknown.into_iter().any(|word| meant(word) == Some(key))
}

/// Words for a message.
pub(super) fn sentence<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// TOML reads `[interface.wan0.100]` as a table `100` in a table `wan0`: `entry` is the first of these within `outer`.
pub(super) fn unquoted(section: &str, outer: &str, entry: &Entry) -> Finding {
    let mut name = format!("{outer}.{}", entry.key.text);
    let mut value = &entry.value;
    while let Kind::Table(table) = &value.kind
        && let [Entry { key, value: inner @ Node { kind: Kind::Table(_), .. } }] = table.entries()
    {
        name = format!("{name}.{}", key.text);
        value = inner;
    }
    let title = format!("the name {} needs quotes, since there is a dot in it", quote(&name));
    Finding::error(entry.key.span, title).help(format!("write [{section}.\"{}\"]", shown(&name)))
}

/// Whether a name of a policy or of a table can be printed in a line: 1 to 64 characters, no control characters.
pub(super) fn check_name(what: &str, name: &str, span: Span, findings: &mut Findings) -> bool {
    let length = name.chars().count();
    let complaint = if length == 0 {
        "is empty"
    } else if length > LONGEST_NAME {
        "is longer than 64 characters"
    } else if !name.chars().all(is_printable) {
        "has a control character"
    } else {
        return true;
    };
    findings.error(Finding::error(span, format!("the name of {what} {complaint}")));
    false
}
