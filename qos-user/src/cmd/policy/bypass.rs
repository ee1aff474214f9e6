//! `qosbpf policy bypass` and `resume`: the policy out of the path and back, while counts go on.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::said::seconds;
use crate::{
    cli::{BypassArgs, ResumeArgs},
    cmd::{Context, conditioner, recovery::recover, site::Site, timer, wanted, who},
    error::{Exit, Failure},
    hook::HookName,
    kernel::{
        boottime::BootTime,
        datapath::{self, Hook, Observed},
        document,
        pins::{Pin, Store},
        state::{Bypass, HookState},
    },
};

/// What is wanted of the hooks that are meant.
struct Turn {
    bypass: Option<Bypass>,
    time: Option<Duration>,
    json: bool,
}

/// Takes the policy out of the path.
///
/// # Errors
///
/// `not-attached`, `no-policy`, and what the kernel says.
pub fn bypass(args: &BypassArgs, context: &Context) -> anyhow::Result<Exit> {
    let until = args.time.map(|time| BootTime::now().map(|now| now.plus(time))).transpose()?;
    let bypass = Bypass { since: SystemTime::now(), by: who::am_i(), until };
    run(args.hook.as_ref(), &Turn { bypass: Some(bypass), time: args.time, json: args.json }, context)
}

/// Puts it back.
///
/// # Errors
///
/// `not-attached`, `no-policy`, and what the kernel says.
pub fn resume(args: &ResumeArgs, context: &Context) -> anyhow::Result<Exit> {
    run(args.hook.as_ref(), &Turn { bypass: None, time: None, json: args.json }, context)
}

/// Switches every hook that is meant and has a table.
fn run(name: Option<&HookName>, turn: &Turn, context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = Store::change_attached(&context.bpffs)?;
    let site = recover(store, context)?.site;
    let names: Vec<HookName> = name.into_iter().cloned().collect();
    let bound = |hook: &&Hook| hook.state.decides() && hook.running != Observed::Gone;
    let hooks: Vec<_> = site.select(&names)?.into_iter().filter(bound).collect();
    if hooks.is_empty() {
        return Err(Failure::new("no-policy", "no policy is in force at any hook that is meant")
            .hint("qosbpf status shows what runs; qosbpf policy apply FILE puts one in force")
            .into());
    }
    let mut done = Vec::new();
    for hook in hooks {
        done.push((full_name(&site, hook), turn_one(&site, hook, turn.bypass.clone())?));
    }
    if turn.time.is_some() {
        // After the pins: it ends when no deadline is left.
        timer::start(context)?;
    }
    say(turn, &done, context)?;
    if name.is_none() && turn.bypass.is_some() {
        say_what_comes(&site, context);
    }
    Ok(Exit::Done)
}

/// Whoever takes the policy out of the path everywhere may do so while a service is still attaching.
fn say_what_comes(site: &Site, context: &Context) {
    let coming = wanted::missing(site).into_iter().filter(|missing| missing.ifindex.is_some()).count();
    let (hooks, are) = if coming == 1 { ("hook", "is") } else { ("hooks", "are") };
    if coming > 0 {
        context.warn(&format!(
            "qosbpf: ! {coming} {hooks} that the policy binds {are} not attached: one that is attached from now on is in its path\n"
        ));
    }
}

fn full_name(site: &Site, hook: &Hook) -> String {
    format!("{}:{}", site.name_of(hook), hook.pins.direction)
}

/// Whether anything had to be switched; a bypass that is there gets the new end, and keeps its beginning.
fn turn_one(site: &Site, hook: &Hook, bypass: Option<Bypass>) -> anyhow::Result<bool> {
    match (bypass, &hook.state.bypass) {
        (None, None) => Ok(false),
        (Some(new), Some(old)) => {
            let bypass = Some(Bypass { until: new.until, ..old.clone() });
            document::write(&hook.pins.path(Pin::State), &HookState { bypass, ..hook.state.clone() })?;
            Ok(false)
        }
        (bypass, _) => {
            let next = conditioner::as_bound(site, hook, HookState { bypass, ..hook.state.clone() })?;
            datapath::switch(datapath::prepare(hook, next)?, &site.name_of(hook), &site.net)?;
            Ok(true)
        }
    }
}

/// Ends the bypasses whose time is over; whether there was one.
///
/// # Errors
///
/// What the kernel says.
pub fn end_expired(site: &Site, now: BootTime, context: &Context) -> anyhow::Result<bool> {
    let expired = site.hooks.iter().filter(|hook| hook.running != Observed::Gone && hook.state.bypass_expired(now));
    let mut any = false;
    for hook in expired {
        if let Err(error) = turn_one(site, hook, None) {
            tracing::error!(
                hook = full_name(site, hook),
                "the bypass has ended, and the policy cannot be put back: {error:#}"
            );
            continue;
        }
        let by = hook.state.bypass.as_ref().map_or("", |bypass| &bypass.by);
        context.warn(&format!(
            "qosbpf: {} is in the policy's path again: the bypass by {by} ended\n",
            full_name(site, hook)
        ));
        any = true;
    }
    Ok(any)
}

fn say(turn: &Turn, done: &[(String, bool)], context: &Context) -> anyhow::Result<()> {
    let bypassed = turn.bypass.is_some();
    if turn.json {
        let state = if bypassed { "bypassed" } else { "active" };
        let ends_in = turn.time.map(|time| time.as_secs_f64());
        let hooks = done
            .iter()
            .map(|(hook, changed)| json!({ "hook": hook, "state": state, "changed": changed, "ends_in": ends_in }));
        return context.document(&format!("{}\n", json!({ "schema": 1, "hooks": hooks.collect::<Vec<_>>() })));
    }
    let ends = turn.time.map_or_else(String::new, |time| format!(", for {}", seconds(time)));
    for (hook, changed) in done {
        let already = if *changed { "" } else { "already " };
        let words = if bypassed {
            "out of the policy's path; counts go on, nothing is changed"
        } else {
            "in the policy's path again"
        };
        context.print(&format!("{hook}  {already}{words}{ends}\n"))?;
    }
    Ok(())
}
