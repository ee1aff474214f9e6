//! Hooks where nothing of ours runs any more: why, and what ends that.

use super::site::Site;
use crate::{
    command::Command,
    diagnosis::{Cure, Finding},
    hook::HookName,
    kernel::{
        datapath::{Hook, Observed},
        mechanism, returned,
    },
    snapshot::HookPolicy,
};

/// Why nothing runs at a hook.
#[derive(Debug)]
struct Absence {
    /// What is so.
    text: String,
    /// What the command is for, if that is not plain.
    purpose: &'static str,
    /// A command of ours without its name.
    command: Command,
}

/// Why nothing runs at a hook, and the command for it.
#[must_use]
pub fn why(site: &Site, hook: &Hook) -> String {
    let Absence { text, purpose, command } = absence(site, hook);
    format!("{text}{purpose}: {}", Command::new("qosbpf").followed_by(command))
}

fn absence(site: &Site, hook: &Hook) -> Absence {
    let name = site.hook_name(hook);
    let was = match hook.state.interface.as_str() {
        "" => String::new(),
        interface => format!(" (it was {interface})"),
    };
    if let Some(back) = back_as(site, hook) {
        let text = format!("its device is back as {back}, under another number, and its program runs there");
        let command = Command::new("attach").operand(format_args!("{back}:{}", hook.pins.direction));
        return Absence { text, purpose: "", command };
    }
    if runs_elsewhere(hook) {
        let by = another_policy(site, hook).map(|policy| format!(", by policy {policy}, which is not in force"));
        let by = by.unwrap_or_default();
        let text = format!("its device is in another network namespace{was}, and its program runs on there{by}");
        return Absence { text, purpose: "; to end it", command: Command::new("detach").operand(name) };
    }
    if site.interface_of(hook).is_some() {
        let text = "the program was removed by someone else".to_owned();
        return Absence { text, purpose: "", command: Command::new("attach").operand(name) };
    }
    let command = Command::new("detach").operand(site.name_of(hook));
    Absence { text: format!("the interface is gone{was}"), purpose: "; to remove what is left", command }
}

/// The policy by which a hook is, if that is not the one in force.
fn another_policy(site: &Site, hook: &Hook) -> Option<String> {
    let binding = hook.state.binding.as_ref().filter(|_| site.knows_policy())?;
    let HookPolicy { name, hash, .. } = &binding.policy;
    let in_force = site.policy.as_ref().map(|in_force| in_force.policy.hash());
    (in_force != Some(hash.as_str())).then(|| format!("{name} {hash}"))
}

/// Whether its link lives at a device that is not here: only the kernel knows in which network namespace that is.
#[must_use]
pub fn runs_elsewhere(hook: &Hook) -> bool {
    hook.running == Observed::Gone && matches!(mechanism::whereabouts(&hook.pins), Ok(Some(_)))
}

/// By which name its device is here under another number, with the program.
fn back_as(site: &Site, hook: &Hook) -> Option<String> {
    let ifindex = returned::number(hook, &site.net).ok()??;
    let interface = site.interfaces.iter().find(|interface| interface.ifindex == ifindex)?;
    Some(interface.name.clone())
}

/// Whether only pins are here, of an interface that is not, such as a PPP session's.
fn has_no_device(site: &Site, hook: &Hook) -> bool {
    hook.running == Observed::Gone && site.interface_of(hook).is_none()
}

/// The same, unless the policy in force bound it: then it is missed.
#[must_use]
pub fn is_left_over(site: &Site, hook: &Hook) -> bool {
    let in_force = site.policy.as_ref().map(|in_force| in_force.policy.hash());
    let bound = hook.state.binding.as_ref().is_some_and(|binding| Some(binding.policy.hash.as_str()) == in_force);
    has_no_device(site, hook) && !bound
}

/// Hooks of which the device is not here. What is left over is no fault.
#[must_use]
pub fn findings(site: &Site) -> Vec<Finding> {
    let finding = |hook: &Hook| {
        let Absence { text, command, .. } = absence(site, hook);
        let (subject, text) = (site.name_of(hook), format!("{}: {text}", site.hook_name(hook)));
        match is_left_over(site, hook) {
            true => Finding::info(&subject, "no-device", text).cure(Cure::Own(command)),
            false => Finding::warn(&subject, "no-device", text).cure(missed(&command)),
        }
    };
    site.hooks.iter().filter(|hook| has_no_device(site, hook)).map(finding).collect()
}

/// What is found at a hook that is named and has no device here; `None` for all others.
#[must_use]
pub fn named(site: &Site, name: &HookName) -> Option<Finding> {
    let is_meant = |hook: &&Hook| name.covers(&site.name_of(hook), hook.pins.direction) && has_no_device(site, hook);
    let hook = site.hooks.iter().find(is_meant)?;
    let Absence { text, command, .. } = absence(site, hook);
    Some(Finding::fail(&site.hook_name(hook), "no-device", text).cure(missed(&command)))
}

/// The policy may want it, and a program may run on elsewhere: whether it is to end nobody knows here.
fn missed(command: &Command) -> Cure {
    Cure::Advice(format!("qosbpf {command}, if it is of no use any more"))
}
