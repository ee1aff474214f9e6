//! `iptables-save` and `ip6tables-save`: the table mangle.
//!
//! A DSCP target does not end a chain: a later one overrides it, and a match on the mark sees what an earlier one set.
//! PREROUTING is our ingress; FORWARD for what is forwarded and OUTPUT for what this host makes, then POSTROUTING, are
//! our egress. INPUT is behind every hook.

mod matches;
mod rule;
mod saved;
mod targets;

use std::collections::BTreeSet;

use self::{
    rule::{Parsed, Side},
    saved::Saved,
    targets::Target,
};
use super::{
    Line, Options, Read,
    condition::{Condition, V4, V6},
    hook,
    lines::Lines,
    program::{Act, Case, Step},
};
use crate::hook::Direction;

const BEHIND: &str = "INPUT is behind the hooks: this changes only what this host itself receives";

pub(super) fn read(lines: &Lines, options: &Options) -> Read {
    let mut read = Read { local: true, ..Read::default() };
    let saved = Saved::read(lines, options, &mut read);
    read.sets.clone_from(&saved.sets);
    let mut done = BTreeSet::new();
    for direction in Direction::BOTH {
        let mut side = SideReader { lines, saved: &saved, direction, read: &mut read, done: &mut done };
        let mut steps = Vec::new();
        for family in [V4, V6] {
            steps.extend(side.hook(family));
        }
        read.program.chains.insert(hook(direction).to_owned(), steps);
    }
    leave_others(&saved, &done, lines, &mut read);
    read
}

/// What INPUT does is behind every hook, and a chain that nothing of a hook jumps to does nothing.
fn leave_others(saved: &Saved, done: &BTreeSet<String>, lines: &Lines, read: &mut Read) {
    for rule in &saved.rules {
        let is_read = |direction| done.contains(&key(rule.family, direction, &rule.chain));
        if Direction::BOTH.into_iter().any(is_read) {
            continue;
        }
        let reason = match &*rule.chain {
            "INPUT" => BEHIND,
            _ => "no chain that is at a hook jumps here",
        };
        read.leave(lines, rule.line, reason);
    }
    for (_, line) in saved.dropping.iter().filter(|((_, chain), _)| chain == "INPUT") {
        read.leave(lines, *line, BEHIND);
    }
}

/// The name of a chain in the program.
fn key(family: u8, direction: Direction, name: &str) -> String {
    format!("{family} {direction} {name}")
}

/// One family's chains as they are at one direction.
struct SideReader<'a> {
    lines: &'a Lines,
    saved: &'a Saved,
    direction: Direction,
    read: &'a mut Read,
    /// The chains that are in the program.
    done: &'a mut BTreeSet<String>,
}

impl SideReader<'_> {
    /// The base chains of a hook, each for the packets that go through it.
    fn hook(&mut self, family: u8) -> Vec<Step> {
        let of_family = Condition { families: family, ..Condition::default() };
        let bases: &[(&str, Option<bool>)] = match self.direction {
            Direction::Ingress => &[("PREROUTING", None)],
            Direction::Egress => &[("FORWARD", Some(false)), ("OUTPUT", Some(true)), ("POSTROUTING", None)],
        };
        let mut steps = Vec::new();
        for (base, local) in bases {
            let has_rules = self.saved.rules.iter().any(|rule| rule.family == family && rule.chain == *base);
            if !has_rules && !self.saved.dropping.contains_key(&(family, (*base).to_owned())) {
                continue;
            }
            let when = Condition { local: *local, ..of_family.clone() };
            let acts = vec![Act::Base(self.base(family, base))];
            steps.push(Step::new(Line::default(), vec![when], acts));
        }
        steps
    }

    /// A base chain ends with its policy.
    fn base(&mut self, family: u8, name: &str) -> String {
        let body = self.chain(family, name);
        let base = format!("{body} policy");
        let mut steps = vec![Step::new(Line::default(), vec![Condition::default()], vec![Act::Jump(body)])];
        if let Some(line) = self.saved.dropping.get(&(family, name.to_owned())) {
            steps.push(Step::new(*line, vec![Condition::default()], vec![Act::Drop]));
        }
        self.read.program.chains.insert(base.clone(), steps);
        base
    }

    /// Puts a chain and what it jumps to into the program; its name there.
    fn chain(&mut self, family: u8, name: &str) -> String {
        let key = key(family, self.direction, name);
        if !self.done.insert(key.clone()) {
            return key;
        }
        let saved = self.saved;
        let rules = saved.rules.iter().filter(|rule| rule.family == family && rule.chain == name);
        let steps = rules.filter_map(|rule| self.step(rule)).collect();
        self.read.program.chains.insert(key.clone(), steps);
        key
    }

    fn step(&mut self, rule: &saved::Rule) -> Option<Step> {
        let parsed = match rule::parse(rule, self.saved) {
            Ok(parsed) => parsed,
            Err(reason) => {
                self.read.leave(self.lines, rule.line, reason);
                return None;
            }
        };
        let acts = self.acts(rule, &parsed)?;
        let side = Side { direction: self.direction };
        match side.conditions(&parsed) {
            Ok(when) => {
                parsed.differs.iter().for_each(|reason| self.read.leave(self.lines, rule.line, *reason));
                self.note_nat(rule.line, &when);
                Some(Step { line: rule.line, name: parsed.name, cases: vec![Case { when, acts }] })
            }
            Err(reason) => {
                self.read.leave(self.lines, rule.line, reason);
                None
            }
        }
    }

    fn acts(&mut self, rule: &saved::Rule, parsed: &Parsed) -> Option<Vec<Act>> {
        Some(match &parsed.target {
            Target::Nothing => {
                self.read.account.beside(rule.line);
                return None;
            }
            Target::Other(name) => {
                let reason = format!("{name} is not about the DS field: the rule has to stay in iptables");
                self.read.note(self.lines, rule.line, reason);
                return None;
            }
            Target::Act(act) => vec![act.clone()],
            Target::Chain { name, goto } => {
                let name = self.chain(rule.family, name);
                vec![if *goto { Act::Goto(name) } else { Act::Jump(name) }]
            }
        })
    }

    fn note_nat(&mut self, line: Line, when: &[Condition]) {
        if self.direction == Direction::Egress && when.iter().any(|when| when.src.is_some()) {
            let reason = "at our egress the source is the one after SNAT, in iptables it is the one before: where this \
                          host masquerades, mark at the ingress of the LAN instead";
            self.read.note(self.lines, line, reason);
        }
    }
}
