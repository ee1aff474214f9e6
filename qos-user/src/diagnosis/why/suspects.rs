//! Who may have taken a mark, or a packet, between two hooks of ours.

use super::{
    Scene,
    family::{self, Families},
    way::{Family, Way},
};
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

/// How much of what is missing of a family somebody may have taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    None,
    Part,
    All,
}

/// Somebody who may have done it.
#[derive(Debug)]
struct Suspect {
    /// With what takes it away, or shows more.
    told: Detail,
    /// Whether it is a rule of a packet filter.
    is_rule: bool,
    /// Of each family.
    share: [Share; 2],
}

/// Suspects between hooks at ingress and the ways out.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// Rules, then filters and programs, routes.
    all: Vec<Suspect>,
    /// What may have taken packets too, of which the numbers do not say so.
    possible: Vec<Detail>,
    /// The families of which packets are missing.
    missing: Families,
}

impl Suspects {
    /// Those that are no rules of packet filters, each of all that is missing.
    pub(super) fn of(all: Vec<Detail>) -> Self {
        Self { all: all.into_iter().map(|told| Suspect::of_all(told, false)).collect(), ..Self::default() }
    }

    /// Whether there are any.
    pub(super) const fn are_there(&self) -> bool {
        !self.all.is_empty()
    }

    /// What takes the rule away, if there is one, or the only suspect, and it may have taken all that is missing: which of
    /// several it was, nothing here can tell.
    pub(super) fn cure(&self) -> Option<Cure> {
        let rules: Vec<_> = self.all.iter().filter(|suspect| suspect.is_rule).collect();
        let alone = match (&*rules, &*self.all) {
            ([one], _) => *one,
            (_, [one]) => one,
            _ => return None,
        };
        let is_all = alone.share.iter().zip(self.missing).all(|(share, missing)| !missing || *share == Share::All);
        alone.told.cure.clone().filter(|_| is_all)
    }

    /// Each with its number, and with its own cure if that is not the finding's; then of which family nobody is suspected.
    pub(super) fn numbered(self) -> Vec<Detail> {
        let cure = self.cure();
        self.beside(cure.as_ref())
    }

    /// The same beside a finding's cure.
    pub(super) fn beside(self, cure: Option<&Cure>) -> Vec<Detail> {
        let unexplained = self.unexplained();
        let possible = if unexplained.is_some() { self.possible } else { Vec::new() };
        let (both, all) = (self.missing == family::BOTH, self.all.into_iter().enumerate());
        let numbered = all.map(|(at, suspect)| Detail {
            text: format!("suspect {}: {}{}", at + 1, suspect.told.text, suspect.only().filter(|_| both).unwrap_or("")),
            cure: suspect.told.cure.filter(|own| Some(own) != cure),
        });
        numbered.chain(unexplained).chain(listed_as_possible(possible)).collect()
    }

    /// The family of which packets are missing that none of them can have taken.
    fn unexplained(&self) -> Option<Detail> {
        let is_free = |family: &usize| self.all.iter().all(|suspect| suspect.share[*family] == Share::None);
        let family = [0, 1].into_iter().find(|family| self.missing[*family] && is_free(family));
        let text =
            |family: usize| format!("of {} nobody is suspected: for this host, or dropped", family::NAMES[family]);
        family.filter(|_| self.are_there()).map(|family| text(family).into())
    }

    /// Each as what may have taken others, that came in elsewhere.
    pub(super) fn elsewhere(self) -> Vec<Detail> {
        let others = self.all.into_iter().map(|suspect| suspect.told);
        others.map(|other| Detail { text: format!("or of what came in elsewhere: {}", other.text), ..other }).collect()
    }

    /// What else may be the reason.
    pub(super) fn possible(self) -> Vec<Detail> {
        listed_as_possible(self.possible).collect()
    }
}

fn listed_as_possible(ways: Vec<Detail>) -> impl Iterator<Item = Detail> {
    ways.into_iter().map(|way| Detail { text: format!("or: {}", way.text), ..way })
}

impl Suspect {
    /// Of all that is missing.
    const fn of_all(told: Detail, is_rule: bool) -> Self {
        Self { told, is_rule, share: [Share::All; 2] }
    }

    /// Its family, if it has to do with one alone.
    const fn only(&self) -> Option<&'static str> {
        match self.share {
            [_, Share::None] => Some(" (IPv4 alone)"),
            [Share::None, _] => Some(" (IPv6 alone)"),
            _ => None,
        }
    }
}

/// Who may have taken these codepoints from packets that came in by `from` and should leave by `to`; any interface if
/// that is not known. Who cannot have taken all of a family is suspected beside one who can.
pub(super) fn between(scene: &Scene<'_>, from: &[&Hook], to: Option<&str>, way: &Way<'_>) -> Suspects {
    let (packets, ends) = (way.packets(), ends(scene, from, to));
    let rules = rules(scene, &ends, packets).map(|rule| Suspect {
        told: told(rule),
        is_rule: true,
        share: shares(way, rule.is_marker(), |one| ends.meet(rule, one)),
    });
    let programs = programs(scene, from, to, packets).into_iter().map(|told| Suspect {
        share: shares(way, false, |one| programs(scene, from, to, one).contains(&told)),
        told,
        is_rule: false,
    });
    let (by_numbers, possible): (Vec<_>, Vec<_>) = routes(scene, from, way).partition(|(left, _)| *left);
    let routes = by_numbers.into_iter().map(|(_, way)| Suspect::of_all(way, false));
    let all =
        rules.chain(programs).chain(routes).filter(|suspect| suspect.share.iter().any(|share| *share > Share::None));
    let all: Vec<_> = all.collect();
    let (whole, parts) = match all.iter().any(|suspect| suspect.share.contains(&Share::All)) {
        true => (all, Vec::new()),
        false => (Vec::new(), all),
    };
    let parts = parts.into_iter().map(|suspect| suspect.told);
    let possible = parts.chain(possible.into_iter().map(|(_, way)| way)).collect();
    Suspects { all: whole, possible, missing: packets.families }
}

/// What of each family somebody may have taken who takes such packets: those that got another codepoint leave with that one.
fn shares(way: &Way<'_>, marks: bool, takes: impl Fn(Packets) -> bool) -> [Share; 2] {
    [0, 1].map(|family| {
        let Family { missing, others, .. } = way.by_family()[family];
        let packets = Packets { families: family::only(family), ..Packets::of(way.dscps) };
        match missing > 0 && takes(packets) {
            false => Share::None,
            true if !marks || others * 10 >= missing * 9 => Share::All,
            true if others * 10 >= missing => Share::Part,
            true => Share::None,
        }
    })
}

/// A rule of a packet filter as a suspect.
pub(super) fn told(rule: &Rule) -> Detail {
    Detail { text: rule.words(), cure: Some(Cure::There(rule.removal.clone())) }
}

/// The rules of packet filters alone that are about these packets, whatever the numbers say.
pub(super) fn rules_about(scene: &Scene<'_>, from: &[&Hook], to: Option<&str>, packets: Packets) -> Suspects {
    let ends = ends(scene, from, to);
    Suspects {
        all: rules(scene, &ends, packets).map(|rule| Suspect::of_all(told(rule), true)).collect(),
        ..Suspects::default()
    }
}

/// The interfaces between which a suspect lies.
struct Ends<'a> {
    from: Vec<&'a str>,
    to: Vec<&'a str>,
}

impl Ends<'_> {
    fn meet(&self, rule: &Rule, packets: Packets) -> bool {
        rule.takes_between(packets, &self.from, &self.to)
    }
}

fn ends<'a>(scene: &Scene<'a>, from: &[&'a Hook], to: Option<&'a str>) -> Ends<'a> {
    let from: Vec<&str> = from.iter().map(|hook| hook.interface.as_str()).collect();
    let ports = scene.ground.ports.iter().map(|port| port.device.name.as_str());
    let to: Vec<&str> = match to {
        Some(to) => vec![to],
        None => ports.filter(|name| !from.contains(name)).collect(),
    };
    Ends { from, to }
}

fn rules<'a>(scene: &Scene<'a>, ends: &Ends<'_>, packets: Packets) -> impl Iterator<Item = &'a Rule> {
    let rules = scene.outside.markers().chain(scene.outside.takers());
    rules.filter(move |rule| ends.meet(rule, packets))
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
