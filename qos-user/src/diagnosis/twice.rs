//! Packets that two of our hooks count.

use super::{
    Command, Cure, Finding,
    facts::{Ground, Port},
};
use crate::{hook::Direction, netdev::Twice};

/// The hooks below this interface that count its packets too.
pub(super) fn counted_twice(port: &Port, ground: &Ground) -> Vec<Finding> {
    let name = |ifindex| {
        let port = ground.ports.iter().find(|port| port.device.ifindex == ifindex)?;
        Some(port.device.name.as_str())
    };
    let here = ground.twice.iter().filter(|(pair, _)| pair.upper == port.device.ifindex);
    here.filter_map(|(pair, ways)| Some(finding(port, pair, (name(pair.upper)?, name(pair.lower)?), ways))).collect()
}

/// The cure leaves the upper one's hooks that count alone. What a policy binds is attached to mark, and stays.
fn finding(port: &Port, pair: &Twice, names: (&str, &str), ways: &[Direction]) -> Finding {
    let (upper, words) = (names.0, pair.words(names));
    let (at, hook) = match ways {
        [way] => (format!(" at {way}"), format!("{upper}:{way}")),
        _ => (String::new(), upper.to_owned()),
    };
    let text = format!("counted twice{at}: {words}, and both are attached; sums over them are too high");
    let bound = ways.iter().filter(|way| port.hook(**way).is_some_and(|hook| hook.bound));
    let bound: Vec<_> = bound.map(|way| format!("{upper}:{way}")).collect();
    if !bound.is_empty() {
        let advice =
            format!("the policy binds {}: leave it attached, and add up one of the two alone", bound.join(" and "));
        return Finding::info(upper, "counted-twice", text).cure(Cure::Advice(advice));
    }
    Finding::warn(upper, "counted-twice", text).cure(Cure::Own(Command::new("detach").operand(hook)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::{
            Level,
            testing::{enforcing, ground, port},
        },
        netdev::Tie,
    };

    #[test]
    fn it_is_said_at_the_upper_one_and_the_cure_leaves_its_hooks_that_count_alone() {
        let mut ports = [port("bond0"), port("eth0")];
        (ports[0].device.ifindex, ports[1].device.ifindex) = (2, 1);
        let found = |at: usize, ways: &[Direction]| {
            let twice = [(Twice { upper: 2, lower: 1, tie: Tie::Bond }, ways.to_vec())].into();
            counted_twice(&ports[at], &Ground { twice, ..ground(ports.to_vec()) })
        };
        let one_way = found(0, &[Direction::Egress]).remove(0);
        assert!(one_way.text.starts_with("counted twice at egress: bond0 is the bond of eth0,"), "{}", one_way.text);
        assert_eq!(one_way.cure, Some(Cure::Own(Command::new("detach bond0:egress"))));
        let both = found(0, &Direction::BOTH).remove(0);
        assert_eq!(both.cure, Some(Cure::Own(Command::new("detach bond0"))));
        assert!(found(1, &Direction::BOTH).is_empty(), "said once");
    }

    #[test]
    fn a_hook_that_marks_by_the_policy_is_not_to_be_detached() {
        let mut bridge = enforcing("br0", Direction::Egress);
        bridge.device.ifindex = 2;
        let told = |way| {
            let twice = [(Twice { upper: 2, lower: 1, tie: Tie::Bridge }, vec![way])].into();
            counted_twice(&bridge, &Ground { twice, ..ground(vec![bridge.clone(), port("bq0")]) }).remove(0)
        };
        let bound = told(Direction::Egress);
        assert_eq!(bound.level, Level::Info);
        assert!(matches!(bound.cure, Some(Cure::Advice(advice)) if advice.contains("binds br0:egress")));
        assert_eq!(told(Direction::Ingress).level, Level::Warn, "it counts alone there");
    }
}
