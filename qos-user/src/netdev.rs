//! Network devices and how they stand on each other: where one packet passes two of them, two hooks count it.

mod stacks;

use std::collections::{BTreeMap, BTreeSet};

use crate::hook::Direction;

pub use self::stacks::{Passed, Stack, Stacks};

/// A network device, as rtnetlink tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Netdev {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Its kind, such as `veth` or `vlan`; a driver's own device has none.
    pub kind: Option<String>,
    /// What precedes the IP header: `ETHER`, `PPP`, as `ARPHRD_*` calls it.
    pub link_type: String,
    /// The device that its packets go through, in this network namespace.
    pub parent: Option<u32>,
    /// The bridge, bond, team or VRF that it belongs to.
    pub master: Option<u32>,
    /// Whether it is set down.
    pub down: bool,
    /// Whether it is set up, and has nobody at its other end.
    pub no_carrier: bool,
    /// Bytes of a packet behind the link header.
    pub mtu: u32,
    /// How many queues it receives into.
    pub rx_queues: u32,
    /// How many queues it sends from.
    pub tx_queues: u32,
}

/// Why packets of one device are packets of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tie {
    /// A VLAN and the device that has its tags.
    Vlan,
    /// A MACVLAN, IPVLAN or a tap of one, and the device below it.
    Macvlan,
    /// A bond or team, and its member.
    Bond,
    /// A bridge and its port.
    Bridge,
    /// A VRF and its member.
    Vrf,
    /// A PPP device and the Ethernet that has its PPPoE session.
    Ppp,
}

/// Two devices that the same packet passes: upper and lower.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Twice {
    /// The one that the network stack sees first when it sends.
    pub upper: u32,
    /// The one nearer to the cable.
    pub lower: u32,
    /// Why.
    pub tie: Tie,
}

/// A hook, as far as counting twice depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// The device.
    pub ifindex: u32,
    /// Which way: a packet goes one.
    pub direction: Direction,
    /// Whether it looks into PPPoE sessions.
    pub looks_inside: bool,
}

impl Tie {
    /// What the upper device is to the lower one: `a VLAN of`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Vlan => "a VLAN of",
            Self::Macvlan => "stacked on",
            Self::Bond => "the bond of",
            Self::Bridge => "the bridge of",
            Self::Vrf => "the VRF of",
            Self::Ppp => "PPPoE over",
        }
    }

    fn to_parent(kind: &str) -> Option<Self> {
        match kind {
            "vlan" => Some(Self::Vlan),
            "macvlan" | "macvtap" | "ipvlan" | "ipvtap" => Some(Self::Macvlan),
            // The other end of a veth is no parent; a tunnel's packets have another header outside.
            _ => None,
        }
    }

    fn to_member(kind: &str) -> Option<Self> {
        match kind {
            "bond" | "team" => Some(Self::Bond),
            "bridge" => Some(Self::Bridge),
            "vrf" => Some(Self::Vrf),
            _ => None,
        }
    }
}

/// The pairs of devices at which hooks count the same packet, and which ways. `pppoe` are the devices over which sessions
/// run.
#[must_use]
pub fn counted_twice(devices: &[Netdev], hooks: &[Counting], pppoe: &[u32]) -> BTreeMap<Twice, Vec<Direction>> {
    let mut pairs: BTreeMap<Twice, Vec<Direction>> = BTreeMap::new();
    for direction in Direction::BOTH {
        let here: Vec<Counting> = hooks.iter().filter(|hook| hook.direction == direction).copied().collect();
        for pair in one_way(devices, &here, pppoe) {
            pairs.entry(pair).or_default().push(direction);
        }
    }
    pairs
}

/// The same of hooks of one direction.
fn one_way(devices: &[Netdev], hooks: &[Counting], pppoe: &[u32]) -> Vec<Twice> {
    let attached = hooks.iter().map(|hook| hook.ifindex).collect();
    // An Ethernet's hook sees the packets of a session only if it looks into it.
    let looking = hooks.iter().filter(|hook| hook.looks_inside).map(|hook| hook.ifindex);
    let sessions: Vec<u32> = looking.filter(|ifindex| pppoe.contains(ifindex)).collect();
    twice(devices, &attached, &sessions)
}

impl Twice {
    /// The names of both: `wan0.7`, `wan0`.
    #[must_use]
    pub fn names<'a>(&self, devices: &'a [Netdev]) -> Option<(&'a str, &'a str)> {
        let name = |ifindex| devices.iter().find(|device| device.ifindex == ifindex).map(|device| device.name.as_str());
        Some((name(self.upper)?, name(self.lower)?))
    }

    /// `wan0.7 is a VLAN of wan0`, by their names.
    #[must_use]
    pub fn words(&self, (upper, lower): (&str, &str)) -> String {
        format!("{upper} is {} {lower}", self.tie.words())
    }
}

/// Kinds of devices that put a packet into another one.
const TUNNELS: [&str; 14] = [
    "vxlan",
    "geneve",
    "gre",
    "gretap",
    "erspan",
    "ip6gre",
    "ip6gretap",
    "ip6erspan",
    "ipip",
    "sit",
    "ip6tnl",
    "wireguard",
    "xfrm",
    "vti",
];

impl Netdev {
    /// Whether what leaves by it gets another header behind it.
    #[must_use]
    pub fn encapsulates(&self) -> bool {
        self.kind.as_deref().is_some_and(|kind| TUNNELS.contains(&kind))
    }
}

/// The pairs of devices that one packet passes, where both are among `attached`; through several steps too, as from a
/// VLAN on a bond to the bond's member. `sessions` are the devices that carry PPPoE which hooks there look into.
#[must_use]
pub fn twice(devices: &[Netdev], attached: &BTreeSet<u32>, sessions: &[u32]) -> Vec<Twice> {
    let mut found = BTreeSet::new();
    for device in devices.iter().filter(|device| attached.contains(&device.ifindex)) {
        let mut waiting: Vec<(u32, Option<Tie>)> = vec![(device.ifindex, None)];
        let mut seen = BTreeSet::new();
        while let Some((upper, first)) = waiting.pop() {
            for (lower, tie) in below(devices, upper, sessions).into_iter().filter(|(lower, _)| seen.insert(*lower)) {
                let tie = first.unwrap_or(tie);
                if attached.contains(&lower) && lower != device.ifindex {
                    found.insert(Twice { upper: device.ifindex, lower, tie });
                }
                waiting.push((lower, Some(tie)));
            }
        }
    }
    found.into_iter().collect()
}

/// The devices directly below one.
fn below(devices: &[Netdev], upper: u32, sessions: &[u32]) -> Vec<(u32, Tie)> {
    let Some(device) = devices.iter().find(|device| device.ifindex == upper) else { return Vec::new() };
    let kind = device.kind.as_deref().unwrap_or_default();
    let parent = Tie::to_parent(kind).and_then(|tie| Some((device.parent?, tie)));
    let members = Tie::to_member(kind).into_iter().flat_map(|tie| {
        let members = devices.iter().filter(move |member| member.master == Some(upper));
        members.map(move |member| (member.ifindex, tie))
    });
    let sessions = sessions.iter().filter(|_| device.link_type == "PPP").map(|lower| (*lower, Tie::Ppp));
    parent.into_iter().chain(members).chain(sessions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn device(ifindex: u32, kind: &str, parent: Option<u32>, master: Option<u32>) -> Netdev {
        let kind = Some(kind.to_owned()).filter(|kind| !kind.is_empty());
        let link_type = if kind.as_deref() == Some("ppp") { "PPP" } else { "ETHER" }.to_owned();
        Netdev { name: format!("if{ifindex}"), ifindex, kind, link_type, parent, master, ..Netdev::default() }
    }

    fn pairs(devices: &[Netdev], attached: &[u32], sessions: &[u32]) -> Vec<(u32, u32, Tie)> {
        let found = twice(devices, &attached.iter().copied().collect(), sessions);
        found.into_iter().map(|twice| (twice.upper, twice.lower, twice.tie)).collect()
    }

    #[test]
    fn each_tie_is_found_where_both_are_attached_and_nowhere_else() {
        let kinds = [("bond", Tie::Bond), ("team", Tie::Bond), ("bridge", Tie::Bridge), ("vrf", Tie::Vrf)];
        for (kind, tie) in kinds {
            let devices = [device(1, "", None, Some(2)), device(2, kind, None, None)];
            assert_eq!(pairs(&devices, &[1, 2], &[]), [(2, 1, tie)], "{kind}");
            assert!(pairs(&devices, &[1], &[]).is_empty() && pairs(&devices, &[2], &[]).is_empty(), "{kind}");
        }
        for (kind, tie) in [("vlan", Tie::Vlan), ("macvlan", Tie::Macvlan), ("ipvlan", Tie::Macvlan)] {
            let devices = [device(1, "", None, None), device(2, kind, Some(1), None)];
            assert_eq!(pairs(&devices, &[1, 2], &[]), [(2, 1, tie)], "{kind}");
        }
    }

    #[test]
    fn tunnels_encapsulate_and_what_is_only_stacked_does_not() {
        for (kind, expected) in [("vxlan", true), ("sit", true), ("vlan", false), ("veth", false), ("", false)] {
            assert_eq!(device(1, kind, None, None).encapsulates(), expected, "{kind}");
        }
    }

    #[test]
    fn the_other_end_of_a_veth_and_the_way_of_a_tunnel_are_no_parents() {
        for kind in ["veth", "gre", "sit", "wireguard", "vxlan"] {
            let devices = [device(1, "", None, None), device(2, kind, Some(1), None)];
            assert!(pairs(&devices, &[1, 2], &[]).is_empty(), "{kind}");
        }
    }

    #[test]
    fn a_vlan_on_a_bond_is_counted_at_the_members_too() {
        let devices = [
            device(1, "", None, Some(3)),
            device(2, "", None, Some(3)),
            device(3, "bond", None, None),
            device(4, "vlan", Some(3), None),
        ];
        assert_eq!(pairs(&devices, &[1, 4], &[]), [(4, 1, Tie::Vlan)]);
        assert_eq!(pairs(&devices, &[1, 2, 3], &[]), [(3, 1, Tie::Bond), (3, 2, Tie::Bond)]);
    }

    #[test]
    fn a_session_counts_twice_only_where_hooks_look_into_it() {
        let devices = [device(1, "", None, None), device(2, "ppp", None, None)];
        assert!(pairs(&devices, &[1, 2], &[]).is_empty());
        assert_eq!(pairs(&devices, &[1, 2], &[1]), [(2, 1, Tie::Ppp)]);
    }

    #[test]
    fn hooks_of_one_direction_count_twice_and_a_session_only_where_the_lower_one_looks_inside() {
        let devices = [device(1, "", None, None), device(2, "ppp", None, None), device(3, "vlan", Some(1), None)];
        let at = |ifindex, direction, looks_inside| Counting { ifindex, direction, looks_inside };
        let (ingress, egress) = (Direction::Ingress, Direction::Egress);
        let count = |hooks: &[Counting], pppoe: &[u32]| counted_twice(&devices, hooks, pppoe).len();
        assert_eq!(count(&[at(1, ingress, false), at(3, egress, false)], &[]), 0, "a packet goes one way");
        assert_eq!(count(&[at(1, egress, false), at(3, egress, false)], &[]), 1);
        let both = [at(1, ingress, false), at(3, ingress, false), at(1, egress, false), at(3, egress, false)];
        assert_eq!(count(&both, &[]), 1, "a pair is one, both ways");
        let ways = |hooks: &[Counting]| counted_twice(&devices, hooks, &[]).into_values().next().unwrap();
        assert_eq!([ways(&both), ways(&both[1..])], [vec![ingress, egress], vec![egress]]);
        for (looks, pppoe, expected) in [(true, &[1][..], 1), (false, &[1], 0), (true, &[], 0)] {
            assert_eq!(count(&[at(1, egress, looks), at(2, egress, false)], pppoe), expected);
        }
        assert_eq!(count(&[at(1, ingress, true), at(1, egress, false), at(2, egress, false)], &[1]), 0);
    }

    #[test]
    fn devices_that_stand_on_each_other_in_a_circle_end() {
        let devices = [device(1, "vlan", Some(2), None), device(2, "vlan", Some(1), None)];
        assert_eq!(pairs(&devices, &[1, 2], &[]).len(), 2);
    }
}
