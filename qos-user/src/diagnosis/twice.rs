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
    here.filter_map(|(pair, ways)| Some(finding(pair, (name(pair.upper)?, name(pair.lower)?), ways))).collect()
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
        diagnosis::testing::{ground, port},
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
}
