//! What other tools say about marks, as a policy: text in, TOML out. Pure: no file is read here.
//!
//! A reader for each tool ([`Kind`]) turns text into a `Program`: chains of rules of which several may mark
//! one packet. `first_match` makes a list of it of which the first entry decides, as our rules do, and `writer` writes
//! that. What cannot be carried over is in [`Imported::left`], line by line. Where a rule is carried over and still
//! differs, as a TOS target that also changes ECN, that part is left. `account` sees that nothing is dropped in
//! silence: a line of which no reader says anything is left too.

mod account;
mod cisco;
mod condition;
mod dscp;
mod families;
mod first_match;
mod idle;
mod iptables;
mod lines;
mod matching;
mod nft;
mod program;
mod qosify;
mod spans;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

pub use self::lines::{Input, Kind};
use self::{
    account::Account,
    condition::Addresses,
    first_match::{Fate, List, Tangled},
    idle::Idle,
    lines::Lines,
    matching::Sets,
    program::Program,
    writer::Written,
};
use crate::{hook::Direction, policy};

/// The chain of a program that stands for a hook.
const fn hook(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "hook ingress",
        Direction::Egress => "hook egress",
    }
}

/// A line of the inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::policy) struct Line {
    /// Which input.
    pub file: usize,
    /// From 1.
    pub number: usize,
}

/// What was not carried over, or differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Left {
    pub line: Line,
    pub text: String,
    pub reason: String,
    /// Whether the rest of the line is in the policy.
    pub in_part: bool,
}

/// The same for those who read it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Remark {
    /// The input's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
    /// Why it was not carried over, or what is to be known.
    pub reason: String,
    /// Whether the rest of the line is in the policy.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_part: bool,
}

/// What is said of a line that is left.
const fn left_word(in_part: bool) -> &'static str {
    if in_part { "carried over in part" } else { "not carried over" }
}

impl Remark {
    /// Whether nothing or only a part of it is carried over, in words.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        left_word(self.in_part)
    }
}

/// How the text is to be taken.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which tool's text it is; `None`: what it looks like.
    pub kind: Option<Kind>,
    /// Names of interfaces in the text, and what they are called here.
    pub interfaces: Vec<(String, String)>,
    /// Where that goes which the text binds nowhere: patterns for interfaces, with a direction or for both.
    pub on: Vec<(String, Option<Direction>)>,
    /// The name of the policy.
    pub name: Option<String>,
}

/// A policy made of another tool's text.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Whose text it was.
    pub kind: Kind,
    /// The policy, which our parser takes.
    pub policy: String,
    /// How many rules it has.
    pub rules: usize,
    /// What was not carried over, or differs: a line once.
    pub left: Vec<Remark>,
    /// How many lines that is, with those that go with the first of a block.
    pub lines_left: usize,
    /// What is to be known, and is no difference: of a line once.
    pub notes: Vec<Remark>,
}

/// Why there is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Unreadable {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

/// What a reader has found.
#[derive(Debug, Default)]
struct Read {
    program: Program,
    sets: Vec<(String, Addresses)>,
    /// Whether rules reach what this host itself sends in CS6 and CS7, as the tool's did.
    local: bool,
    left: Vec<Left>,
    /// The lines of `left`.
    listed: BTreeSet<Line>,
    /// Lines that are left with the first of a block, which names them.
    with: BTreeMap<Line, Line>,
    notes: Vec<Left>,
    account: Account,
}

impl Read {
    /// Notes that a line, or a part of it, is not carried over.
    fn leave(&mut self, lines: &Lines, line: Line, reason: impl Into<String>) {
        self.listed.insert(line);
        self.left.push(Left { line, text: lines.text(line).to_owned(), reason: reason.into(), in_part: false });
    }

    /// Leaves a block of lines for one reason, which names those that are not left by another one.
    fn leave_block(&mut self, lines: &Lines, block: &[Line], reason: &str) {
        if let Some((first, rest)) = block.split_first() {
            let is_new =
                |line: &Line| !self.listed.contains(line) && *self.with.entry(*line).or_insert(*first) == *first;
            let rest: Vec<_> = rest.iter().copied().filter(is_new).collect();
            self.leave(lines, *first, format!("{reason}{}", with(&rest)));
            block.iter().for_each(|line| self.account.take(*line));
        }
    }

    /// Notes something of a block of lines, which it names.
    fn note_block(&mut self, lines: &Lines, block: &[Line], reason: &str) {
        if let Some((first, rest)) = block.split_first() {
            self.note(lines, *first, format!("{reason}{}", with(rest)));
            block.iter().for_each(|line| self.account.take(*line));
        }
    }

    /// Notes what is to be known about a line.
    fn note(&mut self, lines: &Lines, line: Line, reason: impl Into<String>) {
        self.notes.push(Left { line, text: lines.text(line).to_owned(), reason: reason.into(), in_part: false });
    }
}

/// Which lines go with the first of a block.
fn with(rest: &[Line]) -> String {
    match rest {
        [] => String::new(),
        [one] => format!(" (with line {})", one.number),
        _ => format!(" (with lines {})", account::numbers(rest)),
    }
}

/// Makes a policy of `inputs`, which are of one tool.
///
/// # Errors
///
/// [`Unreadable`] if it cannot be told whose text it is, or if the marks of its rules depend on each other too much.
pub fn import(inputs: Vec<Input>, options: &Options) -> Result<Imported, Unreadable> {
    let lines = Lines::new(inputs);
    let kind = lines.kind(options.kind)?;
    let mut read = match kind {
        Kind::Iptables => iptables::read(&lines, options),
        Kind::Nft => nft::read(&lines, options)?,
        Kind::Cisco => cisco::read(&lines, options),
        Kind::Qosify => qosify::read(&lines, options),
    };
    let (mut lists, mut idle) = (Vec::new(), Idle::of(&read.program));
    for direction in Direction::BOTH {
        let (mut list, of_this) = first_match::list(&read.program, hook(direction)).map_err(tangled)?;
        families::merge(&mut list);
        lists.push((direction, list));
        idle.extend(of_this);
    }
    leave_what_is_no_rule(&mut lists, &mut read, &lines);
    leave_shared_meters(&lists, &mut read, &lines);
    read.balance(&lines);
    idle.tell(lists.iter().map(|(_, list)| list), &mut read, &lines);
    note_what_is_in_part(&mut read.left, &lists);
    settle(&mut read.left);
    settle(&mut read.notes);
    let text = written(kind, &read, lists, &lines, options);
    let rules = checked(&text)?;
    let remarks = |left: &[Left]| left.iter().map(|left| lines.remark(left)).collect();
    let lines_left = read.listed.iter().chain(read.with.keys()).collect::<BTreeSet<_>>().len();
    let left = remarks(&read.left);
    Ok(Imported { kind, policy: text, rules, left, lines_left, notes: remarks(&read.notes) })
}

fn written(kind: Kind, read: &Read, lists: Vec<(Direction, List)>, lines: &Lines, options: &Options) -> String {
    let head = vec![format!("from {}, by qosbpf policy import", lines.names())];
    let name = options.name.clone().unwrap_or_else(|| format!("imported from {}", kind.as_str()));
    let sets = Sets::new(read.sets.clone());
    Written { name: &name, head, lists, sets, local: read.local, left: &read.left, quote: lines }.text()
}

/// A condition may ask for the skb mark by one `mark-not` only.
fn leave_what_is_no_rule(lists: &mut [(Direction, List)], read: &mut Read, lines: &Lines) {
    for (_, list) in lists {
        list.entries.retain(|entry| {
            let fits = entry.when.mark_not.len() < 2;
            if !fits {
                let line = entry.lines.last().copied().unwrap_or_default();
                read.leave(lines, line, "no rule can ask for more than one mark that a packet does not have");
            }
            fits
        });
    }
}

/// A meter of several rules has a bucket for each of them.
fn leave_shared_meters(lists: &[(Direction, List)], read: &mut Read, lines: &Lines) {
    for (_, list) in lists {
        let metered = list.entries.iter().filter(|entry| matches!(entry.outcome.fate, Fate::Meter(_)));
        let ends = metered.filter_map(|entry| entry.lines.last().copied()).collect::<Vec<_>>();
        for line in ends.iter().filter(|line| ends.iter().filter(|other| other == line).count() > 1) {
            read.leave(lines, *line, "several rules come of this class, and each has a bucket of its own");
        }
    }
}

/// A line that has a part in a rule is not left as a whole.
fn note_what_is_in_part(left: &mut [Left], lists: &[(Direction, List)]) {
    let entries = lists.iter().flat_map(|(_, list)| &list.entries);
    let carried: BTreeSet<Line> = entries.flat_map(|entry| entry.lines.iter().copied()).collect();
    left.iter_mut().for_each(|left| left.in_part = carried.contains(&left.line));
}

/// In the order of the text, and each line once, with all that is said of it.
fn settle(left: &mut Vec<Left>) {
    left.sort_by_key(|left| left.line);
    let mut said = BTreeSet::new();
    left.retain(|left| said.insert((left.line, left.reason.clone())));
    left.dedup_by(|next, first| {
        let same = next.line == first.line;
        if same {
            first.reason = format!("{}; {}", first.reason, next.reason);
        }
        same
    });
}

fn tangled(tangled: Tangled) -> Unreadable {
    match tangled {
        Tangled::Entries => Unreadable::new(
            "the rules ask so often for marks that earlier rules set that no list of first matches is short enough",
            "import a part of them",
        ),
        Tangled::Jumps => Unreadable::new("chains jump too deep, or in a circle", "import a part of them"),
    }
}

/// Reads the policy as `policy check` will, and says how many rules it has.
fn checked(text: &str) -> Result<usize, Unreadable> {
    let source = policy::Source::new("the imported policy", text.as_bytes().to_vec());
    match source.and_then(|source| policy::parse(&source)) {
        Ok(policy) => Ok(policy.rules().len()),
        Err(report) => Err(Unreadable {
            message: format!("what would come of it is no policy:\n{}", report.render(false)),
            hint: Some("import a part of the input".to_owned()),
        }),
    }
}
