//! Before a change: what killed processes left half done is finished or undone, and what is overdue is taken back.

use super::{
    Context,
    policy::{bypass, undo},
    site::Site,
};
use crate::kernel::{boottime::BootTime, datapath, network::Network, pending::Pending, pins::Store};

/// Reads a network namespace that is locked, after putting it in order.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn recovered(store: Store, context: &Context) -> anyhow::Result<Site> {
    let net = Network::open()?;
    for pins in store.hooks()? {
        let (ifindex, direction) = (pins.ifindex, pins.direction);
        if let Err(error) = datapath::recover(pins, &net) {
            tracing::warn!(ifindex, %direction, "not to be read, and left as it is: {error:#}");
        }
    }
    let site = Site::of(store, context)?;
    // What cannot be taken back must not keep anybody from detaching.
    let changed = take_back(&site, context).unwrap_or_else(|error| {
        tracing::error!("cannot go back to what ran before: {error:#}");
        true
    });
    if changed { Site::of(site.store, context) } else { Ok(site) }
}

/// Takes back what is overdue; whether anything was.
fn take_back(site: &Site, context: &Context) -> anyhow::Result<bool> {
    let now = BootTime::now()?;
    let change = Pending::read(&site.store)?.filter(|change| !change.complete || change.expired(now));
    let Some(change) = change else { return bypass::end_expired(site, now, context) };
    let why = if change.complete { "was not confirmed in time" } else { "was cut short while it was being applied" };
    undo::run(site, &change, why)?;
    let (to, back) = (&change.to, undo::back_to(&change));
    context.warn(&format!("qosbpf: policy {} {} by {} {why}: {back}\n", to.name, to.hash, change.by));
    bypass::end_expired(&Site::of(site.store.clone(), context)?, now, context)?;
    Ok(true)
}
