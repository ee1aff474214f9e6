//! What `doctor` and `why` have to know of this host, its interfaces and its other tools: read, and not judged.

mod driver;
mod ethtool;
mod forwarding;
mod machine;
mod neighbours;
mod places;
mod raw_netlink;
mod routing;
mod tools;

use std::collections::BTreeMap;

pub use self::{ethtool::driver, machine::host, tools::outside};
use super::{
    choice,
    datapath::{Hook, Observed},
    netdev,
    network::{Interface, Network},
    sys,
};
use crate::{
    diagnosis::facts::{Ground, OwnHook, Port},
    hook::Layer,
};

/// Reads a network namespace; `hooks` are ours in it.
///
/// # Errors
///
/// What netlink reports.
pub fn ground(net: &Network, interfaces: &[Interface], hooks: &[Hook]) -> anyhow::Result<Ground> {
    let devices = net.devices()?;
    let twice = netdev::counted_twice(&devices, hooks.iter());
    let features = driver::xdp_features();
    let mut traffic = tools::traffic(net, &devices);
    let by_index: BTreeMap<u32, &Interface> =
        interfaces.iter().map(|interface| (interface.ifindex, interface)).collect();
    let ports = devices.into_iter().map(|device| {
        let own: Vec<&Hook> = hooks.iter().filter(|hook| hook.pins.ifindex == device.ifindex).collect();
        let (foreign, programs_unknown) = neighbours::foreign(net, by_index.get(&device.ifindex).copied(), &own);
        let (strays, foreign) = foreign.into_iter().partition(|program| choice::is_our_name(&program.name));
        let offloads = ethtool::offloads(&device.name);
        Port {
            unreadable: by_index.get(&device.ifindex).and_then(|interface| interface.link.clone().err()),
            driver: driver(&device.name),
            xdp: features.get(&device.ifindex).copied(),
            offloads,
            foreign,
            strays,
            forwards_not: forwarding::off(&device.name),
            programs_unknown,
            hooks: own.iter().filter(|hook| hook.running != Observed::Gone).map(|hook| own_hook(hook)).collect(),
            tc: traffic.remove(&device.ifindex).unwrap_or_default(),
            device,
        }
    });
    let ports = ports.collect();
    let (rules, routes) = (net.rules_by_mark()?, net.routes()?);
    Ok(Ground { ports, rules, routes, twice, pppoe: netdev::pppoe(), tcx: sys::has_tcx(1).unwrap_or(false) })
}

fn own_hook(hook: &Hook) -> OwnHook {
    let enforced = hook.state.enforced();
    OwnHook {
        direction: hook.pins.direction,
        via: hook.state.via,
        version: hook.state.version.clone(),
        enforces: enforced.is_some(),
        rules: enforced.map_or_else(Vec::new, |binding| binding.rules.clone()),
        inside_pppoe: hook.state.inside().contains(&Layer::Pppoe),
    }
}
