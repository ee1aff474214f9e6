//! `qosbpf policy bypass` and `resume`: the policy out of the path and back, while counts go on.

use std::time::SystemTime;

use serde_json::json;

use crate::{
    cli::BypassArgs,
    cmd::{Context, attach::recovered, site::Site, who},
    error::{Exit, Failure},
    hook::HookName,
    kernel::{
        datapath::{self, Hook, Observed},
        pins::Store,
        state::{Bypass, HookState},
    },
};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Out of the path.
    Off,
    /// Back.
    On,
}

/// Switches every hook that is meant and has a table.
///
/// # Errors
///
/// `not-attached`, `no-policy`, and what the kernel says.
pub fn run(args: &BypassArgs, turn: Turn, context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = Store::change(&context.bpffs)?;
    let site = recovered(store)?;
    let names: Vec<HookName> = args.hook.iter().cloned().collect();
    let bound = |hook: &&Hook| hook.state.binding.is_some() && hook.running != Observed::Gone;
    let hooks: Vec<_> = site.select(&names)?.into_iter().filter(bound).collect();
    if hooks.is_empty() {
        return Err(Failure::new("no-policy", "no policy is in force at any hook that is meant")
            .hint("qosbpf status shows what runs; qosbpf policy apply FILE puts one in force")
            .into());
    }
    let mut done = Vec::new();
    for hook in hooks {
        done.push((name(&site, hook), turn_one(&site, hook, turn)?));
    }
    say(args, turn, &done, context)?;
    Ok(Exit::Done)
}

fn name(site: &Site, hook: &Hook) -> String {
    format!("{}:{}", site.name_of(hook), hook.pins.direction)
}

/// Whether anything had to be switched.
fn turn_one(site: &Site, hook: &Hook, turn: Turn) -> anyhow::Result<bool> {
    let bypass = match turn {
        Turn::Off => Some(Bypass { since: SystemTime::now(), by: who::am_i() }),
        Turn::On => None,
    };
    if bypass.is_some() == hook.state.bypass.is_some() {
        return Ok(false);
    }
    let next = HookState { bypass, ..hook.state.clone() };
    datapath::switch(datapath::prepare(hook, next)?, &site.name_of(hook))?;
    Ok(true)
}

fn say(args: &BypassArgs, turn: Turn, done: &[(String, bool)], context: &Context) -> anyhow::Result<()> {
    let state = match turn {
        Turn::Off => "bypassed",
        Turn::On => "active",
    };
    if args.json {
        let hooks: Vec<_> =
            done.iter().map(|(hook, changed)| json!({ "hook": hook, "state": state, "changed": changed })).collect();
        return context.print(&format!("{}\n", json!({ "schema": 1, "hooks": hooks })));
    }
    for (hook, changed) in done {
        let already = if *changed { "" } else { "already " };
        let words = match turn {
            Turn::Off => "out of the policy's path; counts go on, nothing is changed",
            Turn::On => "in the policy's path again",
        };
        context.print(&format!("{hook}  {already}{words}\n"))?;
    }
    Ok(())
}
