//! Packets in packets: what leaves by a tunnel is counted there, and its outer header once more where that leaves; so it is
//! with what comes in. Outer headers may have the codepoint of what is inside, or any other.

use std::{collections::BTreeSet, rc::Rc};

use super::{Scene, hook_name};
use crate::{
    diagnosis::{Finding, facts::Port},
    hook::Direction,
    netdev::Stack,
    snapshot::Hook,
};

/// A tunnel whose hooks have counted some of the codepoints that are asked about.
#[derive(Clone, Debug)]
pub(super) struct Tunnel {
    /// Its device.
    name: String,
    /// The device that its outer headers pass, if it is bound to one.
    over: Option<u32>,
    /// All devices that put packets into others: an outer header mostly passes none of them.
    others: Rc<BTreeSet<u32>>,
    /// What its hooks have counted.
    hooks: Vec<(String, u64)>,
    /// Came out of it.
    pub came: u64,
    /// Went into it.
    pub left: u64,
}

impl Tunnel {
    /// Whether its outer headers may pass these devices.
    pub fn may_be_over(&self, stack: &Stack) -> bool {
        match self.over {
            Some(device) => stack.devices.contains(&device),
            None => stack.devices.is_disjoint(&self.others),
        }
    }
}

/// Those that have counted any, by a count of one hook.
pub(super) fn counted(scene: &Scene<'_>, packets: impl Fn(&Hook) -> u64) -> Vec<Tunnel> {
    let encapsulating = || scene.ground.ports.iter().filter(|port| port.device.encapsulates());
    let others: Rc<BTreeSet<u32>> = Rc::new(encapsulating().map(|port| port.device.ifindex).collect());
    let of = |port: &Port| {
        let at = |direction| scene.hooks(direction).find(|hook| hook.ifindex == port.device.ifindex);
        let [came, left] = Direction::BOTH.map(|direction| at(direction).map_or(0, &packets));
        let hooks = Direction::BOTH.into_iter().filter_map(at).map(|hook| (hook_name(hook), packets(hook)));
        Tunnel {
            name: port.device.name.clone(),
            over: port.device.parent,
            others: others.clone(),
            hooks: hooks.collect(),
            came,
            left,
        }
    };
    encapsulating().map(of).filter(|tunnel| tunnel.came + tunnel.left > 0).collect()
}

/// Whether what comes out of a tunnel at a hook came in as an outer header by the device of another one, and leaves elsewhere.
pub(super) fn is_over(scene: &Scene<'_>, inner: &Hook, outer: &Hook) -> bool {
    let port = scene.ground.port(&inner.interface).filter(|port| port.device.encapsulates());
    port.is_some_and(|port| port.device.parent == Some(outer.ifindex))
}

/// The tunnels whose outer headers may leave by the device of a hook, with what that is called.
pub(super) fn outer_headers(scene: &Scene<'_>, hook: &Hook) -> Option<String> {
    const MOST: usize = 4;
    let is_tunnel = scene.ground.port(&hook.interface).is_some_and(|port| port.device.encapsulates());
    let is_here = |port: &&Port| port.device.parent.map_or(!is_tunnel, |parent| parent == hook.ifindex);
    let tunnels = scene.ground.ports.iter().filter(|port| port.device.encapsulates() && !port.device.down);
    let names: Vec<_> = tunnels.filter(is_here).map(|port| port.device.name.as_str()).take(MOST).collect();
    (!names.is_empty()).then(|| format!("an outer header of what goes into {}", names.join(" or ")))
}

/// `vx0 puts packets into others: ...`, with what its hooks have counted.
pub(super) fn words(tunnels: &[Tunnel]) -> (String, Vec<String>) {
    let names = tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect::<Vec<_>>().join(" and ");
    let puts = if tunnels.len() == 1 { "puts" } else { "put" };
    let text = format!("{names} {puts} packets into others: packets and their outer headers are counted separately");
    let hooks = tunnels.iter().flat_map(|tunnel| &tunnel.hooks);
    (text, hooks.map(|(hook, packets)| format!("{hook} {packets}")).collect())
}

/// Beside what the numbers say all the same.
pub(super) fn told(scene: &Scene<'_>, tunnels: &[Tunnel]) -> Option<Finding> {
    let (text, hooks) = words(tunnels);
    (!tunnels.is_empty()).then(|| Finding::info(&scene.name(), "tunnel", text).details(hooks))
}
