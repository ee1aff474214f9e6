//! Two ways of a packet side by side, instruction by instruction.

use std::{collections::BTreeMap, fmt::Write as _};

use qosbpf_tests::walk::Taken;
use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::table::table;
use crate::walks::{Pair, kind};

/// The width of an instruction, and of the line that it comes from.
const TEXT: usize = 34;
const LINE: usize = 32;

/// The name of the file of a pair.
pub fn name(pair: &Pair) -> String {
    let words = format!("{} {} {} {}", pair.hook.name(), pair.name, pair.base, pair.frame).to_lowercase();
    let words: Vec<&str> =
        words.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-") + ".txt"
}

/// The listing: what differs by kind and by file of the source, then both ways.
pub fn listing(pair: &Pair) -> String {
    let Pair { hook, frame, base, name, left, right } = pair;
    let mut text = format!(
        "{}, {frame}: {} instructions of {base}, {} of {name}.\n\
        Instructions of the objects that one packet takes, without those that the verifier removes.\n\n",
        hook.name(),
        left.len(),
        right.len()
    );
    let kinds = |way: &[Taken]| by(way, |taken| kind(taken.kind).to_owned());
    text += &both(["kind", base, name], &kinds(left), &kinds(right));
    text += &both(["source", base, name], &by(left, file), &by(right, file));
    for (left, right) in aligned(left, right) {
        let cells =
            |taken: Option<&Taken>| taken.map(|taken| (taken.text.clone(), taken.line.clone())).unwrap_or_default();
        let ((text_left, line_left), (text_right, line_right)) = (cells(left), cells(right));
        let line = format!("{text_left:<TEXT$} {line_left:<LINE$} | {text_right:<TEXT$} {line_right}");
        let _infallible = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn file(taken: &Taken) -> String {
    taken.line.split(':').next().unwrap_or_default().to_owned()
}

fn by(taken: &[Taken], key: impl Fn(&Taken) -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for each in taken {
        *counts.entry(key(each)).or_default() += 1;
    }
    counts
}

fn both(heads: [&str; 3], floor: &BTreeMap<String, usize>, qosbpf: &BTreeMap<String, usize>) -> String {
    let names: std::collections::BTreeSet<&String> = floor.keys().chain(qosbpf.keys()).collect();
    let of = |counts: &BTreeMap<String, usize>, name| counts.get(name).copied().unwrap_or(0).to_string();
    let rows = names.into_iter().map(|name| vec![name.clone(), of(floor, name), of(qosbpf, name)]);
    table(&heads, rows) + "\n"
}

/// Beside each other what is of the same kind, as far as the order allows.
fn aligned<'a>(floor: &'a [Taken], qosbpf: &'a [Taken]) -> Vec<(Option<&'a Taken>, Option<&'a Taken>)> {
    let [left, right] = [floor, qosbpf].map(|way| way.iter().map(|taken| taken.kind).collect::<Vec<_>>());
    let mut rows = Vec::new();
    for change in capture_diff_slices(Algorithm::Myers, &left, &right) {
        let (tag, left, right) = change.as_tag_tuple();
        let (left, right) = (&floor[left], &qosbpf[right]);
        if tag == DiffTag::Equal {
            rows.extend(left.iter().map(Some).zip(right.iter().map(Some)));
        } else {
            rows.extend(left.iter().map(|taken| (Some(taken), None)));
            rows.extend(right.iter().map(|taken| (None, Some(taken))));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use qosbpf_tests::walk::Kind;

    use super::*;

    #[test]
    fn what_one_way_has_more_stands_alone() {
        let taken = |kind, text: &str| Taken { at: 0, kind, text: text.to_owned(), line: "x.rs:1".to_owned() };
        let floor = [taken(Kind::Move, "a"), taken(Kind::Branch, "b")];
        let qosbpf = [taken(Kind::Move, "c"), taken(Kind::Call, "d"), taken(Kind::Branch, "e")];
        let texts: Vec<(Option<&str>, Option<&str>)> = aligned(&floor, &qosbpf)
            .into_iter()
            .map(|(left, right)| (left.map(|taken| taken.text.as_str()), right.map(|taken| taken.text.as_str())))
            .collect();
        assert_eq!(texts, [(Some("a"), Some("c")), (None, Some("d")), (Some("b"), Some("e"))]);
    }
}
