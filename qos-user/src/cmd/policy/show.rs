//! `qosbpf policy show`: what runs, with hits.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    cmd::{Context, site::Site},
    error::Exit,
    hook::HookName,
    render::{json, table},
    snapshot::rates::Rates,
};

const SAMPLE: Duration = Duration::from_secs(1);

/// Prints the tables in force and how often each entry was hit.
///
/// # Errors
///
/// `not-attached`, and pins that are foreign or not readable.
pub fn run(hooks: &[HookName], json: bool, context: &Context) -> anyhow::Result<Exit> {
    let earlier = Site::read(context)?.snapshot(hooks, context)?;
    if json {
        context.document(&json::document(&json::policy(&earlier), json::Layout::Pretty)?)?;
        return Ok(Exit::Done);
    }
    let start = Instant::now();
    thread::sleep(SAMPLE);
    let later = Site::read(context)?.snapshot(hooks, context)?;
    let rates = Rates::between(&earlier, &later, start.elapsed());
    context.screen(&table::policy(&later, &rates, &context.look()))?;
    Ok(Exit::Done)
}
