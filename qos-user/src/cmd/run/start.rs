//! The first look: what is saved comes into force, and what it binds is attached. It is all that `run --once` does.

use std::{collections::HashSet, sync::Arc};

use super::{
    config::Configured,
    follow::Follower,
    instance::Instance,
    loading::{Occasion, load},
};
use crate::{
    cmd::{Context, deadline, site::Site, wanted},
    error::Exit,
    kernel::bpffs,
    status::Reload,
};

/// Becomes the service of this network namespace. Who is refused has changed nothing.
///
/// # Errors
///
/// `busy`, `run-folder`; what keeps the bpf file system from being mounted.
pub fn claim(context: &Context) -> anyhow::Result<Instance> {
    let instance = Instance::claim()?;
    bpffs::ensure_mounted(&context.bpffs)?;
    Ok(instance)
}

/// Looks; what came of reading the saved policy.
pub fn look(follower: &mut Follower, context: &Context) -> Reload {
    let _said = deadline::settle(context);
    let loaded = load(Occasion::Start, context);
    if let Err(error) = follower.follow(context, |_| HashSet::new()) {
        tracing::error!("not everything is attached: {error:#}");
    }
    loaded
}

/// Looks, and ends: 3 if something that exists is wanted and not there; what is wrong has been said.
///
/// # Errors
///
/// Those of [`claim`]; pins that are foreign or not readable.
pub fn once(configured: Configured, context: &Context) -> anyhow::Result<Exit> {
    let _instance = claim(context)?;
    let loaded = look(&mut Follower::new(configured.settings.upgrade, Arc::default()), context);
    // What is to be marked is marked by now: what is wrong with the group is said.
    let _unused = configured.with_group(context);
    let site = Site::read(context)?;
    let missing = wanted::missing(&site).iter().filter(|missing| missing.ifindex.is_some()).count();
    tracing::info!(hooks = site.hooks.len(), missing, "done");
    Ok(if missing == 0 && loaded.failure.is_none() { Exit::Done } else { Exit::No })
}
