//! Before a change: what killed processes left half done is finished or undone, and what is overdue is taken back.

use super::{
    Context,
    policy::{bypass, undo},
    site::Site,
};
use crate::kernel::{
    boottime::BootTime,
    datapath,
    network::Network,
    pending::{Identity, Pending, TakenBack},
    pins::Store,
    returned,
};
use crate::status::Why;

/// A network namespace in order.
pub struct Recovered {
    /// What is there now.
    pub site: Site,
    /// The policy that was taken back for it.
    pub taken_back: Option<TakenBack>,
}

/// What was taken back.
struct Taken {
    policy: Option<TakenBack>,
    /// Whether hooks are not what they were.
    changed: bool,
}

/// Reads a network namespace that is locked, after putting it in order.
///
/// # Errors
///
/// Foreign or unreadable pins, also that of the policy in force.
pub fn recovered(store: Store, context: &Context) -> anyhow::Result<Site> {
    let site = recover(store, context)?.site;
    site.refuse_spoiled()?;
    Ok(site)
}

/// The same, and says which policy was taken back. What the policy in force is nobody may know, as for who detaches.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn recover(store: Store, context: &Context) -> anyhow::Result<Recovered> {
    let site = in_order(store, context)?;
    // What cannot be taken back must not keep anybody from detaching.
    let taken = take_back(&site, context).unwrap_or_else(|error| {
        tracing::error!("cannot go back to what ran before: {error:#}");
        Taken { policy: None, changed: true }
    });
    let site = if taken.changed { Site::of(site.store, context)? } else { site };
    Ok(Recovered { site, taken_back: taken.policy })
}

/// The same, and what is overdue stays so for now.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn in_order(store: Store, context: &Context) -> anyhow::Result<Site> {
    let net = Network::open()?;
    for pins in store.hooks()? {
        let (ifindex, direction) = (pins.ifindex, pins.direction);
        if let Err(error) = datapath::recover(pins, &net) {
            tracing::warn!(ifindex, %direction, "not to be read, and left as it is: {error:#}");
        }
    }
    with_numbers_of_now(Site::of(store, context)?, context)
}

/// The same where devices are back under other numbers. One that cannot be followed keeps nobody from anything.
fn with_numbers_of_now(site: Site, context: &Context) -> anyhow::Result<Site> {
    match returned::take_over(&site.store, &site.hooks, &site.net) {
        Ok(false) => return Ok(site),
        Ok(true) => {}
        Err(error) => tracing::warn!("a device is back under another number, and cannot be followed: {error:#}"),
    }
    Site::of(site.store, context)
}

/// Takes back what is overdue.
fn take_back(site: &Site, context: &Context) -> anyhow::Result<Taken> {
    let now = BootTime::now()?;
    let change = Pending::read(&site.store).unwrap_or_else(|error| {
        tracing::error!("a change that may have to be taken back cannot be read: {error:#}");
        None
    });
    let change = change.filter(|change| !change.complete || change.expired(now));
    let Some(change) = change else {
        let finished = finish(site, context);
        let fresh = if finished { Some(Site::of(site.store.clone(), context)?) } else { None };
        let ended = bypass::end_expired(fresh.as_ref().unwrap_or(site), now, context)?;
        return Ok(Taken { policy: None, changed: finished || ended });
    };
    let why = if change.complete { Why::Late } else { Why::CutShort };
    let left = undo::run(site, &change, why.clone())?;
    let (to, back) = (&change.to, undo::back_to(&change, &left));
    context.warn(&format!("qosbpf: policy {} {} by {} {why}: {back}\n", to.name, to.hash, change.by));
    bypass::end_expired(&Site::of(site.store.clone(), context)?, now, context)?;
    Ok(Taken { policy: Some(TakenBack { policy: change.to, why }), changed: true })
}

/// Takes back what could not be when its time came; whether hooks are not what they were.
fn finish(site: &Site, context: &Context) -> bool {
    match undo::finish(site) {
        Ok(Some((policy, hooks))) => {
            let (Identity { name, hash }, hooks) = (policy, hooks.join(", "));
            context.warn(&format!("qosbpf: policy {name} {hash} is taken back at {hooks}, too\n"));
            true
        }
        Ok(None) => false,
        Err(error) => {
            tracing::error!("what is left of a policy that was taken back stays so: {error:#}");
            true
        }
    }
}
