//! What a policy binds, and where nothing is attached.

use super::site::{self, Site};
use crate::{command::Command, hook::Direction, policy::Policy, snapshot::Missing, status::Note};

/// Of the policy in force: hooks of interfaces that exist, and of exact names that none has.
#[must_use]
pub fn missing(site: &Site) -> Vec<Missing> {
    site.policy.as_ref().map_or_else(Vec::new, |in_force| missing_of(&in_force.policy, site))
}

/// The same; where no policy is in force, of the saved one, as after a reboot or once everything was detached.
#[must_use]
pub fn missing_here(site: &Site) -> Vec<Missing> {
    let Some(policy) = unapplied(site) else { return missing(site) };
    let missing = missing_of(&policy, site).into_iter();
    let reason = format!("bound by the saved policy {} {}, which is not in force", policy.name(), policy.hash());
    missing.map(|missing| Missing { reason: reason.clone(), ..missing }).collect()
}

/// The saved policy where none is in force.
#[must_use]
pub fn unapplied(site: &Site) -> Option<Policy> {
    if site.policy.is_some() || site.spoiled.is_some() { None } else { site::saved(site.saved_file()) }
}

/// What a policy binds, and where nothing is attached.
fn missing_of(policy: &Policy, site: &Site) -> Vec<Missing> {
    let mut missing = on_interfaces(policy, site);
    missing.extend(without_interface(policy, site));
    let attached = |wanted: &Missing| {
        site.hooks.iter().any(|hook| hook.pins.direction == wanted.direction && site.name_of(hook) == wanted.interface)
    };
    missing.retain(|wanted| !attached(wanted));
    missing
}

/// What the saved policy binds beside the one in force: it is wanted from the next start on, and has no row until then.
#[must_use]
pub fn only_saved(site: &Site, saved: &Policy) -> Option<Note> {
    const MOST: usize = 8;
    let wanted = missing_here(site);
    let is_wanted = |other: &Missing| {
        wanted.iter().any(|one| (&one.interface, one.direction) == (&other.interface, other.direction))
    };
    let only = missing_of(saved, site).into_iter().filter(|missing| !is_wanted(missing));
    let mut names: Vec<String> = only.map(|missing| format!("{}:{}", missing.interface, missing.direction)).collect();
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (name, hash, all) = (saved.name(), saved.hash(), names.join(", "));
    let text = format!("the saved policy {name} {hash} binds {all}{more}, where nothing is attached");
    (!names.is_empty()).then(|| Note::info(text))
}

fn on_interfaces(policy: &Policy, site: &Site) -> Vec<Missing> {
    let both = |interface| Direction::BOTH.map(|direction| (interface, direction));
    let all = site.interfaces.iter().flat_map(both).filter_map(|(interface, direction)| {
        let (pattern, table) = policy.names(&interface.name, direction)?;
        Some(Missing {
            interface: interface.name.clone(),
            ifindex: Some(interface.ifindex),
            direction,
            table: table.map(str::to_owned),
            reason: format!(
                "bound by {pattern}, not attached: {}",
                Command::new("qosbpf attach").operand(format_args!("{}:{direction}", interface.name))
            ),
        })
    });
    all.collect()
}

fn without_interface(policy: &Policy, site: &Site) -> Vec<Missing> {
    let exists = |name: &str| site.interfaces.iter().any(|interface| interface.name == name);
    let absent = policy.bindings().into_iter().filter(|binding| !binding.is_glob() && !exists(binding.pattern));
    let reason = |name: &str, direction| {
        let became = site.whereabouts(name, direction).map(|text| format!(": {text}"));
        format!("bound by the policy, and there is no such interface{}", became.unwrap_or_default())
    };
    let all = absent.map(|binding| Missing {
        interface: binding.pattern.to_owned(),
        ifindex: None,
        direction: binding.direction,
        table: binding.table.map(str::to_owned),
        reason: reason(binding.pattern, binding.direction),
    });
    all.collect()
}
