//! What there is to do, so that each hook is as the policy in force wants it.

use std::collections::HashSet;

use qos_common::locate::Link;

use super::lost::Lost;
use crate::{
    cmd::{attaching, conditioner, site::Site},
    hook::Direction,
    kernel::{
        datapath::{self, Hook, Observed},
        network::Interface,
        returned,
        state::{Binding, HookState},
    },
    policy::settings::Upgrade,
};

pub use crate::kernel::pins::Place;

/// Something to do at one hook.
#[derive(Debug)]
pub struct Step<'a> {
    /// `wan0:egress`.
    pub name: String,
    /// Where.
    pub place: Place,
    /// What.
    pub work: Work<'a>,
}

/// What there is to do.
#[derive(Debug)]
pub enum Work<'a> {
    /// The policy binds the hook, and nothing is attached.
    Attach(&'a Interface),
    /// Something was attached, which somebody has removed, whether the policy binds it or not: its counters are there, and so is
    /// its interface.
    PutBack(&'a Hook, &'a Interface),
    /// Its interface is gone, or back from another network namespace.
    Collect,
    /// Its program is of another version.
    Upgrade(&'a Hook),
    /// It has to do something else than it does, for this reason.
    Change(&'a Hook, Box<HookState>, String),
    /// It does what it has to, and was bound by another name.
    Rename(&'a Hook, &'a Interface),
}

/// What decides on what there is to do, beside what there is.
#[derive(Debug)]
pub struct Wishes<'a> {
    /// What becomes of programs of another version.
    pub upgrade: Upgrade,
    /// Interfaces that have gone, whatever has their numbers now.
    pub gone: &'a HashSet<u32>,
    /// Hooks that somebody has detached by hand.
    pub released: &'a HashSet<Place>,
    /// Hooks that ran until somebody removed their pins.
    pub lost: &'a [Lost],
}

/// All there is to do.
///
/// # Errors
///
/// Foreign pins.
pub fn steps<'a>(site: &'a Site, wishes: &Wishes<'_>) -> anyhow::Result<Vec<Step<'a>>> {
    let mut steps = Vec::new();
    for hook in &site.hooks {
        let name = site.hook_name(hook);
        if let Some(work) = at_hook(site, hook, wishes)? {
            steps.push(Step { name, place: (hook.pins.ifindex, hook.pins.direction), work });
        }
    }
    steps.extend(unattached(site, wishes));
    Ok(steps)
}

fn at_hook<'a>(site: &'a Site, hook: &'a Hook, wishes: &Wishes<'_>) -> anyhow::Result<Option<Work<'a>>> {
    match hook.running {
        Observed::Gone => {
            let another = wishes.gone.contains(&hook.pins.ifindex) && datapath::is_orphaned(hook)?;
            let is_elsewhere =
                another || datapath::is_dead(hook, &site.net)? || returned::number(hook, &site.net)?.is_some();
            Ok(is_elsewhere.then_some(Work::Collect))
        }
        Observed::Unknown => Ok(None),
        Observed::Running(_) if hook.has_lost_device() => Ok(Some(Work::Collect)),
        Observed::Running(_) => {
            let is_old = !hook.state.is_of_this_build() && wishes.upgrade == Upgrade::Switch;
            // A change takes this version's program, too.
            let upgrade = || is_old.then_some(Work::Upgrade(hook));
            Ok(changed(site, hook).or_else(upgrade).or_else(|| renamed(site, hook)))
        }
    }
}

/// What the policy binds has been asked for the name of now, and for no other one.
fn renamed<'a>(site: &'a Site, hook: &'a Hook) -> Option<Work<'a>> {
    let interface = site.interface_of(hook)?;
    conditioner::is_renamed(site, hook).then_some(Work::Rename(hook, interface))
}

/// What a hook should do, if that is not what it does.
fn changed<'a>(site: &'a Site, hook: &'a Hook) -> Option<Work<'a>> {
    let interface = site.interface_of(hook)?;
    let mut next = hook.state.clone();
    let mut reasons = Vec::new();
    if let Ok(link) = interface.link
        && link != hook.state.link()
    {
        next.layer3 = link == Link::Layer3;
        reasons.push("its device is of another type".to_owned());
    }
    let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
    if let Some(binding) = conditioner::rebound(site, policy, hook, &interface.name) {
        let words = Binding::words_of(binding.as_ref());
        reasons.push(match policy {
            Some(_) => format!("the policy binds {words} to it by its name"),
            None => "no policy is in force any more".to_owned(),
        });
        // What is not there is not out of the path.
        next.bypass = next.bypass.filter(|_| binding.is_some());
        next.binding = binding;
    }
    if next.enforced().is_some() && !conditioner::outdated(site, hook).is_empty() {
        reasons.push("a rule's `from` means other interfaces".to_owned());
    }
    (!reasons.is_empty()).then(|| Work::Change(hook, Box::new(next), reasons.join("; ")))
}

/// Whether somebody has removed the program from this very device: it has not gone elsewhere, and this is no other one.
fn was_removed(hook: &Hook, interface: &Interface) -> bool {
    attaching::begins_anew(hook, interface).is_none() && matches!(datapath::is_orphaned(hook), Ok(true))
}

/// What the policy in force binds, or ran until its program or its pins were removed, and is not attached.
fn unattached<'a>(site: &'a Site, wishes: &Wishes<'_>) -> Vec<Step<'a>> {
    let is_bound = |interface: &Interface, direction| {
        let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
        policy.is_some_and(|policy| policy.names(&interface.name, direction).is_some())
    };
    let is_taken = |place: Place| {
        let broken = site.broken.iter().map(|broken| &broken.pins);
        let running = site.hooks.iter().filter(|hook| hook.running != Observed::Gone).map(|hook| &hook.pins);
        broken.chain(running).any(|pins| (pins.ifindex, pins.direction) == place)
    };
    let all = site.interfaces.iter().flat_map(|interface| Direction::BOTH.map(|direction| (interface, direction)));
    let wanted = all.filter(|(interface, direction)| {
        let place = (interface.ifindex, *direction);
        let is_left = || site.hooks.iter().any(|hook| hook.is_at(place.0, place.1) && was_removed(hook, interface));
        let ran = is_left() || wishes.lost.iter().any(|lost| lost.place() == place);
        (ran || is_bound(interface, *direction)) && !is_taken(place) && !wishes.released.contains(&place)
    });
    let steps = wanted.map(|(interface, direction)| {
        let left = site.hooks.iter().find(|hook| hook.is_at(interface.ifindex, direction));
        Step {
            name: format!("{}:{direction}", interface.name),
            place: (interface.ifindex, direction),
            work: left.map_or(Work::Attach(interface), |hook| Work::PutBack(hook, interface)),
        }
    });
    steps.collect()
}
