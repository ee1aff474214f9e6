//! The filter by which tcpdump shows the packets that are asked about: at a hook that remarks they have one mark before it
//! and another one behind it, and tcpdump sees one of the two.

use std::collections::BTreeSet;

use qos_common::ds::Dscp;

use crate::{
    diagnosis::{Command, Cure},
    snapshot::{Counts, Hook},
    tcpdump,
};

/// More codepoints than these make no filter that anybody reads.
const MOST_IN_A_FILTER: usize = 4;

/// Some packets of these codepoints; any, if none are meant.
pub(super) fn tcpdump(hook: &Hook, dscps: &[Dscp]) -> Cure {
    let marks = hook.counts.as_ref().map_or_else(|_| dscps.to_vec(), |counts| shown(hook, counts, dscps));
    let tcpdump = Command::new("tcpdump -n -v -c 5 -i").word(&hook.interface);
    Cure::There(match marks.len() {
        1..=MOST_IN_A_FILTER => tcpdump.word(tcpdump::any(&marks)),
        _ => tcpdump.words("ip or ip6"),
    })
}

/// The marks that these packets have where tcpdump sees them.
fn shown(hook: &Hook, counts: &Counts, dscps: &[Dscp]) -> Vec<Dscp> {
    let is_behind = hook.via.tcpdump_sees(hook.direction) == "after";
    let stays = |dscp: &Dscp| {
        let (before, after) = (counts.before(*dscp).packets, counts.after(*dscp).packets);
        let (seen, other) = if is_behind { (after, before) } else { (before, after) };
        seen > 0 || other == 0
    };
    let changed = counts.changes().filter_map(|(from, to, _)| match is_behind {
        true => dscps.contains(&from).then_some(to),
        false => dscps.contains(&to).then_some(from),
    });
    let marks: BTreeSet<Dscp> = dscps.iter().copied().filter(stays).chain(changed).collect();
    marks.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use qos_common::abi::Counter;

    use super::*;
    use crate::{
        hook::{Direction, Via},
        snapshot::sample,
    };

    const AF41: Dscp = Dscp::new(34).unwrap();
    const SOME: Counter = Counter { packets: 7, bytes: 700 };

    /// Seven EF came to a hook and left as AF41; as many EF stayed as they were, if `kept`.
    fn marks(via: Via, direction: Direction, kept: bool, asked: Dscp) -> Vec<u8> {
        let mut hook = sample::snapshot().hooks.swap_remove(1);
        (hook.via, hook.direction) = (via, direction);
        let mut counts = Counts::zero();
        (counts.sums.changed[0][184], counts.remarked[46][34]) = (SOME, SOME);
        if kept {
            counts.sums.kept[0][184] = SOME;
        }
        shown(&hook, &counts, &[asked]).into_iter().map(Dscp::value).collect()
    }

    #[test]
    fn behind_a_hook_packets_have_the_mark_that_it_gave_them() {
        let at_egress = |kept, asked| marks(Via::Tcx, Direction::Egress, kept, asked);
        assert_eq!(at_egress(false, Dscp::EF), [34]);
        assert_eq!(at_egress(true, Dscp::EF), [34, 46]);
        assert_eq!(at_egress(false, AF41), [34]);
        assert_eq!(at_egress(false, Dscp::LE), [1], "none came");
        assert_eq!(marks(Via::XdpNative, Direction::Ingress, false, Dscp::EF), [34]);
    }

    #[test]
    fn before_a_hook_they_have_the_mark_that_they_came_with() {
        let at_ingress = |asked| marks(Via::Tcx, Direction::Ingress, false, asked);
        assert_eq!(at_ingress(Dscp::EF), [46]);
        assert_eq!(at_ingress(AF41), [46]);
        assert_eq!(at_ingress(Dscp::LE), [1]);
    }
}
