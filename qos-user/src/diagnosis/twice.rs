//! Packets that two of our hooks count.

use super::{
    Command, Cure, Finding,
    facts::{Ground, Port},
};
use crate::{
    hook::Direction,
    netdev::{self, Counting, Netdev, Twice},
};

/// The hooks below this interface that count its packets too.
pub(super) fn counted_twice(port: &Port, ground: &Ground) -> Vec<Finding> {
    let devices: Vec<Netdev> = ground.ports.iter().map(|port| port.device.clone()).collect();
    let hooks: Vec<Counting> = ground.ports.iter().flat_map(counting).collect();
    let pairs = netdev::counted_twice(&devices, &hooks, &ground.pppoe);
    let here = pairs.iter().filter(|(pair, _)| pair.upper == port.device.ifindex);
    here.filter_map(|(pair, ways)| Some(finding(pair, pair.names(&devices)?, ways))).collect()
}

fn counting(port: &Port) -> impl Iterator<Item = Counting> {
    let ifindex = port.device.ifindex;
    port.hooks.iter().map(move |hook| Counting { ifindex, direction: hook.direction, looks_inside: hook.inside_pppoe })
}

/// The cure leaves the upper one's hooks that count alone.
fn finding(pair: &Twice, names: (&str, &str), ways: &[Direction]) -> Finding {
    let (upper, words) = (names.0, pair.words(names));
    let (at, hook) = match ways {
        [way] => (format!(" at {way}"), format!("{upper}:{way}")),
        _ => (String::new(), upper.to_owned()),
    };
    let text = format!("counted twice{at}: {words}, and both are attached; sums over them are too high");
    Finding::warn(upper, "counted-twice", text).cure(Cure::Own(Command::new("detach").operand(hook)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::testing::{enforcing, ground, own, port},
        hook::Via,
    };

    fn bond() -> [Port; 2] {
        let mut bond = enforcing("bond0", Direction::Egress);
        bond.device.kind = Some("bond".to_owned());
        bond.device.ifindex = 2;
        let mut member = enforcing("eth0", Direction::Egress);
        member.device.master = Some(2);
        [bond, member]
    }

    #[test]
    fn a_bond_and_its_member_count_twice_if_both_are_attached() {
        let [bond, member] = bond();
        let found = counted_twice(&bond, &ground(vec![bond.clone(), member.clone()]));
        assert!(found[0].text.contains("bond0 is the bond of eth0"), "{}", found[0].text);
        assert_eq!(found[0].cure, Some(Cure::Own(Command::new("detach bond0:egress"))));
        let both_ways = |port: &Port| {
            let mut port = port.clone();
            port.hooks.push(own(Direction::Ingress, Via::Tcx));
            port
        };
        let one_way = counted_twice(&bond, &ground(vec![both_ways(&bond), member.clone()])).remove(0);
        assert_eq!(one_way.cure, Some(Cure::Own(Command::new("detach bond0:egress"))), "ingress is counted once");
        let both = counted_twice(&bond, &ground(vec![both_ways(&bond), both_ways(&member)])).remove(0);
        assert_eq!(both.cure, Some(Cure::Own(Command::new("detach bond0"))));
        assert!(counted_twice(&member, &ground(vec![bond.clone(), member.clone()])).is_empty(), "said once");
        let mut other_way = member.clone();
        other_way.hooks[0].direction = Direction::Ingress;
        assert!(counted_twice(&bond, &ground(vec![bond.clone(), other_way])).is_empty(), "a packet goes one way");
        let bare = Port { device: member.device, ..port("eth0") };
        assert!(counted_twice(&bond, &ground(vec![bond.clone(), bare])).is_empty());
    }

    #[test]
    fn a_session_counts_twice_where_the_ethernet_looks_inside() {
        let mut ppp = enforcing("ppp0", Direction::Egress);
        (ppp.device.link_type, ppp.device.ifindex) = ("PPP".to_owned(), 2);
        let mut ethernet = enforcing("wan0", Direction::Egress);
        let of = |ethernet: &Port| {
            let ground = Ground { pppoe: vec![1], ..ground(vec![ppp.clone(), ethernet.clone()]) };
            counted_twice(&ppp, &ground).len()
        };
        assert_eq!(of(&ethernet), 0);
        ethernet.hooks[0].inside_pppoe = true;
        assert_eq!(of(&ethernet), 1);
    }
}
