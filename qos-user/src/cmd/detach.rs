//! `qosbpf detach`: removes what was attached, and nothing else.

use serde_json::json;

use crate::{
    cli::DetachArgs,
    cmd::{
        Context,
        control::{self, Ask},
        recovery::recover,
        site::Site,
    },
    error::{Exit, Failure},
    hook::{Direction, HookName},
    kernel::{
        datapath,
        pins::{HookPins, Store},
        privilege,
    },
};

/// Detaches.
///
/// # Errors
///
/// `not-attached`, and what the kernel says.
pub fn run(args: &DetachArgs, context: &Context) -> anyhow::Result<Exit> {
    privilege::demand()?;
    let released = release(args, context);
    let (store, _change) = match Store::change_attached(&context.bpffs) {
        Err(error) if args.all && is_not_attached(&error) => {
            return say(args, context, &[]).map(|()| Exit::Done);
        }
        change => change?,
    };
    let site = recover(store, context)?.site;
    let removed = detach(args, &site, released, context)?;
    site.store.leave()?;
    say(args, context, &removed)?;
    Ok(Exit::Done)
}

fn is_not_attached(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == "not-attached")
}

/// The hooks that the service has been told not to attach again, and whether there is one.
struct Released {
    places: Vec<(u32, Direction)>,
    serves: bool,
}

impl Released {
    fn tell(&mut self, pins: &HookPins, context: &Context) {
        let place = (pins.ifindex, pins.direction);
        if self.serves && !self.places.contains(&place) {
            self.serves = control::ask(Ask::Release(place.0, place.1), context).is_some();
            self.places.push(place);
        }
    }
}

/// Tells the service before it is so, since it would attach again, and before the lock is taken: nobody waits for the
/// answer. What is wrong with the pins or the name is said later.
fn release(args: &DetachArgs, context: &Context) -> Released {
    let mut released = Released { places: Vec::new(), serves: true };
    let names: Vec<HookName> = args.hook.iter().cloned().collect();
    let site = Site::read(context);
    let hooks = site.as_ref().ok().and_then(|site| site.select_readable(&names).ok());
    hooks.into_iter().flatten().for_each(|hook| released.tell(&hook.pins, context));
    released
}

fn detach(args: &DetachArgs, site: &Site, mut released: Released, context: &Context) -> anyhow::Result<Vec<String>> {
    let names: Vec<HookName> = args.hook.iter().cloned().collect();
    let mut removed = Vec::new();
    for hook in site.select_readable(&names)? {
        let interface = site.interface_of(hook).map(|interface| interface.name.as_str());
        // One that somebody has attached meanwhile.
        released.tell(&hook.pins, context);
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
