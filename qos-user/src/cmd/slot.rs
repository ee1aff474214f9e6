//! An XDP slot that somebody else had when a hook was attached beside it, and that is free by now.

use super::{attaching, conditioner, site::Site};
use crate::{
    diagnosis::{Cure, Finding},
    hook::Via,
    kernel::{
        choice::{self, Wanted},
        datapath::{Hook, Observed},
        needs::Needs,
    },
};

/// That it is free, and what moves the hook to it; `None` where it is not so.
#[must_use]
pub fn is_free(site: &Site, hook: &Hook) -> Option<String> {
    Some(format!("the XDP slot is free now; {}", moving(site, hook)?))
}

fn moving(site: &Site, hook: &Hook) -> Option<String> {
    let interface = site.interface_of(hook).filter(|_| hook.running != Observed::Gone)?;
    let was_taken = !hook.state.via.is_xdp() && hook.state.reason.contains(choice::SLOT_WAS_TAKEN);
    let needs = Needs::of(hook.state.binding.as_ref());
    let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
    let wanted = conditioner::wanted(Wanted::Best, policy, &interface.name, hook.pins.direction);
    let may = was_taken
        && interface.xdp.is_none()
        && needs.forbid(Via::XdpNative, Some(interface)).is_none()
        && wanted == Wanted::Best;
    may.then(|| attaching::moving(site, hook, Via::XdpNative))
}

/// Hooks for which it is free.
#[must_use]
pub fn findings(site: &Site) -> Vec<Finding> {
    let finding = |hook: &Hook| {
        let moving = moving(site, hook)?;
        let (name, via) = (site.hook_name(hook), hook.state.via);
        let text = format!("{name} is by {via}: the XDP slot was taken when it was attached, and is free now");
        Some(Finding::info(&site.name_of(hook), "xdp-slot-free", text).cure(Cure::Advice(moving)))
    };
    site.hooks.iter().filter_map(finding).collect()
}
