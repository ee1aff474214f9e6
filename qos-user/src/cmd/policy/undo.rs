//! Back to what ran before a change: the policy, and every hook's table, also `none`.

use std::time::SystemTime;

use super::switch::{have_absent_ask, switch_all};
use crate::{
    cmd::{
        conditioner,
        site::{self, Site},
    },
    kernel::{
        datapath::{self, Hook, Observed},
        past,
        pending::{Identity, Pending},
        pins,
        state::Binding,
    },
    policy::Policy,
    status::{Undone, Why},
};

/// Goes back. The change is forgotten last, so that whoever finds it after a kill goes back once more.
///
/// # Errors
///
/// What the kernel says; the change is still written down then.
pub fn run(site: &Site, change: &Pending, why: Why) -> anyhow::Result<()> {
    let back = change.back.as_ref().and_then(site::parse);
    let mut targets = Vec::new();
    for hook in site.hooks.iter().filter(|hook| hook.running != Observed::Gone) {
        if change.attaches.contains(&(hook.pins.ifindex, hook.pins.direction)) {
            if let Err(error) = datapath::detach(hook, Some(&site.name_of(hook)), &site.net) {
                tracing::error!(hook = site.hook_name(hook), "cannot be detached: {error:#}");
            }
        } else {
            targets.push((hook, before(site, hook, change, back.as_ref())));
        }
    }
    go_back(site, targets)?;
    have_absent_ask(&site.hooks)?;
    match &change.back {
        Some(record) => site.remember(record)?,
        None => pins::remove(&site.store.policy())?,
    }
    remember(site, change, back.as_ref(), why)?;
    pins::remove(&site.store.pending_pin())?;
    Ok(())
}

/// All at once if that works; else hook by hook, and one that cannot go back counts alone: no hook keeps another one from
/// going back.
fn go_back(site: &Site, targets: Vec<(&Hook, Option<Binding>)>) -> anyhow::Result<()> {
    let Err(error) = switch_all(site, targets.clone()) else { return Ok(()) };
    tracing::warn!("not all hooks can go back: {error:#}");
    let again = Site::again(site)?;
    let mut failed = Ok(());
    for (hook, binding) in targets {
        let Some(hook) = again.hooks.iter().find(|now| now.pins == hook.pins) else { continue };
        if let Err(error) = go_back_alone(&again, hook, binding) {
            failed = Err(error);
        }
    }
    failed
}

/// One that cannot go back counts without a policy; the error is that not even this works.
fn go_back_alone(site: &Site, hook: &Hook, binding: Option<Binding>) -> anyhow::Result<()> {
    let Err(error) = switch_all(site, vec![(hook, binding)]) else { return Ok(()) };
    let name = site.hook_name(hook);
    tracing::error!(hook = name, "cannot go back, and is to count without a policy: {error:#}");
    switch_all(site, vec![(hook, None)]).inspect_err(|error| {
        tracing::error!(hook = name, "goes on with the policy that is taken back: {error:#}");
    })
}

/// What a hook did before the change; for one that was attached since, what the policy of then says of it.
fn before(site: &Site, hook: &Hook, change: &Pending, back: Option<&Policy>) -> Option<Binding> {
    let place = (hook.pins.ifindex, hook.pins.direction);
    match change.hooks.iter().find(|before| (before.ifindex, before.direction) == place) {
        Some(before) => before.binding.clone(),
        None => conditioner::binding(back?, &site.name_of(hook), hook.pins.direction),
    }
}

/// The policy is in force again, if it was not all the time: the new one may never have come that far.
fn remember(site: &Site, change: &Pending, back: Option<&Policy>, why: Why) -> anyhow::Result<()> {
    let before = back.map(site::identity);
    let Identity { name, hash } = &change.to;
    let by = format!("qosbpf: {name} {hash} {why}");
    let is_another = before.as_ref() != Some(&change.to);
    let at = SystemTime::now();
    let taken_back = if is_another { past::take_back(&site.store, &change.to, Undone { at, why })? } else { None };
    let (Some(record), Some(identity)) = (&change.back, before) else { return Ok(()) };
    past::add_again(&site.store, identity, (at, &by), record, taken_back)
}

/// Where that leads, in words.
pub fn back_to(change: &Pending) -> String {
    match change.back.as_ref().and_then(site::parse) {
        Some(policy) => format!("back to {} {}", policy.name(), policy.hash()),
        None => "back to no policy".to_owned(),
    }
}
