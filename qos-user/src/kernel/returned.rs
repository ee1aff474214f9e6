//! A device that went to another network namespace and came back under another number. Its link lived all the time, and so
//! does the program by it: the hook takes the number of now, with all that it has counted. Nothing may be attached beside it.

use std::fs;

use anyhow::Context as _;

use super::{
    datapath::{Hook, Observed},
    device_ref, document, mechanism,
    network::Network,
    pins::{HookPins, Pin, Store},
    state::HookState,
};

/// Gives hooks the numbers that their devices have by now; whether there was one. Needs the lock.
///
/// # Errors
///
/// Foreign pins, what bpf(2) says, or that a folder cannot be renamed.
pub fn take_over(store: &Store, hooks: &[Hook], net: &Network) -> anyhow::Result<bool> {
    let mut any = false;
    for hook in hooks {
        let Some(ifindex) = number(hook, net)? else { continue };
        let now = store.hook(ifindex, hook.pins.direction);
        if now.exists() {
            // Those of a device that had this number before: `attach` there is refused, with the cure.
            tracing::warn!(
                was = hook.pins.ifindex,
                now = ifindex,
                "a device is back, and other pins are at its number"
            );
            continue;
        }
        rename(hook, &now)?;
        tracing::info!(
            was = hook.pins.ifindex,
            now = ifindex,
            "a device is back under another number: its hook goes on"
        );
        any = true;
    }
    Ok(any)
}

/// The number by which the program of a hook is at a device here, if that is another than the hook's. A device of another
/// namespace may have the same: the program has to be found at this one.
///
/// # Errors
///
/// Foreign pins, or what bpf(2) or netlink says.
pub fn number(hook: &Hook, net: &Network) -> anyhow::Result<Option<u32>> {
    if hook.running != Observed::Gone {
        return Ok(None);
    }
    let Some(link) = mechanism::whereabouts(&hook.pins)?.filter(|link| link.ifindex != hook.pins.ifindex) else {
        return Ok(None);
    };
    let is_here = mechanism::is_at(link.ifindex, hook.state.via, hook.pins.direction, link.program_id, net)?;
    Ok(is_here.then_some(link.ifindex))
}

/// Writes down that what the policy binds to a hook is to be asked anew: it may be another policy by now.
///
/// # Errors
///
/// What the kernel says to the pin.
pub fn have_ask(hook: &Hook) -> anyhow::Result<()> {
    let bound_as = Some(format!("if-{}", hook.pins.ifindex));
    document::write(&hook.pins.path(Pin::State), &HookState { bound_as, ..hook.state.clone() })
}

fn rename(hook: &Hook, now: &HookPins) -> anyhow::Result<()> {
    have_ask(hook)?;
    now.make_parent()?;
    fs::rename(hook.pins.folder(), now.folder()).with_context(|| now.folder().display().to_string())?;
    device_ref::note_anew(now);
    Ok(())
}
