//! `qosbpf policy confirm`: what was applied stays.

use serde_json::json;

use super::save;
use crate::{
    cmd::{Context, recovery::recovered},
    error::{Exit, Failure},
    kernel::{
        boottime::BootTime,
        pending::Pending,
        pins::{self, Store},
    },
};

/// Ends the wait for a confirmation, and saves the policy if `apply` was told to.
///
/// # Errors
///
/// `not-pending`, with exit 3; `not-saved`: it is confirmed all the same.
pub fn run(json: bool, context: &Context) -> anyhow::Result<Exit> {
    context.afterwards(|context| confirm(json, context))
}

fn confirm(json: bool, context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = Store::change(&context.bpffs)?;
    let site = recovered(store, context)?;
    // One that is over, and could not be taken back just now, waits for nobody.
    let now = BootTime::now()?;
    let waits = Pending::read(&site.store)?.filter(|change| change.complete && !change.expired(now));
    let Some(change) = waits else {
        return Err(Failure::new("not-pending", "no policy waits to be confirmed")
            .exit(Exit::No)
            .hint("qosbpf status shows what is in force, qosbpf policy history what was")
            .into());
    };
    pins::remove(&site.store.pending_pin())?;
    // Only now: a saved policy that is then rolled back would come back at the next boot.
    if let (true, Some(in_force)) = (change.save, &site.policy) {
        save::keep(context, &in_force.record.text)?;
        site.remember(&in_force.record)?;
    }
    say(&change, json, context)?;
    Ok(Exit::Done)
}

fn say(change: &Pending, json: bool, context: &Context) -> anyhow::Result<()> {
    let to = &change.to;
    if json {
        let policy = json!({ "name": to.name, "hash": to.hash });
        let document = json!({ "schema": 1, "policy": policy, "confirmed": true, "saved": change.save });
        return context.print(&format!("{document}\n"));
    }
    context.print(&format!("policy {} {} is confirmed\n", to.name, to.hash))?;
    if change.save {
        context.print(&format!("saved to {}\n", context.saved().display()))?;
    }
    Ok(())
}
