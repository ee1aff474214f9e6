//! What is attached while a policy waits to be confirmed is attached for that policy, and goes with it if nobody confirms it.

use super::steps::{Step, Work};
use crate::{
    cmd::site::{self, Site},
    kernel::pending::Pending,
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
