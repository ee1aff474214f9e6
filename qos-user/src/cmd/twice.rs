//! Where one packet passes two devices that both have a hook, it counts at both; who attaches is told.

use super::site::Site;
use crate::{
    hook::Layer,
    kernel::{
        datapath::{Hook, Observed},
        netdev,
    },
    netdev::{Counting, Twice, counted_twice},
};

/// What is to be said of hooks that have just been attached beside those that were there.
///
/// # Errors
///
/// What netlink reports.
pub fn warnings(site: &Site, new: &[&Hook]) -> anyhow::Result<Vec<String>> {
    let devices = site.net.devices()?;
    let hooks: Vec<Counting> = attached(site, new).map(counting).collect();
    let fresh = |ifindex: u32| new.iter().any(|hook| hook.pins.ifindex == ifindex);
    let pairs = counted_twice(&devices, &hooks, &netdev::pppoe());
    let pairs = pairs.keys().filter(|pair| fresh(pair.upper) || fresh(pair.lower));
    let say = |pair: &Twice| {
        let words = pair.words(pair.names(&devices)?);
        Some(format!("{words}: a packet that passes both counts at both"))
    };
    Ok(pairs.filter_map(say).collect())
}

fn attached<'a>(site: &'a Site, new: &'a [&Hook]) -> impl Iterator<Item = &'a Hook> {
    let others = site.hooks.iter().filter(|hook| hook.running != Observed::Gone);
    let others = others.filter(|hook| !new.iter().any(|fresh| fresh.pins == hook.pins));
    others.chain(new.iter().copied())
}

fn counting(hook: &Hook) -> Counting {
    let looks_inside = hook.state.inside().contains(&Layer::Pppoe);
    Counting { ifindex: hook.pins.ifindex, direction: hook.pins.direction, looks_inside }
}
