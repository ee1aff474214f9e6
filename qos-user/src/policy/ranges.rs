//! Numbers, ranges of them, and lists of both.

use std::fmt;

use crate::policy::{
    diagnostic::{Finding, Findings, quote},
    source::Span,
    tree::{Kind, Node},
    words,
};

/// What kind of numbers a field has.
pub(super) struct Numbers {
    /// One of them with its article.
    pub what: &'static str,
    pub least: u16,
    pub most: u16,
    /// Words that stand for a number.
    pub names: &'static [(&'static str, u8)],
    /// What to do about a word that is none.
    pub hint: &'static str,
}

pub(super) const PORTS: Numbers = Numbers {
    what: "a port",
    least: 0,
    most: u16::MAX,
    names: &[],
    hint: "ports are numbers: 5060, \"5060-5061\", [5060, 5070]",
};
pub(super) const VLANS: Numbers =
    Numbers { what: "a VLAN id", least: 0, most: 4094, names: &[], hint: "VLAN ids are numbers: 832, \"100-199\"" };
pub(super) const PCPS: Numbers =
    Numbers { what: "a priority code point", least: 0, most: 7, names: &[], hint: "they are numbers: 6, \"5-7\"" };
pub(super) const LENGTHS: Numbers = Numbers {
    what: "the length of an IP packet in bytes",
    least: 0,
    most: u16::MAX,
    names: &[],
    hint: "lengths are numbers without a unit: 200, \"0-200\"",
};
pub(super) const ICMP_TYPES: Numbers = Numbers {
    what: "an ICMP type",
    least: 0,
    most: 255,
    names: &[],
    hint: "types are numbers: an echo request is 8 in ICMP and 128 in ICMPv6",
};
pub(super) const PROTOCOLS: Numbers = Numbers {
    what: "a protocol",
    least: 0,
    most: 255,
    names: super::protocols::NAMES,
    hint: "a protocol has a name such as \"udp\", or a number",
};

/// The values of a field: the value itself, or those of a list. `None` if there are none, which is reported.
pub(super) fn items<'n>(node: &'n Node, findings: &mut Findings) -> Option<&'n [Node]> {
    match &node.kind {
        Kind::Array(items) if items.is_empty() => {
            findings.error(Finding::error(node.span, "an empty list: this could never match"));
            None
        }
        Kind::Array(items) => Some(items),
        _ => Some(std::slice::from_ref(node)),
    }
}

/// Reads one number or range, or a list of them; the result is sorted and disjoint.
pub(super) fn read<T>(node: &Node, numbers: &Numbers, findings: &mut Findings) -> Option<Vec<(T, T)>>
where
    T: TryFrom<u16> + Copy + Ord + Into<u32>,
{
    let mut ranges = Vec::new();
    for item in items(node, findings)? {
        let Some(word) = words::scalar(item) else {
            findings.extend(words::unlike(item, numbers.what).map(|finding| finding.help(numbers.hint)));
            continue;
        };
        match range(&word, item.span, numbers) {
            Ok((first, last)) => ranges.extend(T::try_from(first).ok().zip(T::try_from(last).ok())),
            Err(finding) => findings.error(reshaped(*finding, &word)),
        }
    }
    (!ranges.is_empty()).then(|| merge(ranges))
}

fn range(word: &str, span: Span, numbers: &Numbers) -> Result<(u16, u16), Box<Finding>> {
    let Some((first, last)) = word.split_once('-').filter(|_| !numbers.has_name(word)) else {
        return numbers.number(word, span).map(|single| (single, single));
    };
    let (first, last) = (first.trim(), last.trim());
    if [first, last].into_iter().any(|end| !is_digits(end) && !numbers.has_name(end)) {
        // A negative number is told its limits, anything else is no range at all.
        return numbers.number(word, span).map(|single| (single, single));
    }
    in_order(numbers.number(first, span)?, numbers.number(last, span)?, span)
}

/// What is wrong with a word that may be meant as a range or a list, in the notation of another tool.
fn reshaped(finding: Finding, word: &str) -> Finding {
    let ends = ["..=", "..", ":", "\u{2013}", " to "].into_iter().find_map(|between| word.split_once(between));
    match ends.map(|(first, last)| (first.trim(), last.trim())) {
        Some((first, last)) if is_digits(first) && is_digits(last) => {
            finding.help(format!("a range has a hyphen: write \"{first}-{last}\""))
        }
        _ => words::one_of_several(finding, word),
    }
}

fn is_digits(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// A range whose ends are in order.
pub(super) fn in_order<T: Ord + fmt::Display>(first: T, last: T, span: Span) -> Result<(T, T), Box<Finding>> {
    if first <= last {
        return Ok((first, last));
    }
    let finding = Finding::error(span, "this range runs backwards: it could never match");
    Err(Box::new(finding.help(format!("did you mean \"{last}-{first}\"?"))))
}

impl Numbers {
    /// The number that a word is or stands for.
    pub fn number(&self, word: &str, span: Span) -> Result<u16, Box<Finding>> {
        if let Some((_, number)) = self.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            return Ok(u16::from(*number));
        }
        if !is_digits(word.strip_prefix('-').unwrap_or(word)) {
            return Err(Box::new(self.unknown(word, span)));
        }
        let number = word.parse().ok().filter(|number| (self.least..=self.most).contains(number));
        number.ok_or_else(|| {
            let (word, Self { what, least, most, .. }) = (quote(word), self);
            Box::new(Finding::error(span, format!("{word} is not {what}: {least} to {most}")))
        })
    }

    fn has_name(&self, word: &str) -> bool {
        self.names.iter().any(|(name, _)| name.eq_ignore_ascii_case(word))
    }

    fn unknown(&self, word: &str, span: Span) -> Finding {
        let title = format!("{} is not {}", quote(word), self.what);
        let finding = Finding::error(span, title);
        if word.starts_with('@') {
            return finding.help("sets are of addresses: only `src` and `dst` take them");
        }
        match words::nearest(word, self.names.iter().map(|(name, _)| *name)) {
            Some(near) => finding.suggest(Some(near)),
            None => finding.help(self.hint),
        }
    }
}

/// Sorts, and joins what overlaps or is adjacent.
pub(super) fn merge<T: Copy + Ord + Into<u32>>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first.into() <= (*end).into() + 1 => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}
