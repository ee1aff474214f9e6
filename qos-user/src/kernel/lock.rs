//! One change at a time: a lock in the folder of a network namespace.

use std::{
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};

use crate::error::Failure;

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Held while a change is under way; the kernel releases it with the process, however that ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// Locks `folder`, which `make` makes: whoever held the lock before may just have removed it.
    ///
    /// # Errors
    ///
    /// `busy` after ten seconds.
    pub fn take(folder: &Path, make: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match make() {
                // The work of another namespace just ended, and took the folders above with it.
                Err(error) if is_not_found(&error) => continue,
                result => result?,
            }
            if let Some(lock) = Self::attempt(folder)? {
                return Ok(lock);
            }
            thread::sleep(PAUSE);
        }
        Err(Failure::new("busy", format!("another qosbpf has held {} for {PATIENCE:?}", folder.display()))
            .hint("pgrep -a qosbpf shows it")
            .into())
    }

    fn attempt(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Ok(file) = File::open(folder) else { return Ok(None) };
        let inode = file.metadata().context("lock")?.ino();
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(None) };
        let still_there = folder.metadata().is_ok_and(|meta| meta.ino() == inode);
        Ok(still_there.then_some(Self(lock)))
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound)
}
