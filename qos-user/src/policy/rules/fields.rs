//! `match`: the fields of a rule.

use super::{Rules, Written, actions, sense};
use crate::{
    policy::{
        diagnostic::{Finding, Findings, quote},
        interfaces,
        meant::{self, Within},
        model::{Condition, Field, Fragment, Origin},
        ranges,
        source::Span,
        tree::{Entry, Key, Node, Table},
        words,
    },
    printable::is_printable,
};

pub(in crate::policy) const FIELDS: [&str; 16] = [
    "dscp",
    "family",
    "proto",
    "src",
    "dst",
    "src-port",
    "dst-port",
    "port",
    "vlan",
    "pcp",
    "length",
    "fragment",
    "icmp-type",
    "mark",
    "origin",
    "from",
];

const FAMILIES: &[(&str, u8)] = &[("ipv4", 4), ("ipv6", 6), ("4", 4), ("6", 6)];
const FRAGMENTS: &[(&str, Fragment)] = &[("no", Fragment::No), ("first", Fragment::First), ("later", Fragment::Later)];
const ORIGINS: &[(&str, Origin)] = &[("local", Origin::Local), ("forwarded", Origin::Forwarded)];

impl Rules<'_, '_> {
    pub(super) fn conditions(&mut self, table: &Table, written: &mut Written) {
        let Some(entry) = table.get("match") else { return };
        let Some(table) = words::table(&entry.value, "a table such as { dscp = \"EF\" }", self.findings) else {
            return;
        };
        for entry in table.entries() {
            if let Some(condition) = self.condition(entry, written) {
                written.rule.conditions.push(condition);
                written.fields.push(entry.key.span);
            }
        }
    }

    fn condition(&mut self, entry: &Entry, written: &mut Written) -> Option<Condition> {
        let key = &*entry.key.text;
        let (name, negated) = key.strip_suffix("-not").map_or((key, false), |name| (name, true));
        if !FIELDS.contains(&name) {
            unknown_field(&entry.key, name, negated, self.findings);
            return None;
        }
        let field = match name {
            "origin" => self.origin(entry, negated, written)?,
            _ => self.field(name, &entry.value)?,
        };
        Some(Condition { field, negated })
    }

    /// Both of them are every packet, which is no condition.
    fn origin(&mut self, entry: &Entry, negated: bool, written: &mut Written) -> Option<Field> {
        let origins = words_of("an origin", &entry.value, ORIGINS, self.findings)?;
        if let [origin] = *origins {
            return Some(Field::Origin(origin));
        }
        if negated {
            let finding = Finding::error(entry.key.span, sense::NEVER);
            self.findings.error(finding.label("every packet is of one of the two"));
        } else {
            written.any_origin = Some(entry.key.span);
        }
        None
    }

    fn field(&mut self, name: &str, node: &Node) -> Option<Field> {
        let findings = &mut *self.findings;
        match name {
            "dscp" => self.names.dscps(node, findings).map(Field::Dscp),
            "family" => words_of("a family", node, FAMILIES, findings).map(Field::Family),
            "proto" => ranges::read(node, &ranges::PROTOCOLS, findings).map(Field::Proto),
            "src" => self.names.addresses(node, findings).map(Field::Src),
            "dst" => self.names.addresses(node, findings).map(Field::Dst),
            "src-port" => ranges::read(node, &ranges::PORTS, findings).map(Field::SrcPort),
            "dst-port" => ranges::read(node, &ranges::PORTS, findings).map(Field::DstPort),
            "port" => ranges::read(node, &ranges::PORTS, findings).map(Field::Port),
            "vlan" => ranges::read(node, &ranges::VLANS, findings).map(Field::Vlan),
            "pcp" => ranges::read(node, &ranges::PCPS, findings).map(Field::Pcp),
            "length" => ranges::read(node, &ranges::LENGTHS, findings).map(Field::Length),
            "fragment" => words_of("a kind of fragment", node, FRAGMENTS, findings).map(Field::Fragment),
            "icmp-type" => ranges::read(node, &ranges::ICMP_TYPES, findings).map(Field::IcmpType),
            "mark" => actions::mark_bits(node, findings).map(Field::Mark),
            _ => interface_patterns(node, findings).map(Field::From),
        }
    }
}

/// Reads one of some words, or a list of them.
fn words_of<T: Copy + PartialEq>(
    what: &str,
    node: &Node,
    known: &[(&str, T)],
    findings: &mut Findings,
) -> Option<Vec<T>> {
    let mut found = Vec::new();
    for item in ranges::items(node, findings)? {
        match words::scalar(item) {
            Some(word) => match one_of(what, &word, item.span, known) {
                Ok(value) => found.push(value),
                Err(finding) => findings.error(words::one_of_several(*finding, &word)),
            },
            None => words::wrong_kind(item, what, findings),
        }
    }
    // In the order of the words, whatever the order in the file.
    let sorted: Vec<T> = known.iter().map(|(_, value)| *value).filter(|value| found.contains(value)).collect();
    let once = sorted.iter().enumerate().filter(|(at, value)| !sorted[..*at].contains(value));
    let once: Vec<T> = once.map(|(_, value)| *value).collect();
    (!once.is_empty()).then_some(once)
}

fn one_of<T: Copy>(what: &str, word: &str, span: Span, known: &[(&str, T)]) -> Result<T, Box<Finding>> {
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == word) {
        return Ok(*value);
    }
    let names = known.iter().map(|(name, _)| *name);
    let finding = Finding::error(span, format!("{} is not {what}", quote(word)));
    Err(Box::new(match words::nearest(word, names.clone().filter(|name| name.len() > 1)) {
        Some(near) => finding.suggest(Some(near)),
        None => finding.help(format!("known here: {}", words::sentence(names))),
    }))
}

fn interface_patterns(node: &Node, findings: &mut Findings) -> Option<Vec<String>> {
    let mut patterns = Vec::new();
    for item in ranges::items(node, findings)? {
        let Some(word) = words::string(item, "the name of an interface", findings) else { continue };
        match interfaces::bad_pattern(word, item.span) {
            Some(finding) => findings.error(finding),
            None => patterns.push(word.to_owned()),
        }
    }
    patterns.sort_unstable();
    patterns.dedup();
    (!patterns.is_empty()).then_some(patterns)
}

/// Reports a key of `match` that is no field.
fn unknown_field(key: &Key, name: &str, negated: bool, findings: &mut Findings) {
    if super::KEYS.contains(&name) {
        let finding = Finding::error(key.span, format!("{} is not something to match", quote(name)));
        return findings.error(finding.help("what a rule does is written beside `match`, not in it"));
    }
    let finding = Finding::error(key.span, format!("unknown field {}", quote(&key.text)));
    let not = if negated { "-not" } else { "" };
    findings.error(match near_field(name).or_else(|| name.strip_prefix("not-").and_then(near_field)) {
        Some(near) if name.starts_with("not-") => finding.help(format!("did you mean `{near}-not`?")),
        Some(near) => finding.help(format!("did you mean `{near}{not}`?")),
        None => finding.help(match meant::advice(Within::Match, name) {
            Some(advice) => advice.to_owned(),
            None => format!("the fields are {}", words::sentence(FIELDS)),
        }),
    });
}

fn near_field(name: &str) -> Option<&'static str> {
    let near = || words::nearest(&name.replace('_', "-"), FIELDS);
    meant::key(Within::Match, name).or_else(|| meant::advice(Within::Match, name).is_none().then(near).flatten())
}

impl Rules<'_, '_> {
    /// Reports a key of a rule that is none; a field that belongs into `match` is told so.
    pub(super) fn unknown_key(&mut self, entry: &Entry, rule: &Table) {
        let key = &*entry.key.text;
        let name = key.strip_suffix("-not").unwrap_or(key).replace('_', "-");
        if !FIELDS.contains(&&*name) {
            return words::unknown_key_within(Within::Rule, entry, &super::KEYS, self.findings);
        }
        let key = key.replace('_', "-");
        let value = self.written(&entry.value);
        let dots = if rule.get("match").is_some() { "..., " } else { "" };
        let inside = format!("write match = {{ {dots}{key} = {value} }}");
        let help = match key.as_str() {
            "dscp" => format!("{inside} for packets that come with it, set = {value} to give it to them"),
            _ => inside,
        };
        let finding = Finding::error(entry.key.span, format!("{} is a field of `match`", quote(&entry.key.text)));
        self.findings.error(finding.help(help));
    }

    /// A value as it is in the file, if that is short.
    fn written(&self, value: &Node) -> &str {
        const MOST: usize = 40;
        let text = self.source.text().get(value.span.start..value.span.end).unwrap_or_default();
        let fits = !text.is_empty() && text.len() <= MOST && text.chars().all(is_printable);
        if fits { text } else { "..." }
    }
}
