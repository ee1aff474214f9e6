//! `qosbpf policy history`: the last policies that were in force.

use crate::{
    cmd::{Context, site::Site},
    error::Exit,
    kernel::past::{self, Past},
    render::{json, table},
    status::PastPolicy,
};

/// Lists them, the latest first.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn run(json: bool, context: &Context) -> anyhow::Result<Exit> {
    let site = Site::read(context)?;
    let mut past: Vec<_> = past::all(&site.store)?.into_iter().map(entry).collect();
    past.reverse();
    // A policy may be in the list more than once; what runs is the latest of these.
    let in_force = site.policy.as_ref().map(|in_force| in_force.policy.hash());
    if let Some(now) = past.iter_mut().find(|past| Some(past.hash.as_str()) == in_force) {
        now.in_force = true;
    }
    if json {
        context.print(&json::document(&json::history(&past), json::Layout::Pretty)?)?;
    } else {
        context.print(&table::history(&past, std::time::SystemTime::now(), &context.look()))?;
    }
    Ok(Exit::Done)
}

fn entry(past: Past) -> PastPolicy {
    PastPolicy {
        number: past.number,
        when: past.when,
        by: past.by,
        name: past.policy.name,
        hash: past.policy.hash,
        file: past.record.file,
        in_force: false,
        taken_back: past.taken_back,
    }
}
