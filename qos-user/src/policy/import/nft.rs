//! `nft list ruleset`, and files for `nft -f`.
//!
//! `ip dscp set` does not end a chain: what follows sees the new mark. Chains of the hooks ingress and prerouting are our
//! ingress; forward for what is forwarded and output for what this host makes, then postrouting and egress, are our
//! egress; those of one hook run in the order of their priority. A base chain from which no mark is set has no say.

mod elements;
mod key;
mod reader;
mod rule;
mod ruleset;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    rule::RuleReader,
    ruleset::{Base, Chain, Ruleset},
};
use super::{
    Line, Options, Read, Unreadable,
    condition::Condition,
    dscp, hook,
    lines::Lines,
    program::{Act, Step},
};
use crate::hook::Direction;

/// The hooks of nft that are before or behind one of ours, in their order, and whether this host made what goes through.
const HOOKS: [(&str, Direction, Option<bool>); 6] = [
    ("ingress", Direction::Ingress, None),
    ("prerouting", Direction::Ingress, None),
    ("forward", Direction::Egress, Some(false)),
    ("output", Direction::Egress, Some(true)),
    ("postrouting", Direction::Egress, None),
    ("egress", Direction::Egress, None),
];

pub(super) fn read(lines: &Lines, options: &Options) -> Result<Read, Unreadable> {
    let mut read = Read { local: true, ..Read::default() };
    let ruleset = Ruleset::read(lines, &mut read)?;
    read.sets = ruleset.address_sets();
    let marking = ruleset.marking();
    let mut done = BTreeSet::new();
    for direction in Direction::BOTH {
        let mut side = SideReader { lines, options, ruleset: &ruleset, direction, read: &mut read, done: &mut done };
        let mut steps = Vec::new();
        for (name, _, local) in HOOKS.iter().filter(|(_, asked, _)| *asked == direction) {
            steps.extend(side.hook(name, *local, &marking));
        }
        read.program.chains.insert(hook(direction).to_owned(), steps);
    }
    leave_others(&ruleset, &marking, &done, lines, &mut read);
    Ok(read)
}

/// What marks and is at no hook of ours, and what has no say.
fn leave_others(
    ruleset: &Ruleset,
    marking: &BTreeSet<String>,
    done: &BTreeSet<String>,
    lines: &Lines,
    read: &mut Read,
) {
    for (id, block) in &ruleset.blocks {
        match (ruleset.is_asked(id, marking), ruleset.changing.get(id)) {
            (false, _) => block.iter().for_each(|line| read.account.beside(*line)),
            (true, Some(line)) => read.leave(lines, *line, "members come and go there: here those in the text stay"),
            (true, None) => {}
        }
    }
    for (id, chain) in &ruleset.chains {
        let at_a_hook = chain.base.as_ref().is_some_and(|base| HOOKS.iter().any(|(name, ..)| *name == base.hook));
        if !marking.contains(id) && !chain.rules.is_empty() {
            read.note_block(lines, &chain.block, "it sets no mark: its rules were not read");
        }
        if !marking.contains(id) || done.contains(id) || at_a_hook {
            continue;
        }
        let reason = match &chain.base {
            Some(base) => format!("the hook {} is neither before nor behind one of ours", base.hook),
            None => format!("nothing jumps to the chain {}", chain.name),
        };
        chain.rules.iter().for_each(|rule| read.leave(lines, rule.line, reason.clone()));
    }
}

/// The chains as they are at one direction.
struct SideReader<'a> {
    lines: &'a Lines,
    options: &'a Options,
    ruleset: &'a Ruleset,
    direction: Direction,
    read: &'a mut Read,
    /// The chains that were read at either direction.
    done: &'a mut BTreeSet<String>,
}

impl SideReader<'_> {
    fn hook(&mut self, name: &str, local: Option<bool>, marking: &BTreeSet<String>) -> Vec<Step> {
        let mut bases = BTreeMap::new();
        for (order, (id, chain)) in self.ruleset.chains.iter().enumerate() {
            if let Some(base) = chain.base.as_ref().filter(|base| base.hook == name && marking.contains(id)) {
                bases.insert((base.priority, order), (id, chain, base));
            }
        }
        bases.into_values().filter_map(|(id, chain, base)| self.base(id, chain, base, local)).collect()
    }

    fn base(&mut self, id: &str, chain: &Chain, base: &Base, local: Option<bool>) -> Option<Step> {
        let any = Condition { families: chain.families, local, ..Condition::default() };
        let mut when = Vec::new();
        for device in &base.devices {
            let renamed = self.options.interfaces.iter().find(|(old, _)| old == device);
            let device = renamed.map_or(device, |(_, new)| new);
            if !dscp::is_interface(device) {
                let reason = format!("{device} cannot be the name of an interface here");
                self.read.leave_block(self.lines, &chain.block, &reason);
                return None;
            }
            when.push(Condition { on: Some(device.clone()), ..any.clone() });
        }
        if base.devices.is_empty() {
            when.push(any);
        }
        let body = self.chain(id, chain);
        let name = format!("{body} policy");
        let mut steps = vec![Step::new(Line::default(), vec![Condition::default()], vec![Act::Jump(body)])];
        if let Some(line) = base.drops {
            steps.push(Step::new(line, vec![Condition::default()], vec![Act::Drop]));
        }
        self.read.program.chains.insert(name.clone(), steps);
        Some(Step::new(Line::default(), when, vec![Act::Base(name)]))
    }

    /// Puts a chain and what it jumps to into the program; its name there.
    fn chain(&mut self, id: &str, chain: &Chain) -> String {
        let key = format!("{} {id}", self.direction);
        if self.read.program.chains.contains_key(&key) {
            return key;
        }
        self.read.program.chains.insert(key.clone(), Vec::new());
        self.done.insert(id.to_owned());
        let mut steps = Vec::new();
        for rule in &chain.rules {
            let reader = RuleReader::new(chain, self.ruleset, self.direction, &self.options.interfaces);
            match reader.read(rule).and_then(|found| Ok((self.entered(chain, found.step)?, found.notes))) {
                Ok((step, notes)) => {
                    steps.push(step);
                    notes.into_iter().for_each(|note| self.read.note(self.lines, rule.line, note));
                }
                Err(reason) => self.read.leave(self.lines, rule.line, reason),
            }
        }
        self.read.program.chains.insert(key.clone(), steps);
        key
    }

    /// A step with the chains that it jumps to.
    fn entered(&mut self, chain: &Chain, mut step: Step) -> Result<Step, String> {
        for act in step.cases.iter_mut().flat_map(|case| &mut case.acts) {
            if let Act::Jump(name) | Act::Goto(name) = act {
                let id = chain.id_of(name);
                let target = self.ruleset.chains.get(&id).ok_or_else(|| format!("there is no chain {name}"))?;
                *name = self.chain(&id, target);
            }
        }
        Ok(step)
    }
}
