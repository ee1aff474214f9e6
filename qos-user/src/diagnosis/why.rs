//! Why a counter is zero, or a mark is not what was meant: one hook, with what the other hooks of this host have counted.

mod attachment;
mod bridged;
mod device;
mod elsewhere;
mod family;
mod forwarding;
mod mark;
mod own;
mod protected;
mod rule;
mod suspects;
mod tunnels;
mod way;
mod wire;

use std::{collections::BTreeMap, time::SystemTime};

use qos_common::ds::Dscp;

use super::{
    Command, Cure, Finding, Level, bypass,
    facts::{Ground, Port},
    link, marks,
    outside::{Outside, Packets},
    port, programs, twice,
};
use crate::{
    hook::Direction,
    netdev::{Counting, Netdev, Stacks},
    snapshot::{Hook, Snapshot, State},
};

pub use rule::RuleFacts;

/// What is asked about a hook.
#[derive(Clone, Debug)]
pub enum About {
    /// The hook as a whole.
    Hook,
    /// Codepoints, by the word that means them.
    Marks(String, Vec<Dscp>),
    /// A rule of the policy.
    Rule(RuleFacts),
}

/// What was read around a hook. The snapshots have all hooks of this network namespace.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The hook's interface.
    pub interface: &'a str,
    /// Its direction.
    pub direction: Direction,
    /// The first reading.
    pub earlier: &'a Snapshot,
    /// The second one.
    pub later: &'a Snapshot,
    /// Devices, routes, neighbours.
    pub ground: &'a Ground,
    /// Packet filters.
    pub outside: &'a Outside,
    /// How many packets each device sent between the readings, by index.
    pub sent: &'a BTreeMap<u32, u64>,
    /// The same since the device is there.
    pub sent_ever: &'a BTreeMap<u32, u64>,
    /// What puts the policy in force where a hook runs without it, if one is in force.
    pub again: Option<&'a Cure>,
    /// What the hook does otherwise than the policy in force says, since interfaces are not what they were.
    pub outdated: &'a [Finding],
    /// Whether the device has another root qdisc than when the hook was attached.
    pub qdisc_replaced: bool,
}

/// The answer: what stands above it, what was found, and commands that show more.
#[derive(Clone, Debug)]
pub struct Answer {
    /// One sentence.
    pub heading: String,
    /// The findings.
    pub findings: Vec<Finding>,
    /// Commands that show more.
    pub further: Vec<Cure>,
}

/// Answers.
#[must_use]
pub fn why(scene: &Scene<'_>, about: &About) -> Answer {
    let link = scene.ground.port(scene.interface).and_then(|port| link::state(port, Level::Fail));
    let mut findings: Vec<_> = link.into_iter().chain(attachment::findings(scene)).collect();
    let readable = scene.hook().filter(|hook| hook.counts.is_ok());
    let Some(hook) = readable else {
        return Answer { heading: scene.name(), findings, further: vec![Cure::Own(Command::new("status"))] };
    };
    let (heading, rest) = match about {
        About::Hook => (whole_heading(scene, hook), mark::lost(scene)),
        About::Marks(word, dscps) => {
            (mark::heading(scene, hook, word, dscps), mark::findings(scene, hook, word, dscps))
        }
        About::Rule(facts) => (rule::heading(scene, hook, facts), rule::findings(scene, hook, facts)),
    };
    findings.extend(rest);
    let dscps = about.dscps(hook);
    let packets = if dscps.is_empty() { Packets::ALL } else { Packets::of(&dscps) };
    findings.extend(behind(scene, &findings));
    findings.extend(surroundings(scene, matches!(about, About::Hook), packets));
    Answer {
        heading,
        findings,
        further: vec![wire::tcpdump(hook, &dscps), Cure::Own(Command::new("doctor").operand(scene.interface))],
    }
}

fn whole_heading(scene: &Scene<'_>, hook: &Hook) -> String {
    let packets = hook.counts.as_ref().map_or(0, |counts| counts.totals().before.packets);
    format!("{}: {packets} packets since {}", scene.name(), since(hook))
}

fn since(hook: &Hook) -> impl std::fmt::Display {
    time(hook.since)
}

fn time(at: SystemTime) -> impl std::fmt::Display {
    humantime::format_rfc3339_seconds(at)
}

/// Programs of others behind the hook, but those that are suspected already.
fn behind(scene: &Scene<'_>, found: &[Finding]) -> Vec<Finding> {
    let told = cures(found);
    let port = scene.ground.port(scene.interface).into_iter();
    let behind = port.flat_map(|port| programs::behind(port, scene.direction));
    behind.filter(|finding| finding.cure.as_ref().is_none_or(|cure| !told.contains(cure))).collect()
}

/// All cures of findings, and of their details.
fn cures(found: &[Finding]) -> Vec<Cure> {
    let details = found.iter().flat_map(|finding| finding.details.iter().map(|detail| &detail.cure));
    found.iter().map(|finding| &finding.cure).chain(details).flatten().cloned().collect()
}

/// What `doctor` knows of this interface, as far as it is about this hook.
fn surroundings(scene: &Scene<'_>, whole: bool, packets: Packets) -> Vec<Finding> {
    let Some(port) = scene.ground.port(scene.interface) else { return Vec::new() };
    let mut findings = scene.outside.unanswered();
    findings.extend(bypass::flowtables(scene.interface, scene.outside));
    findings.extend(bypass::hardware(port));
    findings.extend(programs::other_version(port));
    findings.extend(marks::behind_us(port, scene.direction, packets, scene.ground));
    findings.extend(programs::interpreted(port));
    if whole {
        findings.extend(programs::elsewhere(port, scene.direction));
        findings.extend(twice::counted_twice(port, scene.ground));
        findings.extend(marks::inside(&[scene.interface], scene.ground, scene.outside));
        findings.extend(port::device(port, scene.ground).into_iter().filter(|finding| finding.code == "rxvlan"));
    }
    findings
}

impl About {
    /// The codepoints that are asked about.
    fn dscps(&self, hook: &Hook) -> Vec<Dscp> {
        match self {
            Self::Hook => Vec::new(),
            Self::Marks(_, dscps) => dscps.clone(),
            Self::Rule(facts) => rule::dscps(hook, facts),
        }
    }
}

impl<'a> Scene<'a> {
    /// `wan0:egress`.
    fn name(&self) -> String {
        format!("{}:{}", self.interface, self.direction)
    }

    /// The hook asked about, in the second reading.
    fn hook(&self) -> Option<&'a Hook> {
        self.later.hooks.iter().find(|hook| hook.interface == self.interface && hook.direction == self.direction)
    }

    /// The hooks of one direction that count.
    fn hooks(&self, direction: Direction) -> impl Iterator<Item = &'a Hook> + use<'a> {
        let counting = |hook: &&Hook| hook.counts.is_ok() && !matches!(hook.state, State::Missing | State::Error);
        self.later.hooks.iter().filter(move |hook| hook.direction == direction).filter(counting)
    }

    /// How the devices with hooks of one direction stand on each other.
    fn stacks(&self, direction: Direction) -> Stacks {
        let ports = &self.ground.ports;
        let devices: Vec<Netdev> = ports.iter().map(|port| port.device.clone()).collect();
        let looks = |port: &&Port| port.hook(direction).is_some_and(|hook| hook.inside_pppoe);
        let looking: Vec<u32> = ports.iter().filter(looks).map(|port| port.device.ifindex).collect();
        let counting = self.hooks(direction).map(|hook| Counting {
            ifindex: hook.ifindex,
            direction,
            looks_inside: looking.contains(&hook.ifindex),
        });
        Stacks::of(&devices, &counting.collect::<Vec<_>>(), &self.ground.pppoe)
    }

    /// The same hook in the first reading.
    fn before(&self, hook: &Hook) -> Option<&'a Hook> {
        let same =
            |then: &&Hook| (then.ifindex, then.direction, then.since) == (hook.ifindex, hook.direction, hook.since);
        self.earlier.hooks.iter().find(same)
    }
}

fn hook_name(hook: &Hook) -> String {
    format!("{}:{}", hook.interface, hook.direction)
}

#[cfg(test)]
mod tests;
