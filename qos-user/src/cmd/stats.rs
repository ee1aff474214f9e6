//! `qosbpf stats`: what was counted, before and after.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    cli::{By, StatsArgs, StatsCommand},
    cmd::{
        Context, control,
        reading::{machine, since_cleared},
        recovery::recover,
        site::Site,
        watch,
    },
    error::Exit,
    hook::HookName,
    kernel::{
        document,
        pins::{Pin, Store},
    },
    render::{json, table},
    snapshot::{Snapshot, baseline::Baseline, rates::Rates},
};

/// How long rates are sampled unless somebody says or knows better.
const SAMPLE: Duration = Duration::from_secs(1);

/// Prints the counters.
///
/// # Errors
///
/// `not-attached`, and pins that are foreign or not readable.
pub fn run(args: &StatsArgs, context: &Context) -> anyhow::Result<Exit> {
    if let Some(StatsCommand::Clear { hooks }) = &args.command {
        return context.afterwards(|context| clear(hooks, context));
    }
    if let Some(interval) = args.watch {
        return watch::run(args, interval, context);
    }
    if args.format.is_machine() {
        let mut snapshot = Site::read(context)?.snapshot(&args.hooks, context)?;
        if args.format.wants_trends() {
            control::remember(&mut snapshot, context);
        }
        context.document(&machine(&args.format, &snapshot, json::Layout::Pretty, context)?)?;
        return Ok(exit(&snapshot));
    }
    let (snapshot, rates) = sample(args, context)?;
    context.screen(&screen(args, &snapshot, &rates, context))?;
    Ok(exit(&snapshot))
}

/// A hook that could not be read has said so in its place, and the exit code says it once more.
fn exit(snapshot: &Snapshot) -> Exit {
    if snapshot.hooks.iter().any(|hook| hook.counts.is_err()) { Exit::Failed } else { Exit::Done }
}

/// Reads once, if the service knows the rates or nobody wants any; else twice with a pause between.
fn sample(args: &StatsArgs, context: &Context) -> anyhow::Result<(Snapshot, Rates)> {
    if args.rate.is_none()
        && let Some(remembered) = remembered(args, context)?
    {
        return Ok(remembered);
    }
    let earlier = since_cleared(&args.hooks, context)?;
    let pause = args.rate.unwrap_or(SAMPLE);
    if pause.is_zero() {
        return Ok((earlier, Rates::default()));
    }
    let start = Instant::now();
    thread::sleep(pause);
    let later = since_cleared(&args.hooks, context)?;
    let rates = Rates::between(&earlier, &later, start.elapsed());
    Ok((later, rates))
}

/// The counters with the rates of the last minute, if the service knows those of every hook.
fn remembered(args: &StatsArgs, context: &Context) -> anyhow::Result<Option<(Snapshot, Rates)>> {
    let mut whole = Site::read(context)?.snapshot(&args.hooks, context)?;
    control::remember(&mut whole, context);
    let Some(rates) = Rates::remembered(&whole) else { return Ok(None) };
    Ok(Some((since_cleared(&args.hooks, context)?, rates)))
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
    let (store, _change) = Store::change_attached(&context.bpffs)?;
    let site = recover(store, context)?.site;
    let snapshot = site.snapshot(hooks, context)?;
    let selected = site.select(hooks)?;
    for shown in &snapshot.hooks {
        let Some(hook) = selected.iter().find(|hook| hook.is_at(shown.ifindex, shown.direction)) else { continue };
        let Some(baseline) = Baseline::of(shown, snapshot.time) else { continue };
        document::write(&hook.pins.path(Pin::Baseline), &baseline)?;
        context.print(&format!("{}:{}  the table counts from now\n", shown.interface, shown.direction))?;
    }
    Ok(Exit::Done)
}
