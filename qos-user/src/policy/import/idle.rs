//! Rules that change nothing, each with why: no line is dropped in silence.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Line, Read,
    condition::Condition,
    first_match::List,
    lines::Lines,
    program::{Act, Case, Program},
    writer::Quote as _,
};

/// How many entries are looked at for what decides in the place of a rule.
const MOST: usize = 256;

/// Why a rule changes nothing; of several reasons the last of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// No packet comes to it.
    Unreached,
    /// No packet that comes to it is as it asks.
    Unlike,
    /// With it and without it the same becomes of packets.
    Same,
    /// Others decide on all that it would match.
    Decided(BTreeSet<Line>),
}

/// What is known of rules, by their lines.
#[derive(Debug)]
pub(super) struct Idle(BTreeMap<Line, Why>);

impl Idle {
    /// Of all rules, before any packet has come to one.
    pub fn of(program: &Program) -> Self {
        let steps = program.chains.values().flatten().filter(|step| step.line.number > 0);
        Self(steps.map(|step| (step.line, Why::Unreached)).collect())
    }

    /// Packets come to a rule, and are, or are not, as a case of it asks.
    pub fn met(&mut self, line: Line, is_like: bool) {
        self.note(line, if is_like { Why::Same } else { Why::Unlike });
    }

    /// A rule adds nothing to what becomes of packets behind it: what decides there on all that it marks overrides it.
    pub fn adds_nothing(&mut self, line: Line, case: &Case, when: &[Condition], behind: &List) {
        let marks = case.acts.iter().any(|act| matches!(act, Act::Mark(_) | Act::Priority(_)));
        if let Some(others) = deciding(when, behind).filter(|_| marks) {
            self.note(line, Why::Decided(others));
        }
    }

    /// An entry with these lines is left out, since another one decides before it.
    pub fn decided(&mut self, lines: &[Line], before: &[Line]) {
        let Some(by) = before.last() else { return };
        lines.iter().filter(|line| *line != by).for_each(|line| self.note(*line, Why::Decided([*by].into())));
    }

    /// What is known of the same rules at another hook.
    pub fn extend(&mut self, other: Self) {
        other.0.into_iter().for_each(|(line, why)| self.note(line, why));
    }

    fn note(&mut self, line: Line, why: Why) {
        let known = self.0.get_mut(&line).filter(|known| **known < why);
        if let Some(known) = known {
            *known = why;
        }
    }

    /// Notes those of which nothing is in the lists, and nothing has been said.
    pub fn tell<'a>(self, lists: impl Iterator<Item = &'a List>, read: &mut Read, lines: &Lines) {
        let entries = lists.flat_map(|list| &list.entries);
        let carried: BTreeSet<Line> = entries.flat_map(|entry| entry.lines.iter().copied()).collect();
        for (line, why) in self.0 {
            if !carried.contains(&line) && !read.listed.contains(&line) && !read.with.contains_key(&line) {
                read.note(lines, line, format!("it has no effect in the policy: {}", why.words(line, lines)));
            }
        }
    }
}

/// The lines of the entries that decide, if they do so on all that these conditions hold for.
fn deciding(when: &[Condition], list: &List) -> Option<BTreeSet<Line>> {
    let mut lines = BTreeSet::new();
    for condition in when {
        let meets = |when: &Condition| !condition.and(when).is_empty();
        let mut asked = list.entries.iter().take(MOST).filter(|entry| meets(&entry.when));
        let last = asked.find(|entry| {
            lines.extend(entry.lines.last());
            entry.when.covers(condition)
        });
        last?;
    }
    Some(lines)
}

impl Why {
    fn words(&self, line: Line, lines: &Lines) -> String {
        let Self::Decided(by) = self else { return self.word().to_owned() };
        let places = by.iter().map(|line| lines.place(*line)).collect::<Vec<_>>().join(", ");
        let ends = if by.len() == 1 { "s" } else { "" };
        match by.iter().all(|other| *other > line) {
            true => format!("{places} override{ends} it"),
            false => format!("{places} decide{ends} on what it would match"),
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Unreached => "no packet comes to it",
            Self::Unlike => "no packet that comes to it is as it asks",
            Self::Same | Self::Decided(_) => "packets leave the same without it",
        }
    }
}
