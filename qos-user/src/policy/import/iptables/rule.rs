//! One rule: its matches, its target, and what its interfaces mean at a hook.

use super::{
    super::{
        condition::{Condition, met},
        dscp,
    },
    matches::Matches,
    saved::{Rule, Saved},
    targets::{self, Target},
};
use crate::hook::Direction;

/// A rule as far as it can be carried over.
#[derive(Debug)]
pub(super) struct Parsed {
    pub matches: Matches,
    pub target: Target,
    /// Its comment.
    pub name: Option<String>,
    /// What is not quite the same here.
    pub differs: Vec<&'static str>,
}

/// Reads a rule; an error is why it cannot be carried over.
pub(super) fn parse(rule: &Rule, saved: &Saved) -> Result<Parsed, String> {
    let at = rule.words.iter().position(|word| matches!(&**word, "-j" | "-g" | "--jump" | "--goto"));
    let (asked, done) = rule.words.split_at(at.unwrap_or(rule.words.len()));
    // What follows the target may be a match again, as in a command that a person wrote.
    let (target, more, mut differs) = targets::read(done)?;
    let mut matches = Matches::new(rule.family, &saved.sets, saved.renamed());
    match &target {
        Target::Nothing | Target::Other(_) => {
            return Ok(Parsed { matches, target, name: None, differs: Vec::new() });
        }
        // What follows it are its own options then, and no matches.
        Target::Chain { name, .. } if !saved.has_chain(rule.family, name) => return Err(targets::unknown(name)),
        Target::Chain { .. } | Target::Act(_) => {}
    }
    matches.read(asked)?;
    matches.read(more)?;
    differs.extend(matches.differs.iter().copied());
    let name = matches.comment.clone();
    Ok(Parsed { matches, target, name, differs })
}

/// A hook, as the interfaces of a rule see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub direction: Direction,
}

impl Side {
    /// What a rule asks for at this hook.
    pub fn conditions(self, parsed: &Parsed) -> Result<Vec<Condition>, String> {
        let matches = &parsed.matches;
        if self.direction == Direction::Ingress && matches.asks_mark() {
            return Err("at our ingress the skb mark has not been set yet: iptables sets it later".to_owned());
        }
        let mut all = matches.conditions.clone();
        let (own, other) = match self.direction {
            Direction::Ingress => (&matches.input, &matches.output),
            Direction::Egress => (&matches.output, &matches.input),
        };
        all = met(&all, &self.own(own.as_ref())?);
        Ok(met(&all, &self.other(other.as_ref())?))
    }

    /// The interface of the hook.
    fn own(self, asked: Option<&(bool, String)>) -> Result<Vec<Condition>, String> {
        match asked {
            None => Ok(vec![Condition::default()]),
            Some((_, name)) if !dscp::is_interface(name) => Err(not_an_interface(name)),
            Some((true, name)) => Err(format!("a rule is bound to interfaces: it cannot be on all but {name}")),
            Some((false, name)) => Ok(vec![Condition { on: Some(name.clone()), ..Condition::default() }]),
        }
    }

    /// The interface that is not the hook's.
    fn other(self, asked: Option<&(bool, String)>) -> Result<Vec<Condition>, String> {
        let any = Condition::default;
        let Some((negated, name)) = asked else { return Ok(vec![any()]) };
        if !dscp::is_interface(name) {
            return Err(not_an_interface(name));
        }
        Ok(match (self.direction, negated) {
            // Before routing there is no interface that a packet leaves by.
            (Direction::Ingress, true) => vec![any()],
            (Direction::Ingress, false) => Vec::new(),
            (Direction::Egress, false) => {
                vec![Condition { local: Some(false), from: Some(vec![name.clone()]), ..any() }]
            }
            (Direction::Egress, true) => vec![
                Condition { local: Some(true), ..any() },
                Condition { local: Some(false), from_not: vec![name.clone()], ..any() },
            ],
        })
    }
}

pub(super) fn not_an_interface(name: &str) -> String {
    format!("{name} cannot be the name of an interface here")
}
