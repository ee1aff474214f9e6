//! What is attached while a policy waits to be confirmed is attached for that policy, and goes with it if nobody confirms it.

use std::collections::HashSet;

use super::steps::{Place, Step, Work};
use crate::{
    cmd::site::{self, Site},
    kernel::{pending::Pending, pins::Store},
};

/// Writes down the hooks that are about to be attached, so that going back detaches them, whoever does that. What ran
/// before, and what the policy of before binds as well, stays. Needs the lock.
///
/// # Errors
///
/// What the kernel says to the pin.
pub fn note(site: &Site, steps: &[Step<'_>]) -> anyhow::Result<()> {
    // Whoever keeps deadlines says why it cannot be read.
    let Some(mut change) = Pending::read(&site.store).unwrap_or_default() else { return Ok(()) };
    let back = change.back.as_ref().and_then(site::parse);
    let is_bound = |name: &str, direction| back.as_ref().is_some_and(|back| back.names(name, direction).is_some());
    let ran = |place| change.hooks.iter().any(|hook| (hook.ifindex, hook.direction) == place);
    let new = steps.iter().filter(|step| match step.work {
        Work::Attach(interface) => !is_bound(&interface.name, step.place.1) && !ran(step.place),
        _ => false,
    });
    let new: Vec<_> = new.map(|step| step.place).filter(|place| !change.attaches.contains(place)).collect();
    if new.is_empty() {
        return Ok(());
    }
    change.attaches.extend(new);
    change.write(&site.store)
}

/// Takes those of them out again that were not attached: what somebody attaches there by hand meanwhile is not for the policy
/// on trial. Needs the lock.
///
/// # Errors
///
/// What the kernel says to the pin.
pub fn forget<'a>(store: &Store, left: impl Iterator<Item = &'a Step<'a>>) -> anyhow::Result<()> {
    let left = left.filter(|step| matches!(step.work, Work::Attach(_)));
    let left: HashSet<Place> = left.map(|step| step.place).collect();
    if left.is_empty() {
        return Ok(());
    }
    let Some(mut change) = Pending::read(store).unwrap_or_default() else { return Ok(()) };
    let noted = change.attaches.len();
    change.attaches.retain(|place| !left.contains(place));
    if change.attaches.len() == noted { Ok(()) } else { change.write(store) }
}
