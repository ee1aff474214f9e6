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
    error::{Exit, Failure, in_one_line},
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

/// What came of it: what became of which hook, and what could not be done.
#[derive(Default)]
struct Turned {
    done: Vec<(String, Became)>,
    failed: Vec<anyhow::Error>,
}

/// What became of one hook.
enum Became {
    /// It was switched.
    Switched,
    /// It was so already.
    Same,
    /// Its bypass goes on and has another end; how long it would have lasted, if it had one.
    EndsAnew(Option<Duration>),
}

impl Turn {
    /// What became of a hook, in words.
    fn words(&self, became: &Became) -> String {
        let ends = self.time.map_or_else(String::new, |time| format!(", for {}", seconds(time)));
        match (self.bypass.is_some(), became) {
            (true, Became::Switched) => format!("out of the policy's path; counts go on, nothing is changed{ends}"),
            (true, Became::Same) => format!("already out of the policy's path; counts go on, nothing is changed{ends}"),
            (true, Became::EndsAnew(before)) => format!("already out of the policy's path; {}", self.new_end(*before)),
            (false, Became::Same) => "in the policy's path: it was not out of it".to_owned(),
            (false, _) => "in the policy's path again".to_owned(),
        }
    }

    fn new_end(&self, before: Option<Duration>) -> String {
        let ends = self.time.map_or("no longer ends by itself".to_owned(), |time| format!("ends in {}", seconds(time)));
        let before = before.map_or("not by itself".to_owned(), |left| format!("in {}", seconds(left)));
        format!("{ends}, before {before}")
    }
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
            Ok(became) => turned.done.push((name, became)),
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

/// Switches a hook, or gives a bypass that is there the new end.
fn turn_one(site: &Site, hook: &Hook, bypass: Option<Bypass>) -> anyhow::Result<Became> {
    match (bypass, &hook.state.bypass) {
        (None, None) => Ok(Became::Same),
        (Some(new), Some(old)) => end_anew(hook, new, old),
        (bypass, _) => {
            let next = conditioner::as_bound(site, hook, HookState { bypass, ..hook.state.clone() })?;
            datapath::switch(datapath::prepare(hook, next)?, &site.name_of(hook), &site.net)?;
            Ok(Became::Switched)
        }
    }
}

/// The end that was said last counts. The bypass keeps its beginning, unless its time was over.
fn end_anew(hook: &Hook, new: Bypass, old: &Bypass) -> anyhow::Result<Became> {
    if new.until == old.until {
        return Ok(Became::Same);
    }
    let now = BootTime::now()?;
    let is_over = old.has_expired(now);
    let bypass = Some(if is_over { new } else { Bypass { until: new.until, ..old.clone() } });
    document::write(&hook.pins.path(Pin::State), &HookState { bypass, ..hook.state.clone() })?;
    let before = old.until.map(|until| until.left(now));
    Ok(if is_over { Became::Switched } else { Became::EndsAnew(before) })
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
    for (hook, became) in &done {
        context.print(&format!("{hook}  {}\n", turn.words(became)))?;
    }
    failure.map_or(Ok(Exit::Done), |failure| Err(failure.into()))
}

fn as_json(
    turn: &Turn,
    done: &[(String, Became)],
    failure: Option<&Failure>,
    context: &Context,
) -> serde_json::Result<Value> {
    let state = if turn.bypass.is_some() { "bypassed" } else { "active" };
    let ends_in = turn.time.map(|time| time.as_secs_f64());
    let hooks = done.iter().map(|(hook, became)| {
        let changed = !matches!(became, Became::Same);
        json!({ "hook": hook, "state": state, "changed": changed, "ends_in": ends_in, "result": turn.words(became) })
    });
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
    let all: Vec<_> = failed.iter().map(in_one_line).collect();
    let failure = Failure::new(known.map_or("failed", |known| known.code), format!("not done: {}", all.join("; ")));
    Some(Failure { hint: known.and_then(|known| known.hint.clone()), ..failure })
}
