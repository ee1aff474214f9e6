//! How many packets passed hooks of which some stand on each other: each is counted at one device of a stack.

use std::collections::{BTreeMap, BTreeSet};

use super::{Counting, Netdev, one_way};

/// What one hook has counted of the same packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Packets as they came to it, or as they left it, whichever is asked for.
    pub packets: u64,
    /// How many fewer left it than came: to whoever sees the same packets behind it they are gone.
    pub taken: u64,
}

/// What passed a device, or several that stand on each other: each packet once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// The devices.
    pub devices: BTreeSet<u32>,
    /// Whether some of them stand side by side, as ports of a bridge do: what came in by one may leave by another one.
    pub is_wide: bool,
    /// How many packets.
    pub packets: u64,
}

/// What has passed the devices of one height.
#[derive(Clone, Debug, Default)]
struct Height {
    devices: BTreeSet<u32>,
    passed: Passed,
}

/// The attached devices, by the stack that they belong to and their height in it.
///
/// Of two hooks at one height none sees a packet of the other, and what one height has counted is a part of what passed
/// the stack. So the height with the most is the best that is known: all members of a bond, or the bond; a device, and not
/// its VLANs.
#[derive(Clone, Debug, Default)]
pub struct Stacks(BTreeMap<u32, (u32, usize)>);

impl Stacks {
    /// Of the devices with hooks of one direction. `pppoe` are the devices over which sessions run.
    #[must_use]
    pub fn of(devices: &[Netdev], hooks: &[Counting], pppoe: &[u32]) -> Self {
        let mut places: BTreeMap<u32, (u32, usize)> =
            hooks.iter().map(|hook| (hook.ifindex, (hook.ifindex, 0))).collect();
        let pairs = one_way(devices, hooks, pppoe);
        // A stack is no higher than there are devices; what stands on each other in a circle ends too.
        for _ in 0..hooks.len() {
            for pair in &pairs {
                let [upper, lower] = [pair.upper, pair.lower].map(|device| places[&device]);
                let stack = upper.0.min(lower.0);
                places.insert(pair.lower, (stack, lower.1));
                places.insert(pair.upper, (stack, upper.1.max(lower.1 + 1).min(hooks.len())));
            }
        }
        Self(places)
    }

    /// How many packets that is on their way up, from the cable: what hooks above have taken did not arrive.
    #[must_use]
    pub fn up(&self, passed: impl IntoIterator<Item = (u32, Passed)>) -> u64 {
        self.each_up(passed).iter().map(|stack| stack.packets).sum()
    }

    /// How many came to hooks on their way down.
    #[must_use]
    pub fn down(&self, packets: impl IntoIterator<Item = (u32, u64)>) -> u64 {
        self.each_down(packets).iter().map(|stack| stack.packets).sum()
    }

    /// The same as [`up`](Self::up), stack by stack; of the same devices in the same order.
    #[must_use]
    pub fn each_up(&self, passed: impl IntoIterator<Item = (u32, Passed)>) -> Vec<Stack> {
        self.heights(passed).into_values().map(|heights| stack(&heights)).collect()
    }

    /// The same as [`down`](Self::down), stack by stack.
    #[must_use]
    pub fn each_down(&self, packets: impl IntoIterator<Item = (u32, u64)>) -> Vec<Stack> {
        self.each_up(packets.into_iter().map(|(device, packets)| (device, Passed { packets, taken: 0 })))
    }

    fn heights(&self, passed: impl IntoIterator<Item = (u32, Passed)>) -> BTreeMap<u32, BTreeMap<usize, Height>> {
        let mut stacks: BTreeMap<u32, BTreeMap<usize, Height>> = BTreeMap::new();
        for (device, new) in passed {
            let (stack, height) = self.0.get(&device).copied().unwrap_or((device, 0));
            let Height { devices, passed } = stacks.entry(stack).or_default().entry(height).or_default();
            devices.insert(device);
            *passed = Passed { packets: passed.packets + new.packets, taken: passed.taken + new.taken };
        }
        stacks
    }
}

fn stack(heights: &BTreeMap<usize, Height>) -> Stack {
    let arrived = heights.iter().map(|(height, at)| {
        let above = heights.range(height + 1..).map(|(_, above)| above.passed.taken);
        at.passed.packets.saturating_sub(above.sum())
    });
    Stack {
        packets: arrived.max().unwrap_or_default(),
        is_wide: heights.values().any(|at| at.devices.len() > 1),
        devices: heights.values().flat_map(|at| at.devices.iter().copied()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::device, *};
    use crate::hook::Direction;

    fn stacks(devices: &[Netdev]) -> Stacks {
        let at =
            |device: &Netdev| Counting { ifindex: device.ifindex, direction: Direction::Ingress, looks_inside: false };
        Stacks::of(devices, &devices.iter().map(at).collect::<Vec<_>>(), &[])
    }

    #[test]
    fn devices_side_by_side_are_summed() {
        let stacks = stacks(&[device(1, "veth", None, None), device(2, "veth", None, None)]);
        assert_eq!(stacks.down([(1, 16), (2, 16)]), 32);
        assert_eq!(stacks.down([(9, 3)]), 3, "a hook at a device that has gone");
    }

    #[test]
    fn a_bridge_and_its_port_count_a_packet_once() {
        let bridge = stacks(&[
            device(1, "veth", None, Some(3)),
            device(2, "veth", None, Some(3)),
            device(3, "bridge", None, None),
        ]);
        assert_eq!(bridge.down([(1, 16), (3, 16)]), 16);
        assert_eq!(bridge.down([(1, 8), (2, 8), (3, 16)]), 16);
        assert_eq!(bridge.down([(1, 100), (3, 40)]), 100, "the rest is bridged");
        assert_eq!(bridge.down([(1, 8), (3, 16)]), 16, "the other port is not counted");
        let [all] = &*bridge.each_down([(1, 8), (2, 8), (3, 16)]) else { panic!("one stack") };
        assert!(all.is_wide && all.devices == [1, 2, 3].into(), "{all:?}");
        assert!(!bridge.each_down([(1, 8), (3, 16)])[0].is_wide, "one port");
    }

    #[test]
    fn a_vlan_on_a_bond_of_two_members_counts_once_and_so_do_vlans_beside_untagged() {
        let devices = [
            device(1, "", None, Some(3)),
            device(2, "", None, Some(3)),
            device(3, "bond", None, None),
            device(4, "vlan", Some(3), None),
            device(5, "vlan", Some(3), None),
        ];
        let bond = stacks(&devices);
        assert_eq!(bond.down([(1, 8), (2, 12), (3, 20), (4, 5), (5, 7)]), 20);
        assert_eq!(bond.down([(4, 5), (5, 7)]), 12);
    }

    #[test]
    fn what_the_upper_hook_took_did_not_arrive_and_what_the_lower_one_took_never_came_to_it() {
        let vlan = stacks(&[device(1, "", None, None), device(2, "vlan", Some(1), None)]);
        let passed = |packets, taken| Passed { packets, taken };
        assert_eq!(vlan.up([(1, passed(16, 0)), (2, passed(0, 16))]), 0);
        assert_eq!(vlan.up([(1, passed(32, 0)), (2, passed(10, 6))]), 26);
        assert_eq!(vlan.up([(1, passed(0, 16)), (2, passed(0, 0))]), 0);
    }

    #[test]
    fn a_circle_ends() {
        let circle = stacks(&[device(1, "vlan", Some(2), None), device(2, "vlan", Some(1), None)]);
        assert!((4..=8).contains(&circle.down([(1, 4), (2, 4)])));
    }
}
