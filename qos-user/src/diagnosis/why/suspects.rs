//! Who may have taken a mark, or a packet, between two hooks of ours.

use super::{Scene, way::Way};
use crate::{
    diagnosis::{
        Cure, Detail,
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
    /// Each with what takes it away, or shows more: rules, then filters and programs, routes.
    all: Vec<Detail>,
    /// Ways out by which packets may have left, of which the numbers do not say so.
    possible: Vec<Detail>,
    /// How many of all are rules of packet filters.
    rules: usize,
}

impl Suspects {
    /// Those that are no rules of packet filters.
    pub(super) const fn of(all: Vec<Detail>) -> Self {
        Self { all, possible: Vec::new(), rules: 0 }
    }

    /// Whether there are any.
    pub(super) const fn are_there(&self) -> bool {
        !self.all.is_empty()
    }

    /// What takes the rule away, if there is one, or the only suspect: which of several it was, nothing here can tell.
    pub(super) fn cure(&self) -> Option<Cure> {
        if self.rules == 1 || self.all.len() == 1 { self.all.first()?.cure.clone() } else { None }
    }

    /// Each with its number, and with its own cure if that is not the finding's.
    pub(super) fn numbered(self) -> Vec<Detail> {
        let cure = self.cure();
        self.beside(cure.as_ref())
    }

    /// The same beside a finding's cure.
    pub(super) fn beside(self, cure: Option<&Cure>) -> Vec<Detail> {
        let numbered = self.all.into_iter().enumerate().map(|(at, suspect)| Detail {
            text: format!("suspect {}: {}", at + 1, suspect.text),
            cure: suspect.cure.filter(|own| Some(own) != cure),
        });
        numbered.collect()
    }

    /// Each as what may have taken others, that came in elsewhere.
    pub(super) fn elsewhere(self) -> Vec<Detail> {
        let others = self.all.into_iter();
        others.map(|other| Detail { text: format!("or of what came in elsewhere: {}", other.text), ..other }).collect()
    }

    /// What else may be the reason.
    pub(super) fn possible(self) -> Vec<Detail> {
        self.possible.into_iter().map(|way| Detail { text: format!("or: {}", way.text), ..way }).collect()
    }
}

/// Who may have taken these codepoints from packets that came in by `from` and should leave by `to`; any interface if
/// that is not known.
pub(super) fn between(scene: &Scene<'_>, from: &[&Hook], to: Option<&str>, way: &Way<'_>) -> Suspects {
    // Packets that got another codepoint leave with that one.
    let may_be_marked = way.others * 10 >= way.missing() * 9;
    let rules = rules(scene, from, to, way.packets(), may_be_marked);
    let mut all: Vec<Detail> = rules.iter().copied().map(told).collect();
    all.extend(programs(scene, from, to, way.packets()));
    let (by_numbers, possible): (Vec<_>, Vec<_>) = routes(scene, from, way).partition(|(left, _)| *left);
    all.extend(by_numbers.into_iter().map(|(_, way)| way));
    Suspects { all, possible: possible.into_iter().map(|(_, way)| way).collect(), rules: rules.len() }
}

/// A rule of a packet filter as a suspect.
pub(super) fn told(rule: &Rule) -> Detail {
    Detail { text: rule.words(), cure: Some(Cure::There(rule.removal.clone())) }
}

/// The rules of packet filters alone that are about these packets, whatever the numbers say.
pub(super) fn rules_about(scene: &Scene<'_>, from: &[&Hook], to: Option<&str>, packets: Packets) -> Suspects {
    let rules = rules(scene, from, to, packets, true);
    Suspects { rules: rules.len(), all: rules.into_iter().map(told).collect(), possible: Vec::new() }
}

fn rules<'a>(
    scene: &Scene<'a>,
    from: &[&Hook],
    to: Option<&str>,
    packets: Packets,
    may_be_marked: bool,
) -> Vec<&'a Rule> {
    let from: Vec<&str> = from.iter().map(|hook| hook.interface.as_str()).collect();
    let ports = scene.ground.ports.iter().map(|port| port.device.name.as_str());
    let to: Vec<&str> = match to {
        Some(to) => vec![to],
        None => ports.filter(|name| !from.contains(name)).collect(),
    };
    let markers = scene.outside.markers().filter(|_| may_be_marked);
    let lies_there = |rule: &&Rule| rule.takes_between(packets, &from, &to);
    markers.chain(scene.outside.takers()).filter(lies_there).collect()
}

/// Filters of tc that rewrite or take away on the way, and programs of others, of which only their author knows what they do.
fn programs(scene: &Scene<'_>, from: &[&Hook], to: Option<&str>, packets: Packets) -> Vec<Detail> {
    let behind = from.iter().filter_map(|hook| scene.ground.port(&hook.interface));
    let behind = behind.flat_map(|port| marks::after_us(port, Direction::Ingress, packets, scene.ground));
    let came_by = |name: &str| from.iter().any(|hook| hook.interface == name);
    let is_exit = |name: &str| to.map_or_else(|| !came_by(name), |to| to == name);
    let before = scene.ground.ports.iter().filter(|port| is_exit(&port.device.name));
    behind.chain(before.flat_map(|port| marks::before_us(port, Direction::Egress, packets, scene.ground))).collect()
}

/// Ways out that have no hook, but those by which the packets came in; and whether the device sent about as many as are
/// missing, which is the only sign that they left there.
fn routes(scene: &Scene<'_>, from: &[&Hook], way: &Way<'_>) -> impl Iterator<Item = (bool, Detail)> {
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
        let text = format!("route: {routes} by {name}, which has no hook at egress{meanwhile}");
        let cure = Some(Cure::attach(name, Direction::Egress));
        Some((way.sampled && is_about(sent, way.missing()), Detail { text, cure }))
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
