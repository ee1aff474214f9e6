//! What of the packets that came in by some hooks is seen to leave. The numbers of hooks at egress are sums: others bring
//! packets with the same codepoints, and this host makes some.

use crate::{diagnosis::why::tunnels::Tunnel, netdev::Stack};

/// Packets with certain codepoints, on both sides of the router.
#[derive(Clone, Debug)]
pub(super) struct Balance {
    /// What came in by the hooks that are asked about.
    pub ours: Vec<Stack>,
    /// What came in by others.
    pub others: Vec<Stack>,
    /// What left.
    pub exits: Vec<Stack>,
    /// What left beside, by ways that ours would take only back to where they came from.
    pub back: Vec<Stack>,
}

/// What the numbers prove of those that came in by the hooks that are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// No more of them are lost, if this host made none of what left.
    pub lost: u64,
    /// So many of them are, whoever made what left.
    pub surely_lost: u64,
    /// So many more left than came in by any hook.
    pub surplus: u64,
}

impl Bounds {
    /// Of two that may be so whichever is worse.
    pub fn worst([one, other]: [Self; 2]) -> Self {
        Self {
            lost: one.lost.max(other.lost),
            surely_lost: one.surely_lost.min(other.surely_lost),
            surplus: one.surplus.max(other.surplus),
        }
    }
}

impl Balance {
    /// What it proves.
    pub fn bounds(&self) -> Bounds {
        let (came, least) = (packets(&self.ours), self.least());
        Bounds {
            lost: came.saturating_sub(least),
            surely_lost: came.saturating_sub(passable(&self.ours, &self.exits)),
            surplus: least.saturating_sub(came),
        }
    }

    /// How many of ours have left if all that may be of others is: where ours cannot leave, others have left first.
    fn least(&self) -> u64 {
        let comes_back = |exit: &Stack| self.ours.iter().all(|side| is_way_back(side, exit));
        let (mut of_others, open): (Vec<_>, Vec<_>) = self.exits.iter().cloned().partition(comes_back);
        of_others.extend(self.back.iter().cloned());
        let there = passable(&self.others, &of_others);
        let left = packets(&open);
        let elsewhere = passable(&self.others, &[of_others, open].concat()).saturating_sub(there);
        left.saturating_sub(elsewhere)
    }

    /// The same if outer headers of these tunnels have the codepoints of what is inside: they come in for this host, and leave
    /// as made by it.
    pub fn without_outer(&self, tunnels: &[Tunnel]) -> Self {
        let mut rest = self.clone();
        for tunnel in tunnels {
            let is_over = |stack: &&mut Stack| tunnel.may_be_over(stack);
            take(rest.ours.iter_mut().chain(&mut rest.others).filter(is_over), tunnel.came);
            take(rest.exits.iter_mut().chain(&mut rest.back).filter(is_over), tunnel.left);
        }
        rest
    }
}

/// Packets of some devices together.
pub(super) fn packets(stacks: &[Stack]) -> u64 {
    stacks.iter().map(|stack| stack.packets).sum()
}

/// Whether packets that came in by one side would leave by the cable that they came by.
fn is_way_back(side: &Stack, exit: &Stack) -> bool {
    !side.is_wide && !exit.is_wide && !side.devices.is_disjoint(&exit.devices)
}

/// How many packets may have come in by these and left by those, none by the way that it came: the smallest cut between the two
/// leaves all sides, all exits, or one side and the exit that it cannot take.
fn passable(sides: &[Stack], exits: &[Stack]) -> u64 {
    let (came, left) = (packets(sides), packets(exits));
    // Those without packets cut nothing off.
    let [sides, exits] = [sides, exits].map(|all| all.iter().filter(|stack| stack.packets > 0).collect::<Vec<_>>());
    let pairs = sides.iter().flat_map(|side| exits.iter().map(move |exit| (*side, *exit)));
    let back = pairs.filter(|(side, exit)| is_way_back(side, exit));
    let cuts = back.map(|(side, exit)| came - side.packets + left - exit.packets);
    cuts.fold(came.min(left), u64::min)
}

/// Takes packets from where most are.
fn take<'a>(stacks: impl Iterator<Item = &'a mut Stack>, packets: u64) {
    let mut stacks: Vec<_> = stacks.collect();
    stacks.sort_by_key(|stack| std::cmp::Reverse(stack.packets));
    stacks.into_iter().fold(packets, |rest, stack| {
        let taken = rest.min(stack.packets);
        stack.packets -= taken;
        rest - taken
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks(packets: &[(u32, u64)]) -> Vec<Stack> {
        let one =
            |(device, packets): &(u32, u64)| Stack { devices: [*device].into(), is_wide: false, packets: *packets };
        packets.iter().map(one).collect()
    }

    fn balance(ours: &[(u32, u64)], others: &[(u32, u64)], exits: &[(u32, u64)]) -> Balance {
        Balance { ours: stacks(ours), others: stacks(others), exits: stacks(exits), back: Vec::new() }
    }

    /// Lost, surely lost, surplus.
    fn bounds(balance: &Balance) -> [u64; 3] {
        let Bounds { lost, surely_lost, surplus } = balance.bounds();
        [lost, surely_lost, surplus]
    }

    const LAN: u32 = 1;
    const WAN: u32 = 2;
    const WANX: u32 = 3;

    #[test]
    fn between_two_interfaces_what_goes_the_other_way_says_nothing() {
        for back in [[0, 0], [20, 20], [20, 0], [0, 20]] {
            let of = |left| bounds(&balance(&[(LAN, 20)], &[(WAN, back[0])], &[(WAN, left), (LAN, back[1])]));
            assert_eq!([of(20), of(5), of(0)], [[0, 0, 0], [15, 15, 0], [20, 20, 0]], "{back:?}");
        }
    }

    #[test]
    fn what_others_brought_in_proves_nothing_of_ours() {
        // The replies from the WAN are dropped; those from WANX come through.
        let replies = balance(&[(WAN, 12)], &[(LAN, 24), (WANX, 12)], &[(LAN, 12), (WAN, 12), (WANX, 12)]);
        assert_eq!(bounds(&replies), [12, 0, 0]);
        let all = balance(&[(WAN, 12)], &[(LAN, 24), (WANX, 12)], &[(LAN, 24), (WAN, 12), (WANX, 12)]);
        assert_eq!(bounds(&all), [0, 0, 0], "as many left as came");
        // Requests leave by WANX, replies come in by the WAN and are dropped.
        assert_eq!(bounds(&balance(&[(WAN, 12)], &[(LAN, 12)], &[(LAN, 0), (WANX, 12)])), [12, 0, 0]);
        assert_eq!(
            bounds(&balance(&[(LAN, 24), (WANX, 12)], &[(WAN, 0)], &[(LAN, 12), (WAN, 12), (WANX, 12)])),
            [0; 3]
        );
    }

    #[test]
    fn what_none_of_the_hooks_brought_in_is_surplus() {
        assert_eq!(bounds(&balance(&[(LAN, 10)], &[], &[(WAN, 40)])), [0, 0, 30]);
        assert_eq!(
            bounds(&balance(&[(LAN, 10)], &[], &[(WAN, 10), (LAN, 10)])),
            [0, 0, 0],
            "not where ours cannot leave"
        );
    }

    #[test]
    fn what_came_in_by_a_port_of_a_bridge_may_leave_by_another_one() {
        let ports = |packets| Stack { devices: [4, 5, 6].into(), is_wide: true, packets };
        let bridge = Balance { ours: vec![ports(24)], exits: vec![ports(24)], ..balance(&[], &[], &[]) };
        assert_eq!(bounds(&bridge), [0, 0, 0]);
        let one = Balance { others: vec![ports(12)], ours: vec![ports(12)], ..bridge };
        assert_eq!(bounds(&one), [0, 0, 0]);
    }

    #[test]
    fn what_left_where_ours_come_from_is_none_of_them_and_others_may_have_left_there() {
        let replies = Balance { back: stacks(&[(4, 5)]), ..balance(&[(LAN, 5)], &[], &[(WAN, 0)]) };
        assert_eq!(bounds(&replies), [5, 5, 0], "this host made them");
        // A call: twenty each way.
        let call = Balance { back: stacks(&[(4, 20)]), ..balance(&[(LAN, 20)], &[(WAN, 20)], &[(WAN, 20)]) };
        assert_eq!(bounds(&call), [0, 0, 0]);
        let third = Balance { back: stacks(&[(4, 20)]), ..balance(&[(LAN, 20)], &[(WAN, 20)], &[(WANX, 20)]) };
        assert_eq!(bounds(&third), [0, 0, 0], "those from the WAN left where ours came from");
    }

    #[test]
    fn where_most_are_outer_headers_are_taken_from() {
        let mut there = stacks(&[(LAN, 3), (WAN, 20), (WANX, 9)]);
        take(there.iter_mut(), 24);
        assert_eq!(there.iter().map(|stack| stack.packets).collect::<Vec<_>>(), [3, 0, 5]);
    }
}
