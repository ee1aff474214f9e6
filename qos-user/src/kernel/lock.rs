//! One change at a time: a lock in the folder of a network namespace.

use std::{
    fs::File,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};

use crate::{error::Failure, held_lines::Held};

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// How long whoever gives way stays away; whoever waits asks many times meanwhile, if it runs at all.
const WAY: Duration = Duration::from_secs(1);

/// Held while a change is under way; the kernel releases it with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
    // Behind the lock: fields are dropped in their order.
    _log_lines: Held,
}

/// Somebody waits. The kernel gives the lock to whoever asks first, and that is whoever has just given it up: so who waits
/// has a read lock of the other kind (fcntl(2)) on the same folder, which the holder sees.
#[derive(Debug)]
struct Waiting(#[expect(dead_code, reason = "held, not read")] File);

/// What came of asking for the lock.
#[derive(Debug)]
enum Asked {
    Taken(Lock),
    /// Somebody else has it.
    Busy(File),
    /// The folder is not there, or no more.
    Gone,
}

impl Lock {
    /// Locks `folder`, which `make` makes: whoever held the lock before may just have removed it.
    ///
    /// # Errors
    ///
    /// `busy` after ten seconds.
    pub fn take(folder: &Path, make: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let start = Instant::now();
        let mut waiting = None;
        while start.elapsed() < PATIENCE {
            match make() {
                // The work of another namespace just ended, and took the folders above with it.
                Err(error) if is_not_found(&error) => continue,
                result => result?,
            }
            match Self::ask(folder)? {
                Asked::Taken(lock) => return Ok(lock),
                // The folder may be another one than before.
                Asked::Busy(file) => waiting = Waiting::begin(file).or(waiting),
                Asked::Gone => {}
            }
            thread::sleep(PAUSE);
        }
        Err(Failure::new("busy", format!("another qosbpf has held {} for {PATIENCE:?}", folder.display()))
            .hint("pgrep -a qosbpf shows it")
            .into())
    }

    /// Locks `folder` if it is there and nobody else has it.
    ///
    /// # Errors
    ///
    /// That the folder cannot be looked at.
    pub fn attempt(folder: &Path) -> anyhow::Result<Option<Self>> {
        Ok(match Self::ask(folder)? {
            Asked::Taken(lock) => Some(lock),
            Asked::Busy(_) | Asked::Gone => None,
        })
    }

    fn ask(folder: &Path) -> anyhow::Result<Asked> {
        let file = match File::open(folder) {
            // To others than root it is as if it were not there.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                return Ok(Asked::Gone);
            }
            file => file.with_context(|| folder.display().to_string())?,
        };
        let inode = file.metadata().context("lock")?.ino();
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((file, _)) => return Ok(Asked::Busy(file)),
        };
        let still_there = folder.metadata().is_ok_and(|meta| meta.ino() == inode);
        Ok(if still_there { Asked::Taken(Self { file, _log_lines: Held::begin() }) } else { Asked::Gone })
    }

    /// Whether somebody waits for it.
    pub fn is_waited_for(&self) -> bool {
        is_waited_for(&self.file)
    }

    /// Lets those take it who wait for it; whoever calls this has given it up.
    pub fn give_way(folder: &Path) {
        let start = Instant::now();
        while start.elapsed() < WAY && File::open(folder).is_ok_and(|file| is_waited_for(&file)) {
            thread::sleep(PAUSE / 4);
        }
    }
}

impl Waiting {
    fn begin(file: File) -> Option<Self> {
        fcntl(&file, FcntlArg::F_OFD_SETLK(&whole(libc::F_RDLCK))).ok()?;
        Some(Self(file))
    }
}

fn is_waited_for(file: &File) -> bool {
    let mut found = whole(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).is_ok() && i32::from(found.l_type) != libc::F_UNLCK
}

/// All of the folder, as fcntl(2) is told.
const fn whole(kind: i32) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(folder: &Path) -> Lock {
        Lock::take(folder, || Ok(())).unwrap()
    }

    #[test]
    fn whoever_waits_is_seen_and_gets_it_from_who_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let lock = take(folder.path());
        assert!(!lock.is_waited_for());
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                let lock = take(folder.path());
                thread::sleep(PAUSE);
                drop(lock);
                Instant::now()
            });
            while !lock.is_waited_for() {
                thread::sleep(PAUSE / 20);
            }
            drop(lock);
            Lock::give_way(folder.path());
            let lock = take(folder.path());
            let again = Instant::now();
            assert!(other.join().unwrap() <= again && !lock.is_waited_for());
        });
    }
}
