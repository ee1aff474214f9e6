//! A filter of tc, tried where no packet passes. The kernel takes a device out of service for a moment when a clsact qdisc is
//! made on it, and once more when it is removed: for a filter that is refused, both would be for nothing.

use std::thread;

use anyhow::anyhow;
use aya::programs::{
    TcAttachType,
    tc::{self, NlOptions, TcAttachOptions},
};
use nix::sched::{CloneFlags, unshare};

use super::object::Loaded;

/// The device that every network namespace has.
const DEVICE: &str = "lo";

/// Has the kernel take the program for a filter in a network namespace that ends with this call. Whoever may not make one,
/// which takes CAP_SYS_ADMIN, asks nothing.
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
