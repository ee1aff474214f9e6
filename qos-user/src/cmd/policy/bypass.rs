//! `qosbpf policy bypass` and `resume`: the policy out of the path and back, while counts go on.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::said::seconds;
use crate::{
    cli::{BypassArgs, ResumeArgs},
    cmd::{
        Context, conditioner, deadline,
        recovery::{in_order, recover},
        site::Site,
        timer, wanted, who,
    },
    error::{Exit, Failure},
    hook::HookName,
    kernel::{
        boottime::BootTime,
        datapath::{self, Hook, Observed},
        document,
        pins::{Pin, Store},
        state::{Bypass, HookState},
    },
    render::json,
};

/// What is wanted of the hooks that are meant.
struct Turn {
    bypass: Option<Bypass>,
    time: Option<Duration>,
    json: bool,
}

/// What came of it: which hooks were switched, or were so already, and what could not be done.
#[derive(Default)]
struct Turned {
    done: Vec<(String, bool)>,
    failed: Vec<anyhow::Error>,
}

/// Takes the policy out of the path, before all else: a policy that is to be taken back meanwhile is so afterwards.
///
/// # Errors
///
/// `not-attached`, `no-policy`, and what the kernel says; one hook keeps no other from it.
pub fn bypass(args: &BypassArgs, context: &Context) -> anyhow::Result<Exit> {
    let until = args.time.map(|time| BootTime::now().map(|now| now.plus(time))).transpose()?;
    let bypass = Bypass { since: SystemTime::now(), by: who::am_i(), until };
    let turn = Turn { bypass: Some(bypass), time: args.time, json: args.json };
    let done = context.afterwards(|context| run(args.hook.as_ref(), &turn, context));
    let _said = deadline::settle(context);
    done
}

/// Puts it back.
///
/// # Errors
///
/// Those of [`bypass`].
pub fn resume(args: &ResumeArgs, context: &Context) -> anyhow::Result<Exit> {
    let turn = Turn { bypass: None, time: None, json: args.json };
    context.afterwards(|context| run(args.hook.as_ref(), &turn, context))
}

/// Switches every hook that is meant and has a table, whatever becomes of the others.
fn run(name: Option<&HookName>, turn: &Turn, context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = Store::change_attached(&context.bpffs)?;
    let site = if turn.bypass.is_some() { in_order(store, context)? } else { recover(store, context)?.site };
    let names: Vec<HookName> = name.into_iter().cloned().collect();
    let bound = |hook: &&Hook| hook.state.decides() && hook.running != Observed::Gone;
    let hooks: Vec<_> = site.select(&names)?.into_iter().filter(bound).collect();
    say_what_is_left(&site, &names, context);
    if hooks.is_empty() {
        return Err(Failure::new("no-policy", "no policy is in force at any hook that is meant")
            .hint("qosbpf status shows what runs; qosbpf policy apply FILE puts one in force")
            .into());
    }
    let mut turned = Turned::default();
    for hook in hooks {
        let name = site.hook_name(hook);
        match turn_one(&site, hook, turn.bypass.clone()) {
            Ok(changed) => turned.done.push((name, changed)),
            Err(error) => turned.failed.push(error.context(name)),
        }
    }
    if turn.time.is_some() {
        // After the pins: it ends when no deadline is left.
        turned.failed.extend(timer::start(context).err());
    }
    if name.is_none() && turn.bypass.is_some() {
        say_what_comes(&site, context);
    }
    say(turn, turned, context)
}

/// Those that cannot be read, of which nobody knows whether they have a policy.
fn say_what_is_left(site: &Site, names: &[HookName], context: &Context) {
    for broken in site.select_broken(names) {
        let (name, direction, why) = (site.name_at(&broken.pins), broken.pins.direction, &broken.error);
        context.warn(&format!("qosbpf: ! {name}:{direction} cannot be read, and is left as it is: {why:#}\n"));
    }
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

/// Whether anything had to be switched; a bypass that is there gets the new end, and keeps its beginning unless its time was
/// over.
fn turn_one(site: &Site, hook: &Hook, bypass: Option<Bypass>) -> anyhow::Result<bool> {
    match (bypass, &hook.state.bypass) {
        (None, None) => Ok(false),
        (Some(new), Some(old)) => {
            let is_over = old.has_expired(BootTime::now()?);
            let bypass = Some(if is_over { new } else { Bypass { until: new.until, ..old.clone() } });
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
                hook = site.hook_name(hook),
                "the bypass has ended, and the policy cannot be put back: {error:#}"
            );
            continue;
        }
        let by = hook.state.bypass.as_ref().map_or("", |bypass| &bypass.by);
        context.warn(&format!(
            "qosbpf: {} is in the policy's path again: the bypass by {by} ended\n",
            site.hook_name(hook)
        ));
        any = true;
    }
    Ok(any)
}

/// Says what was done, and gives what was not as an error.
fn say(turn: &Turn, turned: Turned, context: &Context) -> anyhow::Result<Exit> {
    let Turned { done, mut failed } = turned;
    if done.is_empty() && failed.len() == 1 {
        return failed.pop().map_or(Ok(Exit::Done), Err);
    }
    let failure = not_done(&failed);
    if turn.json {
        context.document(&format!("{}\n", as_json(turn, &done, failure.as_ref(), context)?))?;
        return Ok(failure.map_or(Exit::Done, |failure| failure.exit));
    }
    let ends = turn.time.map_or_else(String::new, |time| format!(", for {}", seconds(time)));
    for (hook, changed) in &done {
        let words = match (turn.bypass.is_some(), changed) {
            (true, true) => "out of the policy's path; counts go on, nothing is changed",
            (true, false) => "already out of the policy's path; counts go on, nothing is changed",
            (false, true) => "in the policy's path again",
            (false, false) => "in the policy's path: it was not out of it",
        };
        context.print(&format!("{hook}  {words}{ends}\n"))?;
    }
    failure.map_or(Ok(Exit::Done), |failure| Err(failure.into()))
}

fn as_json(
    turn: &Turn,
    done: &[(String, bool)],
    failure: Option<&Failure>,
    context: &Context,
) -> serde_json::Result<Value> {
    let state = if turn.bypass.is_some() { "bypassed" } else { "active" };
    let ends_in = turn.time.map(|time| time.as_secs_f64());
    let hooks = done
        .iter()
        .map(|(hook, changed)| json!({ "hook": hook, "state": state, "changed": changed, "ends_in": ends_in }));
    let mut document = json!({ "schema": 1, "hooks": hooks.collect::<Vec<_>>() });
    if let Some(failure) = failure {
        let here = context.invocation();
        let hint = failure.hint.as_deref().map(|hint| here.completed(hint));
        let said = Failure { message: here.completed(&failure.message), hint, ..failure.clone() };
        document["error"] = serde_json::to_value(json::failure(&said))?["error"].take();
    }
    Ok(document)
}

/// All that could not be done as one failure; what to do about it is that of the first.
fn not_done(failed: &[anyhow::Error]) -> Option<Failure> {
    let first = failed.first()?;
    let known = first.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let all: Vec<_> = failed.iter().map(|error| format!("{error:#}")).collect();
    let failure = Failure::new(known.map_or("failed", |known| known.code), format!("not done: {}", all.join("; ")));
    Some(Failure { hint: known.and_then(|known| known.hint.clone()), ..failure })
}
