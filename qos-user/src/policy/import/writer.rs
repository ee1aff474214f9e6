//! The policy as text: each rule with the lines it came from, and what was left where it was.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
    rc::Rc,
};

use super::{
    Left, Line,
    condition::Condition,
    first_match::{Entry, Fate, List},
    left_word,
    matching::{self, Sets, dscp_word, key, quoted},
    program::Meter,
};
use crate::{hook::Direction, policy::bounds::covers};

/// The longest name of a rule, in characters.
const LONGEST_NAME: usize = 64;
/// The longest line that a comment quotes.
const LONGEST_QUOTE: usize = 110;

/// What is written.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub name: &'a str,
    pub head: Vec<String>,
    pub lists: Vec<(Direction, List)>,
    pub sets: Sets,
    /// Whether rules reach what this host itself sends in CS6 and CS7.
    pub local: bool,
    pub left: &'a [Left],
    /// Text of the input's lines.
    pub quote: &'a dyn Quote,
}

/// Where a line's text comes from.
pub(super) trait Quote: std::fmt::Debug {
    /// `line 12`, with the file where there is more than one.
    fn place(&self, line: Line) -> String;
    /// What the line says.
    fn text(&self, line: Line) -> String;
}

/// One rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Draft {
    direction: Direction,
    when: Condition,
    action: Action,
    priority: Option<u32>,
    lines: Vec<Line>,
    name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    /// A codepoint or `keep`.
    Set(String),
    Drop,
    Meter(Rc<Meter>),
}

/// What a table says of an interface and direction: each codepoint's new one.
type Tables = BTreeMap<(String, Direction), [u8; 64]>;

impl Written<'_> {
    /// The text.
    pub fn text(mut self) -> String {
        let mut tables = Tables::new();
        let mut drafts = Vec::new();
        for (direction, list) in &self.lists {
            let rules = split_tables(*direction, list, &mut tables);
            drafts.extend(rules.iter().flat_map(|entry| drafted(*direction, entry)));
        }
        let rules = self.rules(&drafts);
        let mut text = self.head.iter().map(|line| format!("# {line}\n")).collect::<String>();
        let _infallible = write!(text, "version = 1\nname = {}\n", quoted(self.name));
        text += &self.sets.section();
        text += &self.interfaces(&drafts, &tables);
        tables.iter().for_each(|(at, marks)| text += &table(at, marks));
        text + &rules
    }

    fn rules(&mut self, drafts: &[Draft]) -> String {
        let mut text = String::new();
        let mut names = HashSet::new();
        let mut left = self.left.iter().collect::<Vec<_>>();
        for draft in drafts {
            let until = draft.lines.last().copied().unwrap_or_default();
            text += &comments(self.quote, left.extract_if(.., |left| left.line <= until));
            text.push('\n');
            text += &self.rule(draft, &mut names);
        }
        text + &comments(self.quote, left.into_iter())
    }

    fn rule(&mut self, draft: &Draft, names: &mut HashSet<String>) -> String {
        let mut text = String::new();
        for line in &draft.lines {
            let _infallible =
                writeln!(text, "# {}: {}", self.quote.place(*line), shortened(&self.quote.text(*line), LONGEST_QUOTE));
        }
        let _infallible = writeln!(text, "[[rule]]\nname = {}", quoted(&self.rule_name(draft, names)));
        let on = draft.when.on.as_deref().unwrap_or("*");
        let _infallible = writeln!(text, "on = {}", quoted(&format!("{on}:{}", draft.direction)));
        let fields = matching::text(&draft.when, &mut self.sets);
        if !fields.is_empty() {
            let _infallible = writeln!(text, "match = {fields}");
        }
        text += &action(&draft.action);
        if let Some(priority) = draft.priority {
            let _infallible = match priority >> 16 {
                0 => writeln!(text, "priority = {priority}"),
                major => writeln!(text, "priority = \"{major:x}:{:x}\"", priority & 0xffff),
            };
        }
        text
    }

    fn rule_name(&self, draft: &Draft, names: &mut HashSet<String>) -> String {
        // Room for a number behind it.
        const MOST: usize = LONGEST_NAME - 6;
        let place = draft.lines.last().map(|line| self.quote.place(*line)).unwrap_or_default();
        let does = match &draft.action {
            Action::Set(word) => word,
            Action::Drop => "drop",
            Action::Meter(_) => "meter",
        };
        let base = match &draft.name {
            Some(name) => shortened(name, MOST),
            // The end of a path says which file and line it is.
            None => format!("{does}, {}", end(&place, MOST - does.len() - 2)),
        };
        let mut name = base.clone();
        let mut number = 2;
        while !names.insert(name.clone()) {
            name = format!("{base} ({number})");
            number += 1;
        }
        name
    }

    fn interfaces(&self, drafts: &[Draft], tables: &Tables) -> String {
        let egress = drafts.iter().filter(|draft| draft.direction == Direction::Egress && self.local);
        let mut patterns =
            egress.map(|draft| draft.when.on.clone().unwrap_or_else(|| "*".to_owned())).collect::<BTreeSet<_>>();
        patterns.extend(tables.keys().map(|(pattern, _)| pattern.clone()));
        let mut text = String::new();
        for pattern in &patterns {
            let _infallible = writeln!(text, "\n[interface.{}]", key(pattern));
            let bound = tables.keys().filter(|(on, _)| on == pattern);
            bound.for_each(|at| {
                let _infallible = writeln!(text, "{} = {}", at.1, quoted(&table_name(at)));
            });
            let leaves = drafts.iter().any(|draft| draft.direction == Direction::Egress)
                || tables.contains_key(&(pattern.clone(), Direction::Egress));
            if self.local && leaves {
                text += "local = \"policy\"\n";
            }
        }
        text
    }
}

/// Takes what can be a remark table off the end of a list: tables are asked when no rule has decided.
fn split_tables(direction: Direction, list: &List, tables: &mut Tables) -> Vec<Rc<Entry>> {
    let mut entries = list.entries.clone();
    let plain =
        |entry: &Entry| entry.when.is_for_a_table() && entry.when.dscp == u64::MAX && entry.outcome.priority.is_none();
    let is_one = |entry: &Rc<Entry>| match &entry.outcome.fate {
        Fate::Mark(marks) => plain(entry) && marks.iter().any(|to| *to != marks[0]),
        _ => false,
    };
    while let Some(entry) = entries.pop_if(|entry| is_one(entry)) {
        let pattern = entry.when.on.clone().unwrap_or_else(|| "*".to_owned());
        let apart = |(other, _): &(String, Direction)| {
            *other == pattern || !covers(other, &pattern) && !covers(&pattern, other)
        };
        let at = (pattern.clone(), direction);
        let Fate::Mark(marks) = &entry.outcome.fate else { continue };
        if tables.contains_key(&at) || !tables.keys().all(apart) {
            entries.push(entry);
            break;
        }
        tables.insert(at, **marks);
    }
    entries
}

fn table_name((pattern, direction): &(String, Direction)) -> String {
    let pattern = pattern.replace('*', "-any").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    format!("{}-{direction}", pattern.trim_matches('-'))
}

fn table(at: &(String, Direction), marks: &[u8; 64]) -> String {
    let mut text = format!("\n[remark.{}]\n", key(&table_name(at)));
    for (from, to) in (0u8..).zip(marks).filter(|(from, to)| from != *to) {
        let _infallible = writeln!(text, "{} = {}", key(&dscp_word(from)), quoted(&dscp_word(*to)));
    }
    text + "other = \"keep\"\n"
}

/// The rules that an entry becomes: one for each mark that packets may get.
fn drafted(direction: Direction, entry: &Entry) -> Vec<Draft> {
    let draft = |when: Condition, action: Action| Draft {
        direction,
        when,
        action,
        priority: entry.outcome.priority,
        lines: entry.lines.clone(),
        name: entry.name.clone(),
    };
    let marks = match &entry.outcome.fate {
        Fate::Drop => return vec![draft(entry.when.clone(), Action::Drop)],
        Fate::Meter(meter) => return vec![draft(entry.when.clone(), Action::Meter(Rc::clone(meter)))],
        Fate::Mark(marks) => marks,
    };
    let mut left = entry.when.dscp;
    let mut drafts = Vec::new();
    let targets = (0u8..64).filter(|dscp| left >> dscp & 1 == 1 && marks[usize::from(*dscp)] != *dscp);
    for to in targets.map(|dscp| marks[usize::from(dscp)]).collect::<BTreeSet<_>>() {
        let dscp =
            (0..64).filter(|from| left >> from & 1 == 1 && marks[*from] == to).map(|from| 1u64 << from).sum::<u64>();
        left &= !dscp;
        drafts.push(draft(Condition { dscp, ..entry.when.clone() }, Action::Set(dscp_word(to))));
    }
    if left != 0 {
        drafts.push(draft(Condition { dscp: left, ..entry.when.clone() }, Action::Set("keep".to_owned())));
    }
    drafts
}

fn action(action: &Action) -> String {
    match action {
        Action::Set(word) => format!("set = {}\n", quoted(word)),
        Action::Drop => "drop = true\n".to_owned(),
        Action::Meter(meter) => {
            let parameters = meter.parameters.iter().map(|(key, value)| format!("{key} = {value}"));
            let mut text = format!("meter = {{ {} }}\n", parameters.collect::<Vec<_>>().join(", "));
            for (color, verdict) in ["green", "yellow", "red"].iter().zip(&meter.colors) {
                let _infallible = writeln!(text, "{color} = {}", quoted(verdict));
            }
            text
        }
    }
}

fn comments<'a>(quote: &dyn Quote, left: impl Iterator<Item = &'a Left>) -> String {
    let mut text = String::new();
    for left in left {
        let said = shortened(&left.text, LONGEST_QUOTE);
        let _infallible = writeln!(
            text,
            "\n# {}, {}: {said}\n#   {}",
            left_word(left.in_part),
            quote.place(left.line),
            shortened(&left.reason, 400)
        );
    }
    text
}

/// What is too long without its beginning.
fn end(text: &str, most: usize) -> String {
    match text.chars().count() {
        length if length > most => format!("...{}", text.chars().skip(length + 3 - most).collect::<String>()),
        _ => text.to_owned(),
    }
}

/// One line without control characters, cut where it gets too long.
fn shortened(text: &str, most: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.replace(char::is_control, " ");
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 3).collect::<String>() + "..."
}
