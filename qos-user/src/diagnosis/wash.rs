//! Queueing disciplines that clear marks behind our count: those of an interface, and those of another by whose way out
//! filters of tc send its packets. An ifb gives them back.

use std::collections::BTreeSet;

use super::{
    Command, Cure, Finding, Level,
    facts::{Ground, Port},
    tc::{Filter, Wash},
};
use crate::{
    hook::Direction,
    netdev::{Netdev, twice},
};

/// What the qdiscs of an interface clear of what our hooks have counted.
pub(super) fn at(port: &Port, ground: &Ground) -> Vec<Finding> {
    let name = &port.device.name;
    let hooks = hooks_above(port, ground);
    let told = |wash: &Wash| {
        let text = match hooks.as_slice() {
            [] => words(wash),
            hooks => format!("{}: those counted as AFTER at {} are not sent", words(wash), hooks.join(", ")),
        };
        let level = if hooks.is_empty() { Level::Info } else { Level::Warn };
        Finding::new(level, name, "wash", text).cure(Cure::There(removal(name, wash)))
    };
    port.tc.washes.iter().map(told).collect()
}

/// Our hooks at egress whose packets come to this interface's qdisc: its own, and those of devices that stand on it. Inside
/// a PPPoE session no qdisc looks.
fn hooks_above(port: &Port, ground: &Ground) -> Vec<String> {
    let name = |port: &Port| format!("{}:egress", port.device.name);
    let hooked = |port: &&Port| port.hook(Direction::Egress).is_some();
    let own = Some(port).filter(hooked).map(name);
    let attached: BTreeSet<u32> =
        ground.ports.iter().filter(hooked).chain([port]).map(|port| port.device.ifindex).collect();
    let devices: Vec<Netdev> = ground.ports.iter().map(|port| port.device.clone()).collect();
    let pairs = twice(&devices, &attached, &[]);
    let uppers: BTreeSet<u32> =
        pairs.iter().filter(|pair| pair.lower == port.device.ifindex).map(|pair| pair.upper).collect();
    let above = ground.ports.iter().filter(|above| uppers.contains(&above.device.ifindex)).map(name);
    own.into_iter().chain(above).collect()
}

/// `qdisc cake at root clears marks`.
fn words(Wash { kind, parent }: &Wash) -> String {
    format!("qdisc {kind} at {parent} clears marks")
}

fn removal(name: &str, Wash { kind, parent }: &Wash) -> Command {
    let at = |command: Command| {
        parent.split_whitespace().fold(command.words("dev").word(name), |command, word| command.word(word))
    };
    match kind.as_str() {
        "cake" => at(Command::new("tc qdisc change")).words("cake nowash"),
        _ => at(Command::new("tc qdisc del")),
    }
}

/// Where a filter sends packets.
pub(super) fn through<'a>(filter: &Filter, ground: &'a Ground) -> Option<&'a Port> {
    ground.port(filter.to.as_deref()?)
}

/// Whether what a filter takes comes back, and goes on behind it.
pub(super) fn comes_back(filter: &Filter, ground: &Ground) -> bool {
    through(filter, ground).is_some_and(|port| port.device.kind.as_deref() == Some("ifb"))
}

/// What becomes of the marks of what a filter sends through another interface, and the cure.
pub(super) fn on_the_way(filter: &Filter, ground: &Ground) -> Vec<(String, Option<Command>)> {
    let Some(port) = through(filter, ground) else { return Vec::new() };
    let name = &port.device.name;
    let told = |who: String, cure| (format!("redirects to {name}, where {who}"), cure);
    let washes = port.tc.washes.iter().map(|wash| told(words(wash), Some(removal(name, wash))));
    let sent = port.tc.rewrites.iter().filter(|rewrite| rewrite.place.direction() == Direction::Egress);
    let sent = sent.filter(|rewrite| rewrite.packets.meets(filter.packets));
    let rewrites = sent.map(|rewrite| {
        let who = format!("tc filter {} at {} rewrites marks", rewrite.words(), rewrite.place.label());
        told(who, rewrite.removal(name))
    });
    washes.chain(rewrites).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::testing::{enforcing, ground, port},
        hook::Direction,
    };

    fn washing(mut port: Port) -> Port {
        port.tc.washes = vec![Wash { kind: "cake".to_owned(), parent: "root".to_owned() }];
        port
    }

    #[test]
    fn cake_that_washes_is_told_with_the_cure() {
        let wan = washing(enforcing("wan0", Direction::Egress));
        let found = at(&wan, &ground(vec![wan.clone()])).remove(0);
        assert_eq!((found.level, found.code), (Level::Warn, "wash"));
        assert!(found.text.ends_with("those counted as AFTER at wan0:egress are not sent"), "{}", found.text);
        assert_eq!(found.cure, Some(Cure::There(Command::new("tc qdisc change dev wan0 root cake nowash"))));
    }

    #[test]
    fn where_no_hook_of_ours_sends_it_is_only_told() {
        for plain in [washing(port("wan0")), washing(enforcing("wan0", Direction::Ingress))] {
            let found = at(&plain, &ground(vec![plain.clone()])).remove(0);
            assert_eq!((found.level, &*found.text), (Level::Info, "qdisc cake at root clears marks"));
        }
    }

    #[test]
    fn a_hook_at_a_vlan_sends_through_the_qdisc_below() {
        let wan = washing(port("wan0"));
        let mut vlan = enforcing("wan0.7", Direction::Egress);
        (vlan.device.ifindex, vlan.device.kind, vlan.device.parent) = (2, Some("vlan".to_owned()), Some(1));
        let found = at(&wan, &ground(vec![wan.clone(), vlan])).remove(0);
        assert_eq!(found.level, Level::Warn);
        assert!(found.text.ends_with("AFTER at wan0.7:egress are not sent"), "{}", found.text);
    }
}
