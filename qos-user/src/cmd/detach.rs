//! `qosbpf detach`: removes what was attached, and nothing else.

use serde_json::json;

use crate::{
    cli::DetachArgs,
    cmd::{Context, attach::recovered, site::Site},
    error::Exit,
    hook::HookName,
    kernel::{
        datapath,
        pins::{HookPins, Store},
    },
};

/// Detaches.
///
/// # Errors
///
/// `not-attached`, and what the kernel says.
pub fn run(args: &DetachArgs, context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = Store::change(&context.bpffs)?;
    let site = recovered(store)?;
    let removed = detach(args, &site)?;
    site.store.leave()?;
    say(args, context, &removed)?;
    Ok(Exit::Done)
}

fn detach(args: &DetachArgs, site: &Site) -> anyhow::Result<Vec<String>> {
    let names: Vec<HookName> = args.hook.iter().cloned().collect();
    let mut removed = Vec::new();
    for hook in site.select(&names)? {
        let interface = site.interface_of(hook).map(|interface| interface.name.as_str());
        datapath::detach(hook, interface, &site.net)?;
        removed.push(format!("{}:{}", site.name_of(hook), hook.pins.direction));
    }
    if args.all {
        // Pins without a state are what a killed attach left: nothing runs by them.
        site.store.hooks()?.iter().try_for_each(HookPins::remove_all)?;
    }
    Ok(removed)
}

fn say(args: &DetachArgs, context: &Context, removed: &[String]) -> anyhow::Result<()> {
    if args.json {
        return context.print(&format!("{}\n", json!({ "schema": 1, "detached": removed })));
    }
    if removed.is_empty() {
        return context.print("nothing was attached\n");
    }
    for hook in removed {
        context.print(&format!("{hook}  detached\n"))?;
    }
    Ok(())
}
