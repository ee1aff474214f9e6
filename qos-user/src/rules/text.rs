//! Rules in a few words, for screens.

use std::fmt::Display;

use qos_common::ds::Dscp;

use super::{
    model::{Action, Condition, Field, Fragment, MarkBits, Meter, MeterKind, Origin, Prefixes, Rule, Verdict},
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

impl Display for MarkBits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, values) = self.field.text();
        let not = if self.negated { "-not" } else { "" };
        // `udp` says as much as `proto udp`.
        if name == "proto" && !self.negated { f.write_str(&values) } else { write!(f, "{name}{not} {values}") }
    }
}

impl Field {
    fn text(&self) -> (&'static str, String) {
        match self {
            Self::Dscp(bits) => ("dscp", few(Dscp::all().filter(|dscp| bits >> dscp.value() & 1 == 1))),
            Self::Family(families) => ("family", few(families.iter().map(|version| format!("ipv{version}")))),
            Self::Proto(ranges) => ("proto", few(ranges.iter().map(|range| protocol(*range)))),
            Self::Src(prefixes) => ("src", prefixes.text()),
            Self::Dst(prefixes) => ("dst", prefixes.text()),
            Self::SrcPort(ranges) => ("src-port", few_ranges(ranges)),
            Self::DstPort(ranges) => ("dst-port", few_ranges(ranges)),
            Self::Port(ranges) => ("port", few_ranges(ranges)),
            Self::Vlan(ranges) => ("vlan", few_ranges(ranges)),
            Self::Pcp(ranges) => ("pcp", few_ranges(ranges)),
            Self::Length(ranges) => ("length", few_ranges(ranges)),
            Self::Fragment(kinds) => ("fragment", few(kinds.iter().map(|kind| kind.word()))),
            Self::IcmpType(ranges) => ("icmp-type", few_ranges(ranges)),
            Self::Mark(mark) => ("mark", mark.to_string()),
            Self::Origin(origin) => ("origin", origin.word().to_owned()),
            Self::From(patterns) => ("from", few(patterns)),
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
    fn text(&self) -> String {
        let v4 = self.v4.iter().map(|(address, length)| format!("{address}/{length}"));
        few(v4.chain(self.v6.iter().map(|(address, length)| format!("{address}/{length}"))))
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

fn few_ranges<T: Display + PartialEq>(ranges: &[(T, T)]) -> String {
    few(ranges.iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") }))
}

fn joined<T: Display>(values: impl IntoIterator<Item = T>, between: &str) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(between)
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
