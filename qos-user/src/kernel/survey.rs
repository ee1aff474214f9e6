//! What `doctor` and `why` have to know of this host, its interfaces and its other tools: read, and not judged.

mod driver;
mod ethtool;
mod forwarding;
mod machine;
mod neighbours;
mod places;
mod routing;
mod tools;

use std::collections::BTreeMap;

pub use self::{
    ethtool::{driver, offloads},
    machine::host,
    tools::{is_installed, outside},
};
use super::{
    choice,
    datapath::{Broken, Hook, Observed},
    netdev,
    network::{Interface, Network},
    sys, translation,
};
use crate::{
    diagnosis::facts::{Elsewhere, Ground, OwnHook, Port, Program, Spared, XdpFeatures},
    hook::Layer,
    netdev::Netdev,
};

/// What the pins of a network namespace tell: our hooks in it, and those that cannot be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pinned<'a> {
    /// Hooks.
    pub hooks: &'a [Hook],
    /// Those that cannot be read.
    pub broken: &'a [Broken],
}

impl Pinned<'_> {
    /// Our hooks at an interface.
    fn at(&self, ifindex: u32) -> Vec<&Hook> {
        self.hooks.iter().filter(|hook| hook.pins.ifindex == ifindex).collect()
    }

    /// Whether a program of ours is known by no pin; of those that are pinned and cannot be read, or whose device has another
    /// number by now, something else is said.
    fn is_stray(&self, ifindex: u32, program: &Program) -> bool {
        let direction = program.at.direction();
        let is_broken = |it: &Broken| (it.pins.ifindex, it.pins.direction) == (ifindex, direction);
        let is_elsewhere = |hook: &Hook| hook.state.program_id == program.id;
        choice::is_our_name(&program.name) && !self.broken.iter().any(is_broken) && !self.hooks.iter().any(is_elsewhere)
    }
}

/// The programs that are ours by their names at an interface, though no pin tells of them; none where this process may not
/// ask.
#[must_use]
pub fn strays(net: &Network, interface: &Interface, pinned: Pinned<'_>) -> Vec<Program> {
    let (found, _unknown) = neighbours::foreign(net, Some(interface), &pinned.at(interface.ifindex));
    found.into_iter().filter(|program| pinned.is_stray(interface.ifindex, program)).collect()
}

/// Reads a network namespace; `pinned` is `None` if its pins cannot be read.
///
/// # Errors
///
/// What netlink reports.
pub fn ground(net: &Network, interfaces: &[Interface], pinned: Option<Pinned<'_>>) -> anyhow::Result<Ground> {
    let pins_unread = pinned.is_none();
    let pinned = pinned.unwrap_or_default();
    let devices = with_underlays(net.devices()?, net)?;
    let twice = netdev::counted_twice(&devices, pinned.hooks.iter());
    let features = driver::xdp_features();
    let mut traffic = tools::traffic(net, &devices);
    let by_index: BTreeMap<u32, &Interface> =
        interfaces.iter().map(|interface| (interface.ifindex, interface)).collect();
    let ports = devices.into_iter().map(|device| {
        let own = pinned.at(device.ifindex);
        let (foreign, programs_unknown) = neighbours::foreign(net, by_index.get(&device.ifindex).copied(), &own);
        let (ours, foreign): (Vec<_>, Vec<_>) =
            foreign.into_iter().partition(|program| choice::is_our_name(&program.name));
        Port {
            unreadable: by_index.get(&device.ifindex).and_then(|interface| interface.link.clone().err()),
            driver: driver(&device.name),
            xdp: features.get(&device.ifindex).copied(),
            offloads: offloads(&device.name),
            foreign,
            strays: ours.into_iter().filter(|program| pinned.is_stray(device.ifindex, program)).collect(),
            forwards_not: forwarding::off(&device.name),
            programs_unknown,
            hooks: own.iter().filter(|hook| hook.running != Observed::Gone).map(|hook| own_hook(hook)).collect(),
            tc: traffic.remove(&device.ifindex).unwrap_or_default(),
            device,
        }
    });
    let ports = ports.collect();
    let (rules, routes) = (net.rules_by_mark()?, net.routes()?);
    let (pppoe, tcx) = (netdev::pppoe(), sys::has_tcx(1).unwrap_or(false));
    let updates_priority = forwarding::updates_priority();
    Ok(Ground {
        ports,
        rules,
        routes,
        twice,
        pppoe,
        tcx,
        pins_unread,
        updates_priority,
        elsewhere: Elsewhere::default(),
    })
}

/// The same devices, of which tunnels know by which one their outer headers leave, also where they are bound to none.
fn with_underlays(mut devices: Vec<Netdev>, net: &Network) -> anyhow::Result<Vec<Netdev>> {
    let is_unknown = |device: &Netdev| device.encapsulates() && device.parent.is_none();
    if devices.iter().any(is_unknown) {
        let below = net.underlays()?;
        devices.iter_mut().filter(|device| is_unknown(device)).for_each(|device| {
            device.parent = below.get(&device.ifindex).copied();
        });
    }
    Ok(devices)
}

/// What the driver of an interface can do for XDP, if the kernel tells.
#[must_use]
pub fn xdp(ifindex: u32) -> Option<XdpFeatures> {
    driver::xdp_features().remove(&ifindex)
}

fn own_hook(hook: &Hook) -> OwnHook {
    let enforced = hook.state.enforced();
    OwnHook {
        direction: hook.pins.direction,
        via: hook.state.via,
        frags: hook.state.frags,
        interpreted: translation::is_left_out(hook.state.program_id),
        version: hook.state.version.clone(),
        enforces: enforced.is_some(),
        bound: hook.state.binding.is_some(),
        bypassed: hook.state.bypass.is_some(),
        spared: hook.state.binding.as_ref().map(|it| Spared { by: it.local.into(), word: it.local.as_str() }),
        rules: enforced.map_or_else(Vec::new, |binding| binding.rules.clone()),
        inside_pppoe: hook.state.inside().contains(&Layer::Pppoe),
    }
}
