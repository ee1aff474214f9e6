//! `qosbpf policy show`: what runs, with hits.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    cmd::{Context, control, site::Site},
    error::Exit,
    hook::HookName,
    render::{json, table},
    snapshot::{Snapshot, rates::Rates},
};

const SAMPLE: Duration = Duration::from_secs(1);

/// Prints the tables in force and how often each entry was hit.
///
/// # Errors
///
/// `not-attached`, and pins that are foreign or not readable.
pub fn run(hooks: &[HookName], json: bool, context: &Context) -> anyhow::Result<Exit> {
    let mut snapshot = Site::read(context)?.snapshot(hooks, context)?;
    control::remember(&mut snapshot, context);
    if json {
        context.document(&json::document(&json::policy(&snapshot), json::Layout::Pretty)?)?;
        return Ok(Exit::Done);
    }
    let (snapshot, rates) = match Rates::remembered(&snapshot) {
        Some(rates) => (snapshot, rates),
        None => sample(&snapshot, hooks, context)?,
    };
    context.screen(&table::policy(&snapshot, &rates, &context.look()))?;
    Ok(Exit::Done)
}

/// Reads once more after a while: nobody remembers how fast it goes.
fn sample(earlier: &Snapshot, hooks: &[HookName], context: &Context) -> anyhow::Result<(Snapshot, Rates)> {
    let start = Instant::now();
    thread::sleep(SAMPLE);
    let later = Site::read(context)?.snapshot(hooks, context)?;
    let rates = Rates::between(earlier, &later, start.elapsed());
    Ok((later, rates))
}
