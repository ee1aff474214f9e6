//! The verdict on expectations: whether what moved was expected, and where packets went instead.

use qos_common::ds::Dscp;
use serde_json::{Value, json};

use super::{
    elsewhere::Elsewhere,
    expectation::Expectation,
    moved::{Moved, Side},
    rules::Hit,
};
use crate::{error::Exit, invocation::Invocation, snapshot::TableLabel};

/// What is said in the end.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The hook, as `IFACE:DIR`.
    pub hook: String,
    /// What was expected.
    pub expectations: &'a [Expectation],
    /// On which side.
    pub side: Side,
    /// What moved.
    pub moved: &'a Moved,
    /// The table in force and its file, to say which entry decided.
    pub table: Option<(&'a TableLabel, &'a str)>,
    /// The same for outer headers.
    pub outer: Option<(&'a TableLabel, &'a str)>,
    /// The rules that were hit meanwhile.
    pub rules: Hit<'a>,
    /// What else explains a verdict: no table at the hook, or one that is out of the path.
    pub aside: Option<String>,
    /// What the other hooks of this router have counted.
    pub elsewhere: Vec<Elsewhere<'a>>,
    /// How our commands are typed here.
    pub here: Invocation,
    /// The command that was to make the traffic.
    pub command: Command,
}

/// The command, when it has ended.
#[derive(Clone, Debug)]
pub struct Command {
    /// Itself and how it ended.
    pub ended: String,
    /// Whether it says that it failed.
    pub failed: bool,
}

/// The answer to all expectations together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All is as expected.
    Yes,
    /// Something is not.
    No,
    /// The command failed, and what was expected is that nothing came: nothing was tried.
    Unknown,
}

impl Answer {
    const fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }

    /// How the process ends.
    #[must_use]
    pub const fn exit(self) -> Exit {
        match self {
            Self::Yes => Exit::Done,
            Self::No => Exit::No,
            Self::Unknown => Exit::Unknown,
        }
    }
}

impl Verdict<'_> {
    /// Whether all is as expected, as far as that can be told.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let came = |expectation: &Expectation| self.moved.packets(expectation, self.side) > 0;
        if !self.expectations.iter().all(|expectation| self.met(expectation)) {
            Answer::No
        } else if self.command.failed && !self.expectations.iter().any(came) {
            Answer::Unknown
        } else {
            Answer::Yes
        }
    }

    fn met(&self, expectation: &Expectation) -> bool {
        expectation.is_met(self.moved.packets(expectation, self.side))
    }

    /// The verdict for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for expectation in self.expectations {
            lines.push(self.line(expectation));
            if !self.met(expectation) {
                lines.extend(self.instead(expectation));
            }
        }
        lines.extend(self.hints().iter().map(|hint| format!("  {hint}")));
        lines.extend(self.meanwhile());
        lines.push(format!("command: {}", self.command.ended));
        if self.answer() == Answer::Unknown {
            lines.push("  it failed, and nothing came: that says nothing about the hook".to_owned());
        }
        lines.join("\n") + "\n"
    }

    /// What else there is to know where something is not as expected.
    fn hints(&self) -> Vec<String> {
        if self.answer() != Answer::No {
            return Vec::new();
        }
        let unmet = || self.expectations.iter().filter(|expectation| !self.met(expectation));
        let elsewhere = self.elsewhere.iter().flat_map(|other| other.hints(unmet()));
        self.aside.iter().cloned().chain(elsewhere).map(|hint| self.here.completed(&hint)).collect()
    }

    fn line(&self, expectation: &Expectation) -> String {
        let [before, after] = [Side::Before, Side::After].map(|side| self.moved.packets(expectation, side));
        let word = match self.answer() {
            Answer::Unknown => "UNKNOWN",
            _ if self.met(expectation) => "YES",
            _ => "NO",
        };
        let left = format!("{}  {}  before +{before}  after +{after}", self.hook, label(expectation));
        format!("{left:<58}  expected {} {expectation:<14} {word}", self.side.word())
    }

    /// Where the packets of an unmet expectation went, or why there were none.
    fn instead(&self, expectation: &Expectation) -> Vec<String> {
        let came = self.moved.packets(expectation, Side::Before);
        if came == 0 && expectation.packets > 0 {
            return vec![format!("  none came to this hook: {}", self.why_none(expectation))];
        }
        let away = self.moved.remarked.iter().filter(|(from, _, _)| expectation.dscps.contains(from));
        let away = away.filter(|(_, to, _)| !expectation.dscps.contains(to));
        let away =
            away.map(|(from, to, packets)| format!("  {packets} of {came} became {to}: {}", self.decider(*from, *to)));
        let dropped = self.moved.dropped_of(expectation);
        let dropped =
            dropped.map(|(dscp, packets)| format!("  {packets} of {came} were dropped: {}", self.rules.dropper(dscp)));
        away.chain(dropped).chain(self.beside(expectation)).collect()
    }

    fn why_none(&self, expectation: &Expectation) -> String {
        let others = self.came_instead(expectation);
        let came = (!others.is_empty()).then(|| format!("what came: {}", listed(&others)));
        let why: Vec<_> = self.elsewhere.iter().filter_map(|other| other.dropped(expectation)).chain(came).collect();
        match why.is_empty() {
            false => why.join("; "),
            true if self.command.failed => "the command failed".to_owned(),
            true => "is this the way the traffic takes?".to_owned(),
        }
    }

    /// Where fewer came, what came in their place; where more did, what they were, if they may be several.
    fn beside(&self, expectation: &Expectation) -> Option<String> {
        let packets = self.moved.packets(expectation, self.side);
        let is_meant = |dscp: Dscp| expectation.dscps.contains(&dscp);
        let (words, moved) = match packets < expectation.packets {
            true if self.came_short(expectation) => ("what else came", self.came_instead(expectation)),
            false if expectation.dscps.len() > 1 => ("these were", self.moved.by_size(self.side, is_meant)),
            _ => return None,
        };
        (!moved.is_empty()).then(|| format!("  {words}: {}", listed(&moved)))
    }

    /// Whether too few came for as many to leave.
    fn came_short(&self, expectation: &Expectation) -> bool {
        [Side::Before, self.side].iter().all(|side| self.moved.packets(expectation, *side) < expectation.packets)
    }

    /// The codepoints that came to the hook and are none of an expectation's.
    fn came_instead(&self, expectation: &Expectation) -> Vec<(Dscp, u64)> {
        self.moved.by_size(Side::Before, |dscp| !expectation.dscps.contains(&dscp))
    }

    fn decider(&self, from: Dscp, to: Dscp) -> String {
        let by_rule = self.rules.by(|rule| rule.may_send(from, to));
        by_rule.or_else(|| self.outer(from, to)).unwrap_or_else(|| self.entry(from))
    }

    /// The table for outer headers, where it leads there and the other one does not.
    fn outer(&self, from: Dscp, to: Dscp) -> Option<String> {
        let by_table = self.table.and_then(|(table, _)| table.entries.get(from.index()));
        let (outer, file) = self.outer.filter(|(outer, _)| outer.leads_to(to))?;
        by_table.is_none_or(|entry| entry.to != to).then(|| outer.as_outer(to, file))
    }

    fn entry(&self, from: Dscp) -> String {
        let Some((table, file)) = self.table else { return "by a table that is no longer in force".to_owned() };
        match table.entries.get(from.index()) {
            Some(entry) => format!("table {}, entry {} ({file}:{})", table.name, entry.key, entry.line),
            None => format!("table {}", table.name),
        }
    }

    /// What moved beside what was asked about, and has not been said yet.
    fn meanwhile(&self) -> Vec<String> {
        let unmet =
            self.expectations.iter().filter(|expectation| !self.met(expectation) && self.came_short(expectation));
        let said: Vec<_> = unmet.flat_map(|expectation| self.came_instead(expectation)).collect();
        let mut moved = self.unasked();
        moved.retain(|one| !said.contains(one));
        let mut lines = Vec::new();
        if !moved.is_empty() {
            lines.push(format!("  meanwhile also moved: {} (not asked)", listed(&moved)));
        }
        if self.moved.protected > 0 {
            lines.push(format!("  protected, made by this host: {}", self.moved.protected));
        }
        let dropped: u64 = self.moved.dropped.iter().map(|(_, packets)| packets).sum();
        if dropped > 0 {
            lines.push(format!("  dropped by the policy: {dropped}"));
        }
        if self.moved.uncounted > 0 {
            lines.push(format!("  not IP or malformed: {}", self.moved.uncounted));
        }
        lines
    }

    fn unasked(&self) -> Vec<(Dscp, u64)> {
        let asked = |dscp: Dscp| self.expectations.iter().any(|expectation| expectation.dscps.contains(&dscp));
        self.moved.by_size(self.side, |dscp| !asked(dscp))
    }

    /// The verdict for machines.
    #[must_use]
    pub fn document(&self) -> Value {
        let expectations: Vec<_> =
            self.expectations.iter().map(|expectation| self.expectation_document(expectation)).collect();
        let remarked: Vec<_> = self.moved.remarked.iter().map(|(from, to, packets)| {
            json!({ "from": from.value(), "to": to.value(), "packets": packets, "by": self.decider(*from, *to) })
        }).collect();
        let unasked = documents(&self.unasked());
        let dropped: Vec<_> = self
            .moved
            .dropped
            .iter()
            .map(|(dscp, packets)| json!({ "dscp": dscp.value(), "packets": packets, "by": self.rules.dropper(*dscp) }))
            .collect();
        json!({
            "schema": 1,
            "hook": self.hook,
            "side": self.side.word(),
            "verdict": self.answer().word(),
            "expectations": expectations,
            "remarked": remarked,
            "dropped": dropped,
            "not_asked": unasked,
            "protected": self.moved.protected,
            "uncounted": self.moved.uncounted,
            "hints": self.hints(),
            "command": self.command.ended,
        })
    }

    fn expectation_document(&self, expectation: &Expectation) -> Value {
        json!({
            "expectation": expectation.to_string(),
            "dscps": expectation.dscps.iter().map(|dscp| dscp.value()).collect::<Vec<_>>(),
            "before": self.moved.packets(expectation, Side::Before),
            "after": self.moved.packets(expectation, Side::After),
            "met": self.met(expectation),
            "instead": if self.met(expectation) { Vec::new() } else { documents(&self.came_instead(expectation)) },
        })
    }
}

/// `AF41 +10  CS1 +2`.
fn listed(moved: &[(Dscp, u64)]) -> String {
    moved.iter().map(|(dscp, packets)| format!("{dscp} +{packets}")).collect::<Vec<_>>().join("  ")
}

fn documents(moved: &[(Dscp, u64)]) -> Vec<Value> {
    moved.iter().map(|(dscp, packets)| json!({ "dscp": dscp.value(), "packets": packets })).collect()
}

/// `EF 46` for a codepoint, the name alone for a class.
fn label(expectation: &Expectation) -> String {
    match expectation.dscps.as_slice() {
        [dscp] if dscp.name().is_some() => format!("{dscp} {}", dscp.value()),
        _ => expectation.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use qos_common::abi::Counter;

    use super::*;
    use crate::{cmd::expect::expectation, snapshot::Counts};

    fn answer(words: &[&str], came: u64, failed: bool) -> Answer {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut later = Counts::zero();
        later.sums.kept[0][184] = Counter { packets: came, bytes: came * 100 };
        let verdict = Verdict {
            hook: "lan0:ingress".to_owned(),
            expectations: &expectation::parse(&words, None).unwrap(),
            side: Side::Before,
            moved: &Moved::between(&Counts::zero(), &later).unwrap(),
            table: None,
            outer: None,
            rules: Hit::default(),
            aside: None,
            elsewhere: Vec::new(),
            here: Invocation::default(),
            command: Command { ended: "ping ended".to_owned(), failed },
        };
        assert_eq!(verdict.document()["verdict"], verdict.answer().word());
        verdict.answer()
    }

    #[test]
    fn a_command_that_failed_proves_no_absence() {
        assert_eq!(answer(&["EF=0"], 0, false), Answer::Yes);
        assert_eq!(answer(&["EF=0", "other<=3"], 0, true), Answer::Unknown);
        assert_eq!(answer(&["EF=1", "other=0"], 1, true), Answer::Yes);
        assert_eq!(answer(&["EF=1"], 0, true), Answer::No);
        assert_eq!(answer(&["EF=0"], 1, true), Answer::No);
    }

    #[test]
    fn counters_that_fell_are_not_compared() {
        let mut earlier = Counts::zero();
        earlier.sums.kept[0][184] = Counter { packets: 1, bytes: 100 };
        assert!(Moved::between(&earlier, &Counts::zero()).is_none());
    }
}
