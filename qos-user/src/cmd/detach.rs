//! `qosbpf detach`: removes what was attached, and nothing else.

use serde_json::json;

use crate::{
    cli::DetachArgs,
    cmd::{
        Context,
        control::{self, Ask},
        recovery::recovered,
        site::Site,
    },
    error::{Exit, Failure},
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
    let (store, _change) = match Store::change_attached(&context.bpffs) {
        Err(error) if args.all && is_not_attached(&error) => {
            return say(args, context, &[]).map(|()| Exit::Done);
        }
        change => change?,
    };
    let site = recovered(store, context)?;
    let removed = detach(args, &site, context)?;
    site.store.leave()?;
    say(args, context, &removed)?;
    Ok(Exit::Done)
}

fn is_not_attached(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == "not-attached")
}

fn detach(args: &DetachArgs, site: &Site, context: &Context) -> anyhow::Result<Vec<String>> {
    let names: Vec<HookName> = args.hook.iter().cloned().collect();
    let mut removed = Vec::new();
    for hook in site.select_readable(&names)? {
        let interface = site.interface_of(hook).map(|interface| interface.name.as_str());
        // Before it is so: the service would attach it again.
        let _no_service = control::ask(Ask::Release(hook.pins.ifindex, hook.pins.direction), context);
        datapath::detach(hook, interface, &site.net)?;
        removed.push(format!("{}:{}", site.name_of(hook), hook.pins.direction));
    }
    for broken in site.select_broken(&names) {
        let interface = site.interface_at(&broken.pins).map(|interface| interface.name.as_str());
        datapath::detach_broken(&broken.pins, interface, &site.net)?;
        removed.push(format!("{}:{}", site.name_at(&broken.pins), broken.pins.direction));
    }
    if args.all {
        // Pins without a state are what a killed attach left: nothing runs by them.
        site.store.hooks()?.iter().try_for_each(HookPins::remove_all)?;
    }
    Ok(removed)
}

fn say(args: &DetachArgs, context: &Context, removed: &[String]) -> anyhow::Result<()> {
    if args.json {
        return context.document(&format!("{}\n", json!({ "schema": 1, "detached": removed })));
    }
    if removed.is_empty() {
        return context.print("nothing was attached\n");
    }
    for hook in removed {
        context.print(&format!("{hook}  detached\n"))?;
    }
    Ok(())
}
