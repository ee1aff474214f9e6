//! `qosbpf detach`: removes what was attached, and nothing else.

use std::fs;

use serde_json::json;

use crate::{
    cli::DetachArgs,
    cmd::{Context, attach::recovered},
    error::Exit,
    hook::HookName,
    kernel::{datapath, pins::Store},
};

/// Detaches.
///
/// # Errors
///
/// `not-attached`, and what the kernel says.
pub fn run(args: &DetachArgs, context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = Store::change(&context.bpffs)?;
    let site = recovered(store)?;
    let names: Vec<HookName> = args.hook.iter().cloned().collect();
    let mut removed = Vec::new();
    for hook in site.select(&names)? {
        let interface = site.interface_of(hook).map(|interface| interface.name.as_str());
        datapath::detach(hook, interface, &site.net)?;
        removed.push(format!("{}:{}", site.name_of(hook), hook.pins.direction));
    }
    for pins in site.store.hooks()? {
        // Pins without a state are what a killed attach left: nothing runs by them.
        if args.all {
            pins.remove_all()?;
        }
    }
    let last = removed.len() == site.hooks.len();
    if last && (args.all || site.policy.is_some()) {
        let _no_policy = fs::remove_file(site.store.policy());
    }
    if args.all && removed.is_empty() && !args.json {
        context.print("nothing was attached\n")?;
    }
    say(args, context, &removed)?;
    Ok(Exit::Done)
}

fn say(args: &DetachArgs, context: &Context, removed: &[String]) -> anyhow::Result<()> {
    if args.json {
        return context.print(&format!("{}\n", json!({ "schema": 1, "detached": removed })));
    }
    for hook in removed {
        context.print(&format!("{hook}  detached\n"))?;
    }
    Ok(())
}
