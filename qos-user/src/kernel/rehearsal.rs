//! A filter of tc, tried where no packet passes. The kernel takes a device out of service for a moment when a clsact qdisc is
//! made on it, and once more when it is removed: for a filter that is refused, both are for nothing. Whoever tries again what
//! was refused therefore asks first.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::anyhow;
use aya::programs::{
    TcAttachType,
    tc::{self, NlOptions, TcAttachOptions},
};
use nix::sched::{CloneFlags, unshare};

use super::{object::Loaded, pins::HookPins};
use crate::hook::Direction;

/// The device that every network namespace has.
const DEVICE: &str = "lo";

/// Where the kernel has refused a filter to this process.
static REFUSED: Mutex<BTreeSet<(u32, Direction)>> = Mutex::new(BTreeSet::new());

fn refused() -> MutexGuard<'static, BTreeSet<(u32, Direction)>> {
    // What a panic left is whole: each change is one call.
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a filter was refused there the last time.
pub fn is_wanted(pins: &HookPins) -> bool {
    refused().contains(&(pins.ifindex, pins.direction))
}

/// Notes whether the kernel has taken a filter there.
pub fn note(pins: &HookPins, taken: bool) {
    let place = (pins.ifindex, pins.direction);
    if taken {
        refused().remove(&place)
    } else {
        refused().insert(place)
    };
}

/// Has the kernel take the program for a filter in a network namespace that ends with this call. Whoever may not make one,
/// which takes CAP_SYS_ADMIN, asks nothing. Not for a first attempt: while the kernel takes a namespace down, the moment
/// that an attempt costs which succeeds is longer.
///
/// # Errors
///
/// Why the kernel takes no such filter.
pub fn rehearse(loaded: &mut Loaded, side: TcAttachType) -> anyhow::Result<()> {
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            if unshare(CloneFlags::CLONE_NEWNET).is_err() || tc::qdisc_add_clsact(DEVICE).is_err() {
                return Ok(());
            }
            let tc = loaded.tc()?;
            // By a filter, where aya would take TCX if it may.
            let id = tc.attach_with_options(DEVICE, side, TcAttachOptions::Netlink(NlOptions::default()))?;
            drop(tc.take_link(id)?);
            Ok(())
        });
        asked.join().map_err(|_panic| anyhow!("what asks the kernel for a filter panicked"))?
    })
}
