//! A mount namespace of one's own. It is a copy of what is mounted, and keeps file systems that are unmounted elsewhere:
//! programs by whose pins somebody waits for their end would run on.

use std::{fs, panic, path::Path, thread};

use anyhow::Context as _;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

/// Does `work` on a thread with mounts of its own, of bpf file systems only the one at `bpffs`. Processes started there
/// have the same.
///
/// # Errors
///
/// What the kernel says, or those of `work`.
///
/// # Panics
///
/// If `work` does.
pub fn alone<T: Send>(bpffs: &Path, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            enter(bpffs).context("a mount namespace of its own")?;
            work()
        });
        inside.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
    })
}

/// Shows a file or folder at another place, too.
///
/// # Errors
///
/// What the kernel says.
pub fn bind(what: &Path, at: &Path) -> anyhow::Result<()> {
    Ok(mount(Some(what), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// Has a file system refuse every change, or take them again.
///
/// # Errors
///
/// What the kernel says.
pub fn refuse_changes(at: &Path, refuse: bool) -> anyhow::Result<()> {
    let flags = if refuse { MsFlags::MS_RDONLY } else { MsFlags::empty() };
    Ok(mount(None::<&str>, at, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>)?)
}

fn enter(bpffs: &Path) -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    // The uppermost first: with one that is taken away goes all that is mounted in it.
    for line in fs::read_to_string("/proc/thread-self/mounts")?.lines().rev() {
        let mut words = line.split(' ').skip(1);
        if let (Some(place), Some("bpf")) = (words.next(), words.next())
            && Path::new(place) != bpffs
        {
            umount2(place, MntFlags::MNT_DETACH)?;
        }
    }
    Ok(())
}
