//! `qosbpf stats`: what was counted, before and after.

use std::{thread, time::Instant};

use crate::{
    cli::{By, StatsArgs, StatsCommand, StatsFormat},
    cmd::{
        Context,
        attach::recovered,
        site::{self, Site},
        watch,
    },
    error::Exit,
    hook::HookName,
    kernel::{
        document,
        pins::{self, Pin, Store},
    },
    render::{csv, json, prometheus, table},
    snapshot::{Snapshot, baseline::Baseline, rates::Rates},
};

/// Prints the counters.
///
/// # Errors
///
/// `not-attached`, and pins that are foreign or not readable.
pub fn run(args: &StatsArgs, context: &Context) -> anyhow::Result<Exit> {
    if let Some(StatsCommand::Clear { hooks }) = &args.command {
        return clear(hooks, context);
    }
    if let Some(interval) = args.watch {
        return watch::run(args, interval, context);
    }
    if args.format.is_machine() {
        let snapshot = Site::read(context)?.snapshot(&args.hooks, context)?;
        return finish(context, &machine(&args.format, &snapshot, json::Layout::Pretty)?, &snapshot);
    }
    let (snapshot, rates) = sample(args, context)?;
    finish(context, &screen(args, &snapshot, &rates, context), &snapshot)
}

/// A hook that could not be read has said so in its place, and the exit code says it once more.
fn finish(context: &Context, text: &str, snapshot: &Snapshot) -> anyhow::Result<Exit> {
    context.print(text)?;
    Ok(if snapshot.hooks.iter().any(|hook| hook.counts.is_err()) { Exit::Failed } else { Exit::Done })
}

/// The document of a machine format: always since attach.
pub fn machine(format: &StatsFormat, snapshot: &Snapshot, layout: json::Layout) -> anyhow::Result<String> {
    match format {
        StatsFormat { csv: true, .. } => Ok(csv::stats(snapshot)),
        StatsFormat { prometheus: true, .. } => Ok(prometheus::stats(snapshot, crate::REVISION)),
        _ => json::document(&json::stats(snapshot), layout),
    }
}

/// Reads once, or twice with a pause between for rates.
fn sample(args: &StatsArgs, context: &Context) -> anyhow::Result<(Snapshot, Rates)> {
    let earlier = since_cleared(args, context)?;
    if args.rate.is_zero() {
        return Ok((earlier, Rates::default()));
    }
    let start = Instant::now();
    thread::sleep(args.rate);
    let later = since_cleared(args, context)?;
    let rates = Rates::between(&earlier, &later, start.elapsed());
    Ok((later, rates))
}

/// The counters as the terminal shows them: since `stats clear`, where that was given.
pub fn since_cleared(args: &StatsArgs, context: &Context) -> anyhow::Result<Snapshot> {
    let site = Site::read(context)?;
    let mut snapshot = site.snapshot(&args.hooks, context)?;
    for (shown, hook) in snapshot.hooks.iter_mut().zip(site.select(&args.hooks)?) {
        if let Some(cleared) = site::baseline(hook).and_then(|baseline| shown.since(&baseline)) {
            *shown = cleared;
        }
    }
    Ok(snapshot)
}

fn screen(args: &StatsArgs, snapshot: &Snapshot, rates: &Rates, context: &Context) -> String {
    let look = context.look();
    if args.hooks.is_empty() && args.by == By::Dscp {
        return table::overview(snapshot, rates, &look);
    }
    let rows = match args.by {
        By::Dscp => table::Rows::Dscp,
        By::Class => table::Rows::Class,
    };
    let screen = |hook| table::hook(snapshot, hook, rates.of(hook), rows, &look);
    snapshot.hooks.iter().map(screen).collect::<Vec<_>>().join("\n")
}

fn clear(hooks: &[HookName], context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = Store::change(&context.bpffs)?;
    let site = recovered(store)?;
    let snapshot = site.snapshot(hooks, context)?;
    for (shown, hook) in snapshot.hooks.iter().zip(site.select(hooks)?) {
        let Some(baseline) = Baseline::of(shown, snapshot.time) else { continue };
        let path = hook.pins.path(Pin::Baseline);
        document::write(&path, &baseline)?;
        pins::readable_by_all(&path)?;
        context.print(&format!("{}:{}  the table counts from now\n", shown.interface, shown.direction))?;
    }
    Ok(Exit::Done)
}
