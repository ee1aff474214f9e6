//! A running-config of Cisco IOS: class-maps, policy-maps, table-maps and access lists, as far as they are about marks.
//!
//! A packet is of the first class of a policy-map that matches. A class asks access lists in their order, of which a
//! `deny` says that the packet does not match. Shaping and queueing stay with tc.

mod access_list;
mod actions;
mod config;
mod matching;
mod unrelated;

use std::collections::BTreeSet;

use self::config::{Config, Service, key};
use super::{
    Line, Options, Read,
    condition::Condition,
    dscp, hook,
    lines::Lines,
    program::{Act, Step},
};
use crate::hook::Direction;

const OWN_CONTROL: &str = "it reaches what this host itself sends in CS6 and CS7 (BGP, OSPF), as at the output of a Cisco: \
                           local = \"keep-control\" leaves that alone";

pub(super) fn read(lines: &Lines, options: &Options) -> Read {
    // A policy-map at the output has what the router itself sends, too.
    let mut read = Read { local: true, ..Read::default() };
    let config = Config::read(lines, &mut read);
    let mut used = BTreeSet::new();
    for direction in Direction::BOTH {
        let mut steps = Vec::new();
        for service in services(&config, options, lines, &mut read).iter().filter(|found| found.direction == direction)
        {
            let mut reader = Reader { lines, config: &config, direction, read: &mut read, used: &mut used };
            let on = Condition { on: Some(service.interface.clone()), ..Condition::default() };
            match reader.policy(&service.policy) {
                Some(chain) => {
                    steps.push(Step::new(Line::default(), vec![on], vec![Act::Base(chain)]));
                    if direction == Direction::Egress {
                        read.note(lines, service.line, OWN_CONTROL);
                    }
                }
                None => {
                    read.leave(lines, service.line, format!("there is no policy-map {} in the text", service.policy))
                }
            }
        }
        read.program.chains.insert(hook(direction).to_owned(), steps);
    }
    note_unused(&config, &used, lines, &mut read);
    read
}

/// Sections that no policy-map with an interface comes to; what is said of policy-maps is said already.
fn note_unused(config: &Config, used: &BTreeSet<String>, lines: &Lines, read: &mut Read) {
    let sections = config.blocks.iter().filter(|(key, _)| !used.contains(*key));
    for (_, block) in
        sections.filter(|(key, _)| ["class-map", "table-map", "access-list"].iter().any(|kind| key.starts_with(kind)))
    {
        read.note_block(lines, block, "nothing that marks asks for it");
    }
}

/// Where policy-maps are, with the names that interfaces have here.
fn services(config: &Config, options: &Options, lines: &Lines, read: &mut Read) -> Vec<Service> {
    let mut services = config.services.clone();
    for service in &mut services {
        let found = options.interfaces.iter().find(|(old, _)| *old == service.interface);
        let name = found.map_or_else(|| linux_name(&service.interface), |(_, new)| new.clone());
        if found.is_none() {
            let reason = format!("{} is taken as {name}: --interface {}=NAME", service.interface, service.interface);
            read.note(lines, service.line, reason);
        }
        service.interface = name;
    }
    for (name, (line, _)) in &config.policies {
        if config.services.iter().any(|service| service.policy == *name) || config.is_nested(name) {
            continue;
        }
        if options.on.is_empty() {
            let block = config.blocks.get(&key("policy-map", name)).map_or(std::slice::from_ref(line), Vec::as_slice);
            read.leave_block(lines, block, &format!("the text has no service-policy for {name}: --on IFACE:egress"));
        }
        for (pattern, direction) in &options.on {
            let directions = direction.map_or_else(|| Direction::BOTH.to_vec(), |only| vec![only]);
            services.extend(directions.into_iter().map(|direction| Service {
                line: *line,
                interface: pattern.clone(),
                direction,
                policy: name.clone(),
            }));
        }
    }
    services.retain(|service| dscp::is_interface(&service.interface));
    services
}

/// `GigabitEthernet0/0.100` as a name that Linux could have.
fn linux_name(name: &str) -> String {
    let end = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(name.len());
    let (kind, number) = name.split_at_checked(end).unwrap_or((name, ""));
    let short = kind.chars().take(2).collect::<String>() + &number.replace(['/', ':', ' '], "-");
    short.chars().take(15).collect::<String>().to_ascii_lowercase()
}

/// The policy-maps as they are at one direction.
struct Reader<'a> {
    lines: &'a Lines,
    config: &'a Config,
    direction: Direction,
    read: &'a mut Read,
    /// The keys of the sections that were come to.
    used: &'a mut BTreeSet<String>,
}

impl Reader<'_> {
    fn uses(&mut self, kind: &str, name: &str) {
        self.used.insert(key(kind, name));
    }

    /// The chain of a policy-map.
    fn policy(&mut self, name: &str) -> Option<String> {
        let config = self.config;
        let (_, classes) = config.policies.get(name)?;
        let chain = format!("{} policy {name}", self.direction);
        if self.read.program.chains.contains_key(&chain) {
            return Some(chain);
        }
        let mut steps = Vec::new();
        for class in classes {
            let hit = format!("{chain} class {}", class.name);
            let acts = self.acts(class);
            let last = acts.1.unwrap_or(class.line);
            let act = acts.0.into_iter().chain([Act::Accept]).collect();
            let doing = Step::new(last, vec![Condition::default()], act);
            self.read.program.chains.insert(hit.clone(), vec![doing]);
            let is_default = class.name == "class-default";
            let asks = if is_default { hit.clone() } else { self.class(&class.name, class.line, &hit) };
            if !self.reaches(&asks, &hit) {
                let lines = class.lines.iter().flat_map(|(line, _)| class.block(*line));
                let block = std::iter::once(class.line).chain(lines);
                let reason = "what its class-map asks for is not carried over, so nothing is of this class";
                self.read.leave_block(self.lines, &block.collect::<Vec<_>>(), reason);
            }
            steps.push(Step::new(class.line, vec![Condition::default()], vec![Act::Jump(asks)]));
        }
        self.read.program.chains.insert(chain.clone(), steps);
        Some(chain)
    }

    /// Whether a packet that enters a chain may come to another one.
    fn reaches(&self, from: &str, to: &str) -> bool {
        let steps = self.read.program.chains.get(from).into_iter().flatten();
        let mut acts = steps.flat_map(|step| &step.cases).flat_map(|case| &case.acts);
        from == to || acts.any(|act| matches!(act, Act::Jump(next) | Act::Goto(next) if self.reaches(next, to)))
    }
}
