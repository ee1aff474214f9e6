//! What another policy would change: two tables, and how fast packets come that they mark differently.

use qos_common::ds::Dscp;

use super::{
    PolicyLabel, TableLabel,
    named::Entry,
    rates::{Rate, total},
};
use crate::{explain::TestRun, rules::model::Rule};

/// Everything that `policy diff` says.
#[derive(Clone, Debug)]
pub struct PolicyDiff {
    /// What runs.
    pub running: Option<PolicyLabel>,
    /// What would run.
    pub next: PolicyLabel,
    /// Every hook that is there or bound.
    pub hooks: Vec<HookDiff>,
    /// Whether it leaves out hooks that are there, so that `apply` has to be told.
    pub prune: bool,
    /// Its rules that are never asked.
    pub never_asked: Vec<NeverAsked>,
    /// What becomes of the SSH session that asks.
    pub session: Option<String>,
    /// What came of its tests.
    pub tests: Tests,
}

/// A rule that no packet comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeverAsked {
    /// Where, as the policy names it.
    pub hook: String,
    /// Its name and line, in words.
    pub rule: String,
    /// Why.
    pub why: String,
}

/// What came of the tests of a policy.
#[derive(Clone, Debug)]
pub enum Tests {
    /// Each was run.
    Run(Vec<TestRun>),
    /// This process may not run them: why.
    Left(String),
    /// They cannot be run: why.
    Failed(String),
}

impl Tests {
    /// Whether a policy would be refused for them.
    #[must_use]
    pub fn refuse(&self) -> bool {
        match self {
            Self::Run(runs) => !runs.iter().all(TestRun::passes),
            Self::Left(_) => false,
            Self::Failed(_) => true,
        }
    }
}

/// One hook.
#[derive(Clone, Debug)]
pub struct HookDiff {
    /// `wan0:egress`.
    pub name: String,
    /// Its table now.
    pub old_table: Option<String>,
    /// Its table then.
    pub new_table: Option<String>,
    /// What applying the policy would do to the hook, in `apply`'s words.
    pub effect: &'static str,
    /// Whether other marks would leave.
    pub differs: bool,
    /// Whether packets are counted there, so that an estimate is possible.
    pub live: bool,
    /// Whether the table is out of the path.
    pub bypassed: bool,
    /// Why the policy cannot run there as it is attached, and what helps.
    pub needs_tc: Option<(String, String)>,
    /// Which of this host's own packets are spared, if that changes: now and then.
    pub local: Option<(&'static str, &'static str)>,
    /// Into what it looks, if that changes: now and then.
    pub inside: Option<(String, String)>,
    /// The table for outer headers, if they would be marked differently.
    pub outer: Option<OuterDiff>,
    /// The rules whose `from` means other interfaces by now than when they were compiled.
    pub from: Vec<String>,
    /// The entries that mark something differently.
    pub entries: Vec<EntryDiff>,
    /// The rules that are not the same.
    pub rules: Vec<RuleDiff>,
}

/// Another table for outer headers than the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OuterDiff {
    /// The name of the one in force, if there is one.
    pub old: Option<String>,
    /// The name of the other, if there is one.
    pub new: Option<String>,
    /// The codepoints inside for which it makes a difference.
    pub inside: Vec<Dscp>,
}

/// One rule that is new, gone, another one, or at another place.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleDiff {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub change: RuleChange,
    /// Its line in the new file, unless it is gone.
    pub line: Option<usize>,
    /// What it is now.
    pub old: Option<String>,
    /// What it would be.
    pub new: Option<String>,
    /// How fast it decides on packets now, or counts them; `None` if it is new or nothing is counted.
    pub rate: Option<Rate>,
}

/// What becomes of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleChange {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It matches or does something else.
    Changed,
    /// It is asked before or behind other rules than now.
    Moved,
}

/// What changes from the rules of one policy to those of another; `rate` is how fast those of now count.
#[must_use]
pub fn rules(old: &[Rule], new: &[Rule], rate: impl Fn(&str) -> Option<Rate>) -> Vec<RuleDiff> {
    let was = |rule: &Rule| old.iter().find(|was| was.name == rule.name);
    let remain = old.iter().filter(|was| new.iter().any(|rule| rule.name == was.name));
    let in_order: Vec<&str> = remain.map(|rule| rule.name.as_str()).collect();
    let kept = new.iter().filter(|rule| was(rule).is_some()).zip(&in_order);
    let moved: Vec<&str> =
        kept.filter(|(rule, name)| rule.name != **name).map(|(rule, _)| rule.name.as_str()).collect();
    let mut found: Vec<RuleDiff> = new
        .iter()
        .filter_map(|rule| {
            let old = was(rule);
            let change = match old {
                None => RuleChange::Added,
                Some(old) if !same(old, rule) => RuleChange::Changed,
                Some(_) if moved.contains(&rule.name.as_str()) => RuleChange::Moved,
                Some(_) => return None,
            };
            let (old, new) = match old {
                Some(old) if change == RuleChange::Changed => told(old, rule),
                _ => (old.map(words), Some(words(rule))),
            };
            let rate = rate(&rule.name).filter(|_| old.is_some());
            Some(RuleDiff { name: rule.name.clone(), change, line: Some(rule.line), old, new, rate })
        })
        .collect();
    let gone = old.iter().filter(|was| !new.iter().any(|rule| rule.name == was.name));
    found.extend(gone.map(|rule| RuleDiff {
        name: rule.name.clone(),
        change: RuleChange::Removed,
        line: None,
        old: Some(words(rule)),
        new: None,
        rate: rate(&rule.name),
    }));
    found
}

fn same(one: &Rule, other: &Rule) -> bool {
    Rule { line: other.line, on: other.on.clone(), ..one.clone() } == *other
}

fn words(rule: &Rule) -> String {
    format!("{}: {}", rule.matches(), rule.all_it_does())
}

/// Two that differ, in words that do: where these leave out what differs, since a list is long, it is named.
fn told(old: &Rule, new: &Rule) -> (Option<String>, Option<String>) {
    let (was, will) = (words(old), words(new));
    if was != will {
        return (Some(was), Some(will));
    }
    let alone = |words: String, beyond: String| match beyond.is_empty() {
        true => Some(format!("{words}; nothing that the other has not")),
        false => Some(format!("{words}; it alone: {beyond}")),
    };
    (alone(was, old.beyond(new)), alone(will, new.beyond(old)))
}

/// One entry of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryDiff {
    /// Its key: a codepoint, a class, or `other`.
    pub key: String,
    /// Its line in the new file, unless it is gone.
    pub line: Option<usize>,
    /// What it makes of packets now; `None` if it is new.
    pub old: Option<Outcome>,
    /// What it would make of them; `None` if it is gone.
    pub new: Option<Outcome>,
    /// The codepoints that would leave with another mark, the busiest first.
    pub marks: Vec<MarkDiff>,
}

/// What an entry makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its mark stays.
    Keep,
    /// It becomes this one.
    Mark(Dscp),
}

/// One codepoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarkDiff {
    /// As it comes.
    pub from: Dscp,
    /// As it leaves now.
    pub old: Dscp,
    /// As it would leave.
    pub new: Dscp,
    /// How fast it comes.
    pub rate: Rate,
}

impl PolicyDiff {
    /// Whether any hook would mark differently.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.hooks.iter().any(|hook| hook.differs)
    }
}

impl EntryDiff {
    /// How fast packets come that would leave with another mark.
    #[must_use]
    pub fn rate(&self) -> Rate {
        total(self.marks.iter().map(|mark| mark.rate))
    }

    fn of(old: Option<&Entry<'_>>, new: Option<&Entry<'_>>) -> Self {
        let key = new.or(old).map_or("", |entry| entry.key).to_owned();
        let outcome = |entry: &Entry<'_>| entry.result().map_or(Outcome::Keep, Outcome::Mark);
        let line = new.map(|entry| entry.line);
        Self { key, line, old: old.map(outcome), new: new.map(outcome), marks: Vec::new() }
    }
}

/// What changes from one table to another, `None` being none; `tabled` is how fast each codepoint comes to the table.
///
/// A codepoint is told of once: at the entry of the new table that decides on it if that entry is new or says something
/// else, at the entry of the old table if that is gone, else again at that of the new one.
#[must_use]
pub fn tables(old: Option<&TableLabel>, new: Option<&TableLabel>, tabled: &[Rate; Dscp::COUNT]) -> Vec<EntryDiff> {
    let was = old.map(TableLabel::by_entry).unwrap_or_default();
    let will = new.map(TableLabel::by_entry).unwrap_or_default();
    let mut rows: Vec<EntryDiff> = Vec::new();
    for (from, rate) in Dscp::all().zip(tabled) {
        let mark = MarkDiff { from, old: target(old, from), new: target(new, from), rate: *rate };
        if mark.old == mark.new {
            continue;
        }
        let row = owner(&was, &will, from);
        match rows.iter_mut().find(|known| (&known.key, known.line) == (&row.key, row.line)) {
            Some(known) => known.marks.push(mark),
            None => rows.push(EntryDiff { marks: vec![mark], ..row }),
        }
    }
    for row in &mut rows {
        row.marks.sort_by(|one, other| other.rate.packets.total_cmp(&one.rate.packets));
    }
    rows.sort_by_key(|row| (row.line.is_none(), row.line));
    rows
}

fn target(table: Option<&TableLabel>, from: Dscp) -> Dscp {
    table.and_then(|table| table.entries.get(from.index())).map_or(from, |entry| entry.to)
}

fn owner(was: &[Entry<'_>], will: &[Entry<'_>], from: Dscp) -> EntryDiff {
    let (old, new) = (deciding(was, from), deciding(will, from));
    let new_before = new.and_then(|new| was.iter().find(|entry| same_key(entry.key, new.key)));
    let old_is_gone = old.is_some_and(|old| !will.iter().any(|entry| same_key(entry.key, old.key)));
    let new_says_the_same = new.is_some_and(|new| new_before.is_some_and(|before| before.result() == new.result()));
    if old_is_gone && (new.is_none() || new_says_the_same) {
        EntryDiff::of(old, None)
    } else {
        EntryDiff::of(new_before, new)
    }
}

fn deciding<'a, 'b>(entries: &'a [Entry<'b>], from: Dscp) -> Option<&'a Entry<'b>> {
    entries.iter().find(|entry| entry.decides_on.iter().any(|(decided, _)| *decided == from))
}

/// `EF` and `46` are one key.
fn same_key(one: &str, other: &str) -> bool {
    one == other || matches!((one.parse::<Dscp>(), other.parse::<Dscp>()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::*;
    use crate::{
        render::sample::dscp,
        rules::model::{Action, Arrived, Condition, Field, LogRate, Meter, MeterKind, Verdict},
        snapshot::EntryLabel,
    };

    /// `EF=DF video=DF other=keep`; the class is AF41 and AF42.
    fn table(text: &str) -> TableLabel {
        let lines: Vec<(usize, &str, &str)> = text
            .split(' ')
            .enumerate()
            .map(|(at, word)| word.split_once('=').map(|(key, to)| (at, key, to)).unwrap())
            .collect();
        let own = |from: Dscp, key: &str| key.parse() == Ok(from);
        let class = |from: Dscp, key: &str| key == "video" && [dscp("AF41"), dscp("AF42")].contains(&from);
        let decides = |from: Dscp| {
            let by = |fits: &dyn Fn(Dscp, &str) -> bool| lines.iter().find(|(_, key, _)| fits(from, key)).copied();
            by(&own).or_else(|| by(&class)).or_else(|| by(&|_, key| key == "other")).unwrap()
        };
        let entries = Dscp::all().map(|from| {
            let (line, key, to) = decides(from);
            EntryLabel { key: key.to_owned(), to: to.parse().unwrap_or(from), line }
        });
        TableLabel { name: "t".to_owned(), entries: entries.collect() }
    }

    /// As many packets a second as the codepoint's number.
    fn before() -> [Rate; Dscp::COUNT] {
        let mut rates = [Rate::default(); Dscp::COUNT];
        for (rate, dscp) in rates.iter_mut().zip(Dscp::all()) {
            rate.packets = f64::from(dscp.value());
        }
        rates
    }

    /// Key, what it makes of packets now and then, how many codepoints, and how many packets a second.
    type Told = (String, Option<Outcome>, Option<Outcome>, usize, f64);

    fn told(old: Option<&str>, new: Option<&str>) -> Vec<Told> {
        let (old, new) = (old.map(table), new.map(table));
        let rows = tables(old.as_ref(), new.as_ref(), &before());
        rows.into_iter().map(|row| (row.key.clone(), row.old, row.new, row.marks.len(), row.rate().packets)).collect()
    }

    fn rule(conditions: Vec<Condition>, action: Action) -> Rule {
        let (name, on) = ("r".to_owned(), Vec::new());
        Rule { name, line: 1, on, conditions, action, count: false, log: None, priority: None, mark: None }
    }

    fn drops() -> Rule {
        rule(Vec::new(), Action::Drop)
    }

    /// Eight ports, and one more.
    fn ports(last: u16) -> Rule {
        let ports = (1..9).chain([last]).map(|port| (2 * port, 2 * port)).collect();
        rule(vec![Condition { field: Field::DstPort(ports), negated: false }], Action::Drop)
    }

    fn meter() -> Meter {
        let kind = MeterKind::SrTcm { cir: 1_000_000, cbs: 8000, ebs: 0 };
        let (green, yellow, red) = (Verdict::Keep, Verdict::Keep, Verdict::Set(dscp("AF43")));
        Meter { kind, aware: None, overhead: 0, green, yellow, red }
    }

    fn metered(meter: Meter) -> Rule {
        rule(Vec::new(), Action::Meter(meter))
    }

    #[test]
    fn whatever_differs_between_two_rules_is_told() {
        let log = |seconds| Rule { log: Some(LogRate { events: NonZero::<u32>::MIN, seconds }), ..drops() };
        let aware = Some(Arrived { yellow: 1 << 36, red: 1 << 38 });
        let pairs = [
            (metered(meter()), metered(Meter { red: Verdict::Drop, ..meter() })),
            (metered(meter()), metered(Meter { green: Verdict::Drop, ..meter() })),
            (metered(meter()), metered(Meter { aware, ..meter() })),
            (metered(meter()), metered(Meter { overhead: 14, ..meter() })),
            (drops(), Rule { count: true, ..drops() }),
            (log(1), log(60)),
            (ports(99), ports(100)),
            (ports(99), ports(9)),
        ];
        for (old, new) in pairs {
            let found = rules(&[old], &[new], |_| None);
            assert_eq!((found.len(), found[0].change), (1, RuleChange::Changed), "{found:?}");
            assert_ne!(found[0].old, found[0].new, "{found:?}");
        }
        let found = rules(&[ports(99)], &[ports(100)], |_| None);
        assert!(found[0].new.as_ref().unwrap().ends_with("it alone: dst-port 200"), "{found:?}");
    }

    #[test]
    fn a_rule_that_is_there_now_has_a_rate() {
        let named = |name: &str| Rule { name: name.to_owned(), ..drops() };
        let (gone, stays) = (named("gone"), named("stays"));
        let changed = Rule { count: true, ..stays.clone() };
        let rate = |_: &str| Some(Rate { packets: 5.0, bits: 0.0 });
        let found = rules(&[gone, stays], &[named("new"), changed], rate);
        let told: Vec<_> = found.iter().map(|rule| (rule.change, rule.rate.is_some())).collect();
        assert_eq!(told, [(RuleChange::Added, false), (RuleChange::Changed, true), (RuleChange::Removed, true)]);
    }

    const DF: Option<Outcome> = Some(Outcome::Mark(Dscp::DF));
    const KEEP: Option<Outcome> = Some(Outcome::Keep);

    #[test]
    fn the_same_in_other_words_is_no_difference() {
        assert!(told(Some("EF=DF other=keep"), Some("46=DF VA=keep other=keep")).is_empty());
        assert!(told(None, Some("other=keep")).is_empty());
        assert!(told(None, None).is_empty());
    }

    #[test]
    fn an_entry_that_says_something_else_counts_what_it_decides_on() {
        let all = (0..64).map(f64::from).sum::<f64>();
        let rows = told(Some("EF=keep other=keep"), Some("EF=keep other=DF"));
        assert_eq!(rows, [("other".to_owned(), KEEP, DF, 62, all - 46.0)]);
    }

    #[test]
    fn what_comes_and_goes_is_told_at_its_own_entry() {
        let (short, long) = ("other=keep", "EF=DF other=keep");
        assert_eq!(told(Some(short), Some(long)), [("EF".to_owned(), None, DF, 1, 46.0)]);
        assert_eq!(told(Some(long), Some(short)), [("EF".to_owned(), DF, None, 1, 46.0)]);
        assert_eq!(told(Some(long), None), [("EF".to_owned(), DF, None, 1, 46.0)]);
        assert_eq!(told(None, Some(long)), [("EF".to_owned(), None, DF, 1, 46.0)]);
    }

    #[test]
    fn a_codepoint_that_moves_to_an_entry_that_stays_is_told_there() {
        let old = "AF42=keep video=DF AF43=DF other=keep";
        let new = "AF42=keep video=DF AF43=keep other=keep";
        assert_eq!(told(Some(old), Some(new)), [("AF43".to_owned(), DF, KEEP, 1, 38.0)]);
        // AF42 falls back to its class.
        let without = "video=DF AF43=DF other=keep";
        assert_eq!(told(Some(old), Some(without)), [("AF42".to_owned(), KEEP, None, 1, 36.0)]);
        assert_eq!(told(Some(without), Some(old)), [("AF42".to_owned(), None, KEEP, 1, 36.0)]);
    }

    #[test]
    fn the_busiest_comes_first() {
        let (old, new) = (table("other=keep"), table("other=DF"));
        let rows = tables(Some(&old), Some(&new), &before());
        let first: Vec<_> = rows[0].marks.iter().take(3).map(|mark| mark.from).collect();
        assert_eq!(first, [63, 62, 61].map(|value| Dscp::new(value).unwrap()));
        assert_eq!(rows[0].marks.iter().find(|mark| mark.from == dscp("EF")).unwrap().new, Dscp::DF);
    }
}
