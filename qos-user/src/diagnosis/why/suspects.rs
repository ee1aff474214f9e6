//! Who may have taken a mark, or a packet, between two hooks of ours.

use super::{Scene, mark::Way};
use crate::{
    diagnosis::{
        Command,
        facts::{Port, Route, RoutingRule},
        marks,
        outside::{Packets, Rule},
        share::FEW,
    },
    hook::Direction,
    snapshot::Hook,
};

/// Suspects between hooks at ingress and the ways out.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// What each is, rules first, then programs, routes.
    pub words: Vec<String>,
    /// Ways out by which packets may have left, of which the numbers do not say so.
    pub possible: Vec<String>,
    /// The command that takes the rule away, if there is one: which of several it was, nothing here can tell.
    pub removal: Option<Command>,
}

/// Who may have taken these codepoints from packets that came in by `from` and should leave by `to`; any interface if
/// that is not known.
pub(super) fn between(scene: &Scene<'_>, from: &[&Hook], to: Option<&str>, way: &Way<'_>) -> Suspects {
    // Packets that got another codepoint leave with that one.
    let may_be_marked = way.others * 10 >= way.missing() * 9;
    let rules = if may_be_marked { rules(scene, from, to, way) } else { Vec::new() };
    let removal = if let [rule] = rules.as_slice() { Some(rule.removal.clone()) } else { None };
    let mut words: Vec<String> = rules.iter().map(|rule| rule.words()).collect();
    words.extend(programs(scene, from, to, way.packets()));
    let (by_numbers, possible): (Vec<_>, Vec<_>) = routes(scene, from, way).partition(|(left, _)| *left);
    words.extend(by_numbers.into_iter().map(|(_, words)| words));
    Suspects { words, possible: possible.into_iter().map(|(_, words)| words).collect(), removal }
}

fn rules<'a>(scene: &Scene<'a>, from: &[&Hook], to: Option<&str>, way: &Way<'_>) -> Vec<&'a Rule> {
    let enters = |rule: &Rule| from.iter().any(|hook| rule.concerns(&hook.interface, Direction::Ingress));
    let ports = scene.ground.ports.iter().map(|port| port.device.name.as_str());
    let exits: Vec<&str> = match to {
        Some(to) => vec![to],
        None => ports.filter(|name| from.iter().all(|hook| hook.interface != *name)).collect(),
    };
    let leaves = |rule: &Rule| exits.iter().any(|exit| rule.concerns(exit, Direction::Egress));
    let takes = |rule: &Rule| way.dscps.iter().any(|dscp| rule.takes(*dscp)) && rule.packets.is_of(way.families);
    scene.outside.markers().filter(|rule| takes(rule) && enters(rule) && leaves(rule)).collect()
}

/// Filters of tc that rewrite or take away on the way, and programs of others, of which only their author knows what they do.
fn programs(scene: &Scene<'_>, from: &[&Hook], to: Option<&str>, packets: Packets) -> Vec<String> {
    let behind = from.iter().filter_map(|hook| scene.ground.port(&hook.interface));
    let behind = behind.flat_map(|port| marks::after_us(port, Direction::Ingress, packets, scene.ground));
    let before = to.and_then(|to| scene.ground.port(to)).into_iter();
    behind.chain(before.flat_map(|port| marks::before_us(port, Direction::Egress, packets, scene.ground))).collect()
}

/// Ways out that have no hook, but those by which the packets came in; and whether the device sent about as many as are
/// missing, which is the only sign that they left there.
fn routes(scene: &Scene<'_>, from: &[&Hook], way: &Way<'_>) -> impl Iterator<Item = (bool, String)> {
    let has_hook = |name: &str| scene.hooks(Direction::Egress).any(|hook| hook.interface == name);
    let came_by = |name: &str| from.iter().any(|hook| hook.interface == name);
    let out = |port: &Port| {
        let (name, ifindex) = (&port.device.name, port.device.ifindex);
        let sent = scene.sent.get(&ifindex).copied().unwrap_or_default();
        let idle = way.sampled && sent == 0;
        let routes: Vec<_> = scene.ground.routes.iter().filter(|route| route.ifindex == ifindex).collect();
        if has_hook(name) || came_by(name) || name == "lo" || routes.is_empty() || idle {
            return None;
        }
        let routes = listed(&routes, &scene.ground.rules);
        let meanwhile = if way.sampled { format!(" and sent {sent} meanwhile") } else { String::new() };
        let words = format!("route: {routes} by {name}, which has no hook at egress{meanwhile}");
        Some((way.sampled && is_about(sent, way.missing()), words))
    };
    scene.ground.ports.iter().filter_map(out).collect::<Vec<_>>().into_iter()
}

/// A fifth is what others send beside it, and what two readings that are not one may differ by. Few packets are about as
/// many as anything.
const fn is_about(sent: u64, missing: u64) -> bool {
    missing >= FEW && sent * 5 >= missing * 4 && sent * 5 <= missing * 6
}

/// The first few of them, with the table where it is not the main one.
fn listed(routes: &[&Route], rules: &[RoutingRule]) -> String {
    const MAIN: u32 = 254;
    const SHOWN: usize = 3;
    let chosen_by = |table: u32| {
        let rule = rules.iter().find(|rule| rule.table == table);
        rule.map_or_else(String::new, |rule| format!(", ip rule {} for {}", rule.priority, rule.condition()))
    };
    let word = |route: &&&Route| match route.table {
        MAIN => route.to.clone(),
        table => format!("{} (table {table}{})", route.to, chosen_by(table)),
    };
    let shown: Vec<_> = routes.iter().take(SHOWN).map(|route| word(&route)).collect();
    let more = if routes.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}
