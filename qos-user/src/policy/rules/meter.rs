//! `meter`, `color`, `green`, `yellow`, `red`.

use super::{Rules, actions};
use crate::policy::{
    diagnostic::{Finding, Findings, quote},
    meant::Within,
    model::{Arrived, Meter, MeterKind, Verdict},
    source::Span,
    tree::{Entry, Kind, Node, Table},
    units, words,
};

/// A kind of meter: its word, its RFC's name, its parameters.
struct Algorithm {
    word: &'static str,
    name: &'static str,
    parameters: &'static [&'static str],
}

const SRTCM: Algorithm = Algorithm { word: "srtcm", name: "srTCM (RFC 2697)", parameters: &["cir", "cbs", "ebs"] };
const TRTCM: Algorithm =
    Algorithm { word: "trtcm", name: "trTCM (RFC 2698)", parameters: &["cir", "cbs", "pir", "pbs"] };
const RFC4115: Algorithm =
    Algorithm { word: "rfc4115", name: "meter of RFC 4115", parameters: &["cir", "cbs", "eir", "ebs"] };
const ALGORITHMS: [&Algorithm; 3] = [&SRTCM, &TRTCM, &RFC4115];

const COLORS: [&str; 4] = ["color", "green", "yellow", "red"];
const KEYS: [&str; 8] = ["type", "cir", "cbs", "pir", "pbs", "eir", "ebs", "overhead"];
const NUMBERS: [&str; 6] = ["cir", "cbs", "pir", "pbs", "eir", "ebs"];

/// The bytes that may be added to a packet, or taken from it.
const OVERHEAD: std::ops::RangeInclusive<i64> = -64..=256;

/// Reports colors where there is no meter to give them.
pub(super) fn check_strays(table: &Table, findings: &mut Findings) {
    if table.get("meter").is_some() {
        return;
    }
    for key in COLORS.iter().filter_map(|color| Some(&table.get(color)?.key)) {
        let finding = Finding::error(key.span, format!("`{}` without a meter", key.text));
        findings.error(finding.help("a packet gets its color from `meter`"));
    }
}

impl Rules<'_, '_> {
    /// Reads the meter of a rule; what it needs beside it is in `rule`.
    pub(super) fn meter(&mut self, entry: &Entry, rule: &Table) -> Option<Meter> {
        let wanted = "a table such as { type = \"trtcm\", cir = \"8mbit\", ... }";
        let table = words::table(&entry.value, wanted, self.findings);
        let kind = table.and_then(|table| self.kind(table, entry.key.span));
        let overhead = table.and_then(|table| self.overhead(table)).unwrap_or_default();
        let aware = rule.get("color").and_then(|entry| self.color(&entry.value));
        let [green, yellow, red] = ["green", "yellow", "red"].map(|color| match rule.get(color) {
            Some(entry) => self.names.verdict(&entry.value, self.findings),
            None => Some(Verdict::Keep),
        });
        Some(Meter { kind: kind?, aware, overhead, green: green?, yellow: yellow?, red: red? })
    }

    fn kind(&mut self, table: &Table, span: Span) -> Option<MeterKind> {
        let algorithm = self.algorithm(table, span);
        self.check_parameters(table, algorithm);
        let Some(algorithm) = algorithm else {
            // Whatever type is meant, its numbers are right or wrong.
            for entry in table.entries().iter().filter(|entry| NUMBERS.contains(&&*entry.key.text)) {
                let _of_no_use = self.parameter(entry);
            }
            return None;
        };
        let mut missing = Vec::new();
        let mut values = Vec::new();
        for parameter in algorithm.parameters {
            match table.get(parameter) {
                Some(entry) => values.extend(self.parameter(entry)),
                None => missing.push(*parameter),
            }
        }
        missing.retain(|parameter| !words::is_misspelt(Within::Meter, table, parameter, &KEYS));
        if !missing.is_empty() {
            let title = format!("a {} needs {}", algorithm.name, words::sentence(missing.iter().copied()));
            self.findings.missing(Finding::error(span, title));
        }
        let kind = match (algorithm.word, &*values) {
            ("srtcm", &[cir, cbs, ebs]) => MeterKind::SrTcm { cir, cbs, ebs },
            ("trtcm", &[cir, cbs, pir, pbs]) => MeterKind::TrTcm { cir, cbs, pir, pbs },
            ("rfc4115", &[cir, cbs, eir, ebs]) => MeterKind::Rfc4115 { cir, cbs, eir, ebs },
            _ => return None,
        };
        self.check_numbers(kind, table, span);
        Some(kind)
    }

    fn algorithm(&mut self, table: &Table, span: Span) -> Option<&'static Algorithm> {
        let Some(entry) = table.get("type") else {
            if words::is_misspelt(Within::Meter, table, "type", &KEYS) {
                return None;
            }
            let finding = Finding::error(span, "the meter does not say its `type`");
            self.findings.missing(finding.help("write type = \"srtcm\", \"trtcm\" or \"rfc4115\""));
            return None;
        };
        let word = words::string(&entry.value, "\"srtcm\", \"trtcm\" or \"rfc4115\"", self.findings)?;
        let known = ALGORITHMS.iter().find(|algorithm| algorithm.word == word).copied();
        if known.is_none() {
            let finding = Finding::error(entry.value.span, format!("{} is not a type of meter", quote(word)));
            let near = match word {
                "rfc2697" => Some("srtcm"),
                "rfc2698" => Some("trtcm"),
                _ => words::nearest(word, ALGORITHMS.map(|algorithm| algorithm.word)),
            };
            self.findings.error(match near {
                Some(near) => finding.suggest(Some(near)),
                None => finding.help("it is \"srtcm\" (RFC 2697), \"trtcm\" (RFC 2698) or \"rfc4115\""),
            });
        }
        known
    }

    fn check_parameters(&mut self, table: &Table, algorithm: Option<&Algorithm>) {
        for entry in table.entries() {
            let key = &entry.key;
            if !KEYS.contains(&&*key.text) {
                words::unknown_key_within(Within::Meter, entry, &KEYS, self.findings);
                continue;
            }
            let Some(algorithm) = algorithm else { continue };
            if !matches!(&*key.text, "type" | "overhead") && !algorithm.parameters.contains(&&*key.text) {
                let finding = Finding::error(key.span, format!("a {} has no `{}`", algorithm.name, key.text));
                let parameters = words::sentence(algorithm.parameters.iter().copied());
                self.findings.error(finding.help(format!("it has {parameters}")));
            }
        }
    }

    fn parameter(&mut self, entry: &Entry) -> Option<u64> {
        let (node, is_rate) = (&entry.value, entry.key.text.ends_with("ir"));
        let example = if is_rate { "8mbit" } else { "64kB" };
        if let Kind::Integer(number) = node.kind {
            let what = if is_rate { "a rate" } else { "a size" };
            let finding = Finding::error(node.span, format!("{what} needs a unit"));
            let written = if is_rate { units::written_rate(number) } else { units::written_size(number) };
            self.findings.error(finding.help(format!("write it as \"{written}\", not as {number}")));
            return None;
        }
        let word = words::string(node, &format!("a string such as \"{example}\""), self.findings)?;
        let read = if is_rate { units::rate } else { units::size };
        actions::taken(Some(read(word, node.span)), self.findings)
    }

    fn check_numbers(&mut self, kind: MeterKind, table: &Table, span: Span) {
        let place = |key: &str| table.get(key).map_or(span, |entry| entry.value.span);
        match kind {
            MeterKind::SrTcm { cbs: 0, ebs: 0, .. } => {
                let finding = Finding::error(place("cbs"), "one of `cbs` and `ebs` is more than 0 (RFC 2697)");
                self.findings.error(finding.label("no packet would ever conform"));
            }
            MeterKind::TrTcm { cir, pir, .. } if pir < cir => {
                let finding = Finding::error(place("pir"), "the peak rate is at least the committed one (RFC 2698)");
                self.findings.error(finding.also(place("cir"), "the committed rate"));
            }
            MeterKind::TrTcm { cbs: 0, .. } | MeterKind::Rfc4115 { cbs: 0, .. } => self.empty_burst("cbs", table, span),
            MeterKind::TrTcm { pbs: 0, .. } => self.empty_burst("pbs", table, span),
            MeterKind::Rfc4115 { ebs: 0, .. } => self.empty_burst("ebs", table, span),
            MeterKind::SrTcm { .. } | MeterKind::TrTcm { .. } | MeterKind::Rfc4115 { .. } => {}
        }
    }

    fn empty_burst(&mut self, key: &str, table: &Table, span: Span) {
        let span = table.get(key).map_or(span, |entry| entry.value.span);
        self.findings.error(Finding::error(span, format!("`{key}` is more than 0: no packet would ever conform")));
    }

    fn overhead(&mut self, table: &Table) -> Option<i16> {
        let node = &table.get("overhead")?.value;
        let Kind::Integer(number) = node.kind else {
            words::wrong_kind(node, "bytes a packet, a number without a unit", self.findings);
            return None;
        };
        if OVERHEAD.contains(&number) {
            return i16::try_from(number).ok();
        }
        let title = format!("an overhead is {} to {} bytes a packet", OVERHEAD.start(), OVERHEAD.end());
        self.findings.error(Finding::error(node.span, title));
        None
    }

    fn color(&mut self, node: &Node) -> Option<Arrived> {
        let table = words::table(node, "a table such as { yellow = [\"AF42\"], red = [\"AF43\"] }", self.findings)?;
        let mut arrived = Arrived { yellow: 0, red: 0 };
        for Entry { key, value } in table.entries() {
            match &*key.text {
                "yellow" => arrived.yellow = self.names.dscps(value, self.findings).unwrap_or_default(),
                "red" => arrived.red = self.names.dscps(value, self.findings).unwrap_or_default(),
                "green" => {
                    let finding = Finding::error(key.span, "`green` is not listed: it is what is not yellow or red");
                    self.findings.error(finding);
                }
                _ => words::unknown_key(key, &["yellow", "red"], self.findings),
            }
        }
        if let Some(both) = (0..64).find(|bit| (arrived.yellow & arrived.red) >> bit & 1 == 1) {
            let dscp = qos_common::ds::Dscp::new(both).map(|dscp| dscp.to_string()).unwrap_or_default();
            self.findings.error(Finding::error(node.span, format!("{dscp} cannot arrive both yellow and red")));
        }
        if table.entries().is_empty() {
            let finding = Finding::error(node.span, "`color` says no color");
            self.findings.error(finding.help("leave it out for a meter that is color-blind"));
        }
        Some(arrived)
    }
}
