//! What a rule does.

use super::{Rules, Written, meter};
use crate::policy::{
    diagnostic::{Finding, Findings, quote, shown},
    model::{Action, MarkBits},
    source::Span,
    tree::{Entry, Kind, Node, Table},
    units, words,
};

/// The keys of which a rule has one at most.
const DECIDING: [&str; 3] = ["set", "meter", "drop"];

impl Rules<'_, '_> {
    pub(super) fn actions(&mut self, table: &Table, written: &mut Written) {
        let deciding = deciding(table);
        if let [first, second, ..] = &*deciding {
            let title = format!("a rule cannot both `{}` and `{}`", first.key.text, second.key.text);
            let finding = Finding::error(second.key.span, title).also(first.key.span, "and this");
            self.findings.error(finding.help("a packet is decided once: make two rules of it"));
        }
        written.action = deciding.first().map(|entry| entry.key.span);
        written.rule.action = deciding.first().map_or(Action::None, |entry| self.deciding(entry, table));
        meter::check_strays(table, self.findings);
        self.beside(table, written);
        if deciding.is_empty() && !written.hand_over.is_empty() {
            // It decides, by the bits that it hands over, and leaves the codepoint.
            written.rule.action = Action::Set(None);
        }
        self.check_does_something(table, written);
    }

    fn deciding(&mut self, entry: &Entry, table: &Table) -> Action {
        match &*entry.key.text {
            "set" => match self.names.mark(&entry.value, self.findings) {
                Some(mark) => Action::Set(mark),
                None => Action::Set(None),
            },
            "drop" => Action::Drop,
            _ => self.meter(entry, table).map_or(Action::Drop, Action::Meter),
        }
    }

    fn beside(&mut self, table: &Table, written: &mut Written) {
        for entry in table.entries() {
            let (value, span) = (&entry.value, entry.key.span);
            match &*entry.key.text {
                "count" => written.rule.count = boolean("count", value, self.findings).unwrap_or_default(),
                "log" => {
                    let word = words::string(value, "how often, such as \"1/s\"", self.findings);
                    let rate = word.map(|word| units::log_rate(word, value.span));
                    written.rule.log = taken(rate, self.findings);
                }
                "priority" => {
                    written.rule.priority = priority(value, self.findings);
                    written.hand_over.push(("priority", span));
                }
                "mark" => {
                    written.rule.mark = mark_bits(value, self.findings);
                    written.hand_over.push(("mark", span));
                }
                "drop" => {
                    boolean("drop", value, self.findings);
                }
                _ => {}
            }
        }
    }

    fn check_does_something(&mut self, table: &Table, written: &Written) {
        let counts_or_logs = written.rule.count || table.get("log").is_some() || is_broken(table, "count");
        if written.rule.action != Action::None || counts_or_logs || is_broken(table, "drop") || has_unknown_key(table) {
            return;
        }
        let finding = Finding::error(written.span, "this rule does nothing");
        self.findings
            .missing(finding.help(
                "write `set`, `meter` or `drop`, or beside or without them `count`, `log`, `priority` or `mark`",
            ));
    }
}

/// What a rule says of the packet's mark; `drop = false` says nothing.
fn deciding(table: &Table) -> Vec<&Entry> {
    let entries = table.entries().iter().filter(|entry| DECIDING.contains(&&*entry.key.text));
    let mut entries: Vec<_> = entries.collect();
    entries.retain(|entry| entry.key.text != "drop" || matches!(entry.value.kind, Kind::Boolean(true)));
    entries
}

/// Whether a key is unknown, and so may be meant as what the rule does.
fn has_unknown_key(table: &Table) -> bool {
    table.entries().iter().any(|entry| !super::KEYS.contains(&&*entry.key.text))
}

/// Whether a key has something else than the boolean that it needs, which is reported.
fn is_broken(table: &Table, key: &str) -> bool {
    table.get(key).is_some_and(|entry| !matches!(entry.value.kind, Kind::Boolean(_)))
}

fn boolean(key: &str, node: &Node, findings: &mut Findings) -> Option<bool> {
    match &node.kind {
        Kind::Boolean(value) => Some(*value),
        Kind::String(word) if word == "true" || word == "false" => {
            let finding = Finding::error(node.span, "expected a boolean, found a string");
            findings.error(finding.help(format!("write {key} = {word}, without quotes")));
            None
        }
        _ => {
            words::wrong_kind(node, "true or false", findings);
            None
        }
    }
}

/// What was read, or nothing and a report.
pub(super) fn taken<T>(read: Option<Result<T, Box<Finding>>>, findings: &mut Findings) -> Option<T> {
    read?.map_err(|finding| findings.error(*finding)).ok()
}

/// Reads bits of the skb mark: `"0x10/0xff"`. A mask is always written, since the other bits are of multi-WAN, VRF,
/// WireGuard and policy routing.
pub(super) fn mark_bits(node: &Node, findings: &mut Findings) -> Option<MarkBits> {
    let Some(word) = words::scalar(node) else {
        words::wrong_kind(node, "bits of a mark, such as \"0x10/0xff\"", findings);
        return None;
    };
    taken(Some(parse_mark_bits(&word, node.span)), findings)
}

fn parse_mark_bits(word: &str, span: Span) -> Result<MarkBits, Box<Finding>> {
    let error = |title: String| Finding::error(span, title);
    let Some((value, mask)) = word.split_once('/') else {
        let shown = shown(word);
        let finding = error(format!("{} says no mask", quote(word)));
        let help = format!("the other bits are somebody else's: write \"{shown}/0xff\", or /0xffffffff for all");
        return Err(Box::new(finding.help(help)));
    };
    let number = |word: &str| {
        let finding = || error(format!("{} is not a mark or a mask: 0 to 0xffffffff", quote(word)));
        number_32(word).ok_or_else(|| Box::new(finding()))
    };
    let (value, mask) = (number(value)?, number(mask)?);
    if mask == 0 {
        return Err(Box::new(error("a mask of 0 is of no bit".to_owned())));
    }
    if value & !mask != 0 {
        let finding = error(format!("{value:#x} has bits outside the mask {mask:#x}"));
        return Err(Box::new(finding.help(format!("did you mean \"{value:#x}/{:#x}\"?", mask | value))));
    }
    Ok(MarkBits { value, mask })
}

/// A number in decimal or hexadecimal notation.
pub(in crate::policy) fn number_32(word: &str) -> Option<u32> {
    let (digits, radix) = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (word, 10),
    };
    let all_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    all_digits.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

fn priority(node: &Node, findings: &mut Findings) -> Option<u32> {
    let priority = match &node.kind {
        Kind::Integer(number) => u32::try_from(*number).ok(),
        Kind::String(word) => tc_class(word),
        _ => {
            words::wrong_kind(node, "a number or a class such as \"10:200\"", findings);
            return None;
        }
    };
    if priority.is_none() {
        let word = words::scalar(node).unwrap_or_default();
        let finding = Finding::error(node.span, format!("{} is not a priority", quote(&word)));
        let decimal = word.parse::<u32>().is_ok();
        findings.error(if decimal {
            finding.help(format!("a number has no quotes: priority = {word}"))
        } else {
            finding.help("it is a number of 32 bits, or a class of tc in hexadecimal: 6, \"10:200\"")
        });
    }
    priority
}

/// `MAJOR:MINOR`, both hexadecimal as tc has them.
fn tc_class(word: &str) -> Option<u32> {
    let half = |digits: &str| {
        let fits = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    let (major, minor) = word.split_once(':')?;
    Some(half(major)? << 16 | half(minor)?)
}
