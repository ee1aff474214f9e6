//! The devices of a network namespace, and how they stand on each other.

use std::{collections::BTreeMap, fs};

use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use nix::net::if_::if_nametoindex;

use super::{
    datapath::{Hook, Observed},
    network::Network,
};
use crate::{
    hook::{Direction, Layer},
    netdev::{self, Counting, Netdev, Twice},
};

/// Which device has which PPPoE session; a kernel without PPPoE has no such file. The first line is a header.
const SESSIONS: &str = "/proc/thread-self/net/pppoe";

impl Network {
    /// All devices.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn devices(&self) -> anyhow::Result<Vec<Netdev>> {
        Ok(self.links()?.iter().map(device).collect())
    }
}

/// The devices over which this host has PPPoE sessions.
#[must_use]
pub fn pppoe() -> Vec<u32> {
    let sessions = fs::read_to_string(SESSIONS).unwrap_or_default();
    carriers(&sessions).filter_map(|name| if_nametoindex(name).ok()).collect()
}

/// The pairs of devices at which those of our hooks that run count the same packet, and which ways.
#[must_use]
pub fn counted_twice<'a>(devices: &[Netdev], hooks: impl Iterator<Item = &'a Hook>) -> BTreeMap<Twice, Vec<Direction>> {
    let running = hooks.filter(|hook| hook.running != Observed::Gone);
    netdev::counted_twice(devices, &running.map(counting).collect::<Vec<_>>(), &pppoe())
}

fn counting(hook: &Hook) -> Counting {
    let looks_inside = hook.state.inside().contains(&Layer::Pppoe);
    Counting { ifindex: hook.pins.ifindex, direction: hook.pins.direction, looks_inside }
}

fn carriers(sessions: &str) -> impl Iterator<Item = &str> {
    sessions.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2))
}

fn device(message: &LinkMessage) -> Netdev {
    let link_type = message.header.link_layer_type.to_string();
    let is = |flag| message.header.flags.contains(flag);
    let (up, carrier) = (is(LinkFlags::Up), is(LinkFlags::LowerUp));
    let mut device =
        Netdev { ifindex: message.header.index, link_type, down: !up, no_carrier: up && !carrier, ..Netdev::default() };
    for attribute in &message.attributes {
        take(&mut device, attribute);
    }
    // The index is one of another namespace.
    if message.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_))) {
        device.parent = None;
    }
    device
}

fn take(device: &mut Netdev, attribute: &LinkAttribute) {
    match attribute {
        LinkAttribute::IfName(name) => device.name.clone_from(name),
        LinkAttribute::Link(parent) => device.parent = Some(*parent).filter(|parent| *parent != 0),
        LinkAttribute::Controller(master) => device.master = Some(*master).filter(|master| *master != 0),
        LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
        LinkAttribute::NumRxQueues(queues) => device.rx_queues = *queues,
        LinkAttribute::NumTxQueues(queues) => device.tx_queues = *queues,
        LinkAttribute::LinkInfo(infos) => device.kind = kind_of(infos),
        _ => {}
    }
}

/// The kind of a device, if it has one.
pub(super) fn kind_of(infos: &[LinkInfo]) -> Option<String> {
    infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_carriers_of_sessions_are_in_the_third_column() {
        let file = "Id       Address              Device\n01000000 02:00:00:00:00:01    wan0.7\n";
        assert_eq!(carriers(file).collect::<Vec<_>>(), ["wan0.7"]);
        assert_eq!(carriers("").count(), 0);
    }
}
