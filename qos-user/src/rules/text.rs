//! Rules in a few words, for screens.

use std::{collections::HashSet, fmt::Display};

use qos_common::ds::Dscp;

use super::{
    model::{Action, Condition, Field, Fragment, LogRate, MarkBits, Meter, MeterKind, Origin, Prefixes, Rule, Verdict},
    protocols,
};

/// How many values of a field are shown; the file has them all.
const SHOWN: usize = 4;

impl Rule {
    /// What it matches: `dscp EF VA, udp, src-not 10.20.0.0/24`.
    #[must_use]
    pub fn matches(&self) -> String {
        if self.conditions.is_empty() { "every packet".to_owned() } else { joined(&self.conditions, ", ") }
    }

    /// What it does: `-> EF`, `keep`, `drop`, `count`.
    #[must_use]
    pub fn result(&self) -> String {
        let action = match &self.action {
            Action::None => "counts, and goes on".to_owned(),
            Action::Set(None) => "keep".to_owned(),
            Action::Set(Some(dscp)) => format!("-> {dscp}"),
            Action::Drop => "drop".to_owned(),
            Action::Meter(meter) => meter.numbers(),
        };
        let priority = self.priority.map(|priority| format!("priority {}", class(priority)));
        let mark = self.mark.map(|mark| format!("mark {mark}"));
        joined([Some(action), priority, mark].into_iter().flatten(), ", ")
    }

    /// The same with what its colors mean, and what it does beside deciding.
    #[must_use]
    pub fn all_it_does(&self) -> String {
        let colors = self.meter().map(Meter::colors);
        let counts = (self.count && self.decides()).then(|| "counts".to_owned());
        let log = self.log.map(|rate| format!("log {rate}"));
        joined([Some(self.result()), colors, counts, log].into_iter().flatten(), ", ")
    }

    /// What its conditions have that those of the other rule have not, in full: `src 10.0.0.9/32`.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> String {
        let values = |rule: &Self| rule.conditions.iter().flat_map(Condition::all).collect::<HashSet<_>>();
        let theirs = values(other);
        few(self.conditions.iter().flat_map(Condition::all).filter(|value| !theirs.contains(value)))
    }
}

/// A priority above 65,535 is a class of tc.
pub(crate) fn class(priority: u32) -> String {
    let (major, minor) = (priority >> 16, priority & 0xffff);
    if major == 0 { minor.to_string() } else { format!("{major:x}:{minor:x}") }
}

impl Meter {
    /// What green, yellow and red mean.
    #[must_use]
    pub const fn verdicts(&self) -> [Verdict; 3] {
        [self.green, self.yellow, self.red]
    }

    /// What colors mean, which codepoints arrive colored, and what is added to each packet.
    fn colors(&self) -> String {
        let bits = |bits: u64| few(Dscp::all().filter(move |dscp| bits >> dscp.value() & 1 == 1));
        let arrives = |(color, dscps): (&str, u64)| (dscps != 0).then(|| format!("{color} arrives as {}", bits(dscps)));
        let aware =
            self.aware.map_or([("yellow", 0), ("red", 0)], |aware| [("yellow", aware.yellow), ("red", aware.red)]);
        let verdicts = [("green", self.green), ("yellow", self.yellow), ("red", self.red)];
        let verdicts = verdicts.map(|(color, verdict)| format!("{color} {verdict}"));
        let overhead = (self.overhead != 0).then(|| format!("overhead {}", self.overhead));
        joined(verdicts.into_iter().chain(aware.into_iter().filter_map(arrives)).chain(overhead), ", ")
    }

    /// Its type and numbers: `trtcm cir 8M cbs 64k pir 12M pbs 64k`.
    #[must_use]
    pub fn numbers(&self) -> String {
        let (name, values) = match self.kind {
            MeterKind::SrTcm { cir, cbs, ebs } => ("srtcm", [("cir", 8 * cir), ("cbs", cbs), ("ebs", ebs), ("", 0)]),
            MeterKind::TrTcm { cir, cbs, pir, pbs } => {
                ("trtcm", [("cir", 8 * cir), ("cbs", cbs), ("pir", 8 * pir), ("pbs", pbs)])
            }
            MeterKind::Rfc4115 { cir, cbs, eir, ebs } => {
                ("rfc4115", [("cir", 8 * cir), ("cbs", cbs), ("eir", 8 * eir), ("ebs", ebs)])
            }
        };
        let values = values.iter().filter(|(name, _)| !name.is_empty());
        format!("{name} {}", joined(values.map(|(name, value)| format!("{name} {}", scaled(*value))), " "))
    }
}

/// A number in powers of 1000, without loss: 8,000,000 is `8M`.
fn scaled(value: u64) -> String {
    let units = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];
    let unit = units.into_iter().find(|(_, size)| value >= *size && value.is_multiple_of(*size));
    unit.map_or_else(|| value.to_string(), |(unit, size)| format!("{}{unit}", value / size))
}

impl Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Set(dscp) => write!(f, "-> {dscp}"),
            Self::Drop => f.write_str("drop"),
        }
    }
}

impl Display for LogRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = match self.seconds {
            1 => "s",
            60 => "min",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.events)
    }
}

impl Display for MarkBits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, values) = self.field.values();
        let values = few(values);
        let not = if self.negated { "-not" } else { "" };
        // `udp` says as much as `proto udp`.
        if name == "proto" && !self.negated { f.write_str(&values) } else { write!(f, "{name}{not} {values}") }
    }
}

impl Condition {
    /// Each of its values, with its name.
    fn all(&self) -> impl Iterator<Item = String> {
        let (name, values) = self.field.values();
        let not = if self.negated { "-not" } else { "" };
        values.into_iter().map(move |value| format!("{name}{not} {value}"))
    }
}

impl Field {
    fn values(&self) -> (&'static str, Vec<String>) {
        match self {
            Self::Dscp(bits) => ("dscp", each(Dscp::all().filter(|dscp| bits >> dscp.value() & 1 == 1))),
            Self::Family(families) => ("family", each(families.iter().map(|version| format!("ipv{version}")))),
            Self::Proto(ranges) => ("proto", each(ranges.iter().map(|range| protocol(*range)))),
            Self::Src(prefixes) => ("src", prefixes.values()),
            Self::Dst(prefixes) => ("dst", prefixes.values()),
            Self::SrcPort(values) => ("src-port", ranges(values)),
            Self::DstPort(values) => ("dst-port", ranges(values)),
            Self::Port(values) => ("port", ranges(values)),
            Self::Vlan(values) => ("vlan", ranges(values)),
            Self::Pcp(values) => ("pcp", ranges(values)),
            Self::Length(values) => ("length", ranges(values)),
            Self::Fragment(kinds) => ("fragment", each(kinds.iter().map(|kind| kind.word()))),
            Self::IcmpType(values) => ("icmp-type", ranges(values)),
            Self::Mark(mark) => ("mark", vec![mark.to_string()]),
            Self::Origin(origin) => ("origin", vec![origin.word().to_owned()]),
            Self::From(patterns) => ("from", patterns.clone()),
        }
    }
}

impl Fragment {
    const fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::First => "first",
            Self::Later => "later",
        }
    }
}

impl Origin {
    const fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Forwarded => "forwarded",
        }
    }
}

impl Prefixes {
    fn values(&self) -> Vec<String> {
        let v4 = self.v4.iter().map(|(address, length)| format!("{address}/{length}"));
        v4.chain(self.v6.iter().map(|(address, length)| format!("{address}/{length}"))).collect()
    }
}

fn protocol((first, last): (u8, u8)) -> String {
    let name = protocols::NAMES.iter().find(|(_, number)| (*number, *number) == (first, last));
    if let Some((name, _)) = name {
        (*name).to_owned()
    } else if first == last {
        first.to_string()
    } else {
        format!("{first}-{last}")
    }
}

fn ranges<T: Display + PartialEq>(ranges: &[(T, T)]) -> Vec<String> {
    each(ranges.iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") }))
}

fn each<T: Display>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

fn joined<T: Display>(values: impl IntoIterator<Item = T>, between: &str) -> String {
    each(values).join(between)
}

/// The first values, and how many more there are.
fn few<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    let mut values = values.into_iter();
    let shown = joined(values.by_ref().take(SHOWN), " ");
    match values.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(field: Field, negated: bool) -> String {
        Condition { field, negated }.to_string()
    }

    #[test]
    fn conditions_in_the_words_of_the_file() {
        let prefixes = Prefixes { v4: vec![([10, 20, 0, 0].into(), 24)], v6: Vec::new() };
        assert_eq!(condition(Field::Src(prefixes), true), "src-not 10.20.0.0/24");
        assert_eq!(condition(Field::Dscp(1 << 46 | 1 << 44), false), "dscp VA EF");
        assert_eq!(condition(Field::Proto(vec![(17, 17)]), false), "udp");
        assert_eq!(condition(Field::Proto(vec![(6, 6), (50, 51)]), true), "proto-not tcp 50-51");
        assert_eq!(condition(Field::DstPort(vec![(3478, 3481)]), false), "dst-port 3478-3481");
        assert_eq!(condition(Field::Mark(MarkBits { value: 16, mask: 255 }), false), "mark 0x10/0xff");
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        let ports = (1..=9).map(|port| (port, port)).collect();
        assert_eq!(condition(Field::SrcPort(ports), false), "src-port 1 2 3 4 and 5 more");
    }

    #[test]
    fn numbers_lose_nothing() {
        assert_eq!(
            [8_000_000, 64_000, 65_536, 1500, 400_000_000_000].map(scaled),
            ["8M", "64k", "65536", "1500", "400G"]
        );
        assert_eq!(class(6), "6");
        assert_eq!(class(0x10_0200), "10:200");
    }
}
