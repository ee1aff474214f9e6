//! Where one packet passes two devices that both have a hook, it counts at both; who attaches is told.

use super::site::Site;
use crate::{
    kernel::{datapath::Hook, netdev},
    netdev::Twice,
};

/// What is to be said of hooks that have just been attached beside those that were there.
///
/// # Errors
///
/// What netlink reports.
pub fn warnings(site: &Site, new: &[&Hook]) -> anyhow::Result<Vec<String>> {
    let devices = site.net.devices()?;
    let others = site.hooks.iter().filter(|hook| !new.iter().any(|fresh| fresh.pins == hook.pins));
    let pairs = netdev::counted_twice(&devices, others.chain(new.iter().copied()));
    let fresh = |ifindex: u32| new.iter().any(|hook| hook.pins.ifindex == ifindex);
    let pairs = pairs.keys().filter(|pair| fresh(pair.upper) || fresh(pair.lower));
    let say = |pair: &Twice| {
        let words = pair.words(pair.names(&devices)?);
        Some(format!("{words}: a packet that passes both counts at both"))
    };
    Ok(pairs.filter_map(say).collect())
}
