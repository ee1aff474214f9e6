//! Where one packet passes two devices that both have a hook, it counts at both; who attaches is told.

use std::collections::BTreeSet;

use super::site::Site;
use crate::{
    hook::{Direction, Layer},
    kernel::{
        datapath::{Hook, Observed},
        netdev,
    },
    netdev::{Netdev, Twice, twice},
};

/// What is to be said of hooks that have just been attached beside those that were there.
///
/// # Errors
///
/// What netlink reports.
pub fn warnings(site: &Site, new: &[&Hook]) -> anyhow::Result<Vec<String>> {
    let devices = site.net.devices()?;
    let mut warnings: Vec<String> = Vec::new();
    for direction in Direction::BOTH {
        let here: Vec<&Hook> = attached(site, new).filter(|hook| hook.pins.direction == direction).collect();
        let sessions = sessions(&here);
        let places = here.iter().map(|hook| hook.pins.ifindex).collect();
        let fresh = |ifindex: u32| new.iter().any(|hook| hook.pins.ifindex == ifindex);
        let pairs = twice(&devices, &places, &sessions).into_iter();
        let said = pairs.filter(|pair| fresh(pair.upper) || fresh(pair.lower)).filter_map(|pair| say(&devices, &pair));
        said.for_each(|warning| {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        });
    }
    Ok(warnings)
}

fn attached<'a>(site: &'a Site, new: &'a [&Hook]) -> impl Iterator<Item = &'a Hook> {
    let others = site.hooks.iter().filter(|hook| hook.running != Observed::Gone);
    let others = others.filter(|hook| !new.iter().any(|fresh| fresh.pins == hook.pins));
    others.chain(new.iter().copied())
}

/// The devices over which sessions run that a hook there looks into.
fn sessions(hooks: &[&Hook]) -> Vec<u32> {
    let looks = |ifindex: &u32| {
        let there = |hook: &&&Hook| hook.pins.ifindex == *ifindex;
        hooks.iter().filter(there).any(|hook| hook.state.inside().contains(&Layer::Pppoe))
    };
    netdev::pppoe().into_iter().filter(looks).collect::<BTreeSet<_>>().into_iter().collect()
}

fn say(devices: &[Netdev], pair: &Twice) -> Option<String> {
    let name = |ifindex| Some(&*devices.iter().find(|device| device.ifindex == ifindex)?.name);
    let (upper, lower) = (name(pair.upper)?, name(pair.lower)?);
    Some(format!("{upper} is {} {lower}: a packet that passes both counts at both", pair.tie.words()))
}
