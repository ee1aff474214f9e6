//! `qosbpf detach`: removes what was attached, and nothing else.

use serde_json::json;

use crate::{
    cli::DetachArgs,
    cmd::{
        Context,
        control::{self, Ask},
        recovery::recover,
        site::Site,
        unpinned,
    },
    error::{Exit, Failure},
    hook::{Direction, HookName},
    kernel::{
        datapath,
        pins::{HookPins, Store},
        privilege,
    },
    snapshot::Missing,
};

/// Detaches.
///
/// # Errors
///
/// `not-attached`, `own-unpinned`, and what the kernel says.
pub fn run(args: &DetachArgs, context: &Context) -> anyhow::Result<Exit> {
    privilege::demand()?;
    if let (Some(name), true) = (&args.hook, args.unpinned) {
        return context.afterwards(|context| unpinned::end(args, name, context));
    }
    let mut released = release(args, context);
    context.afterwards(|context| detach_and_say(args, &mut released, context))
}

fn detach_and_say(args: &DetachArgs, released: &mut Released, context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = match Store::change_attached(&context.bpffs) {
        Err(error) if (args.all || !released.given_up.is_empty()) && is_not_attached(&error) => {
            return say(args, context, &[], &released.given_up).map(|()| Exit::Done);
        }
        change => change?,
    };
    let site = recover(store, context)?.site;
    let removed = detach(args, &site, released, context)?;
    site.store.leave()?;
    released.given_up.retain(|hook| !removed.contains(hook));
    say(args, context, &removed, &released.given_up)?;
    Ok(Exit::Done)
}

pub(super) fn is_not_attached(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == "not-attached")
}

/// The hooks that the service has been told not to attach again, and whether there is one.
struct Released {
    places: Vec<(u32, Direction)>,
    serves: bool,
    /// Those of which the service has lost the pins, and that it would attach again, by their names.
    given_up: Vec<String>,
}

impl Released {
    fn tell(&mut self, pins: &HookPins, context: &Context) {
        self.tell_of((pins.ifindex, pins.direction), context);
    }

    fn tell_of(&mut self, place: (u32, Direction), context: &Context) {
        if self.serves && !self.places.contains(&place) {
            self.serves = control::ask(Ask::Release(place.0, place.1), context).is_some();
            self.places.push(place);
        }
    }

    /// What has no pins any more, and is to be attached again.
    fn give_up(&mut self, names: &[HookName], context: &Context) {
        let Some(status) = control::status(context).filter(|_| self.serves) else { return };
        let covers =
            |lost: &&Missing| names.is_empty() || names.iter().any(|name| name.covers(&lost.interface, lost.direction));
        for lost in status.lost.iter().filter(covers) {
            let Some(ifindex) = lost.ifindex else { continue };
            self.tell_of((ifindex, lost.direction), context);
            if self.serves {
                self.given_up.push(format!("{}:{}", lost.interface, lost.direction));
            }
        }
    }
}

/// Tells the service before it is so, since it would attach again, and before the lock is taken: nobody waits for the
/// answer. What is wrong with the pins or the name is said later.
fn release(args: &DetachArgs, context: &Context) -> Released {
    let mut released = Released { places: Vec::new(), serves: true, given_up: Vec::new() };
    let names: Vec<HookName> = args.hook.iter().cloned().collect();
    if let Ok(site) = Site::read(context) {
        let hooks = site.select_readable(&names).unwrap_or_default().into_iter().map(|hook| &hook.pins);
        let broken = site.select_broken(&names).map(|broken| &broken.pins);
        hooks.chain(broken).for_each(|pins| released.tell(pins, context));
    }
    released.give_up(&names, context);
    released
}

fn detach(args: &DetachArgs, site: &Site, released: &mut Released, context: &Context) -> anyhow::Result<Vec<String>> {
    let names: Vec<HookName> = args.hook.iter().cloned().collect();
    let mut removed = Vec::new();
    let hooks = match site.select_readable(&names) {
        Err(_not_attached) if !released.given_up.is_empty() => Vec::new(),
        hooks => hooks?,
    };
    for hook in hooks {
        let interface = site.interface_of(hook).map(|interface| interface.name.as_str());
        // One that somebody has attached meanwhile.
        released.tell(&hook.pins, context);
        datapath::detach(hook, interface, &site.net)?;
        removed.push(site.hook_name(hook));
    }
    for broken in site.select_broken(&names) {
        let interface = site.interface_at(&broken.pins).map(|interface| interface.name.as_str());
        released.tell(&broken.pins, context);
        datapath::detach_broken(&broken.pins, interface, &site.net)?;
        removed.push(format!("{}:{}", site.name_at(&broken.pins), broken.pins.direction));
    }
    if args.all {
        // Pins without a state are what a killed attach left: nothing runs by them.
        site.store.hooks()?.iter().try_for_each(HookPins::remove_all)?;
    }
    Ok(removed)
}

pub(super) fn say(args: &DetachArgs, context: &Context, removed: &[String], given_up: &[String]) -> anyhow::Result<()> {
    if args.json {
        let mut document = json!({ "schema": 1, "detached": removed });
        if !given_up.is_empty() {
            document["given_up"] = given_up.into();
        }
        return context.document(&format!("{document}\n"));
    }
    if removed.is_empty() && given_up.is_empty() {
        return context.print("nothing was attached\n");
    }
    for hook in removed {
        context.print(&format!("{hook}  detached\n"))?;
    }
    for hook in given_up {
        context.print(&format!("{hook}  its pins were gone; run does not attach it again\n"))?;
    }
    Ok(())
}
