//! One service for each network namespace: a lock, and who holds it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};

use crate::{
    cmd::control::{self, FOLDER},
    error::Failure,
    kernel::bpffs,
};

/// Nobody but root opens the lock.
const PRIVATE: u32 = 0o600;

/// How long somebody may hold the lock who does not serve, or no longer: a process that was killed holds it until it is gone.
const LINGERING: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// The service of this network namespace, as long as it is held.
#[derive(Debug)]
pub struct Instance {
    folder: PathBuf,
    #[expect(dead_code, reason = "held, not read")]
    lock: Flock<File>,
}

impl Instance {
    /// Becomes the service.
    ///
    /// # Errors
    ///
    /// `busy`, with who it is already; `run-folder`, if the folder cannot be made, or somebody else could have filled it.
    pub fn claim() -> anyhow::Result<Self> {
        let folder = control::folder()?;
        let mut lock = locked(&folder)?;
        lock.set_len(0)?;
        let since = humantime::format_rfc3339_seconds(SystemTime::now());
        write!(lock, "process {} since {since}", process::id())?;
        sweep(&folder);
        Ok(Self { folder, lock })
    }

    /// Where its control socket is.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("control")
    }
}

/// It leaves nothing, be it that its network namespace is gone, in which nobody would sweep. The lock is held to the end: only
/// then is the next one's socket made, which is not to be removed.
impl Drop for Instance {
    fn drop(&mut self) {
        let _never_made = fs::remove_file(self.socket());
        let _for_the_next = remove(&self.folder);
    }
}

/// Makes a folder in which nobody but root makes a socket, or takes the one that is there.
fn make(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    match fs::DirBuilder::new().recursive(true).mode(0o755).create(path) {
        // Something that is no folder is said below.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let message = format!("{shown} cannot be made, where the service has its lock and its socket: {error}");
            let hint = "findmnt --target /run shows whether it can be written to; what is attached goes on without";
            return Err(Failure::new("run-folder", message).hint(hint).into());
        }
        _ => {}
    }
    let Some(fault) = bpffs::fault_of(path)? else { return Ok(()) };
    let cure = if bpffs::is_only_open(path) {
        format!("look who did it; to close it: chmod go-w {shown}")
    } else {
        format!("look who made it; the next start makes it anew after: rm -r {shown}")
    };
    Err(Failure::new("run-folder", format!("{shown} {fault}: refused")).hint(cure).into())
}

/// Removes what services have left that have ended without, such as those of network namespaces that are gone. Where nobody
/// holds the lock nobody serves, and the next one makes it anew.
fn sweep(own: &Path) {
    let folders = fs::read_dir(FOLDER).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_one = |folder: &PathBuf| {
        folder.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("netns-"))
    };
    for folder in folders.filter(|folder| folder != own && is_one(folder)) {
        if let Err(error) = remove_left(&folder) {
            tracing::debug!("{} stays: {error:#}", folder.display());
        }
    }
}

fn remove_left(folder: &Path) -> anyhow::Result<()> {
    if bpffs::fault_of(folder)?.is_some() {
        return Ok(());
    }
    let mut how = OpenOptions::new();
    let file = how.read(true).custom_flags(libc::O_NOFOLLOW).open(folder.join("lock"))?;
    let Ok(_held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(()) };
    let _not_there = fs::remove_file(folder.join("control"));
    Ok(remove(folder)?)
}

/// Needs that the lock is held: whoever opens it now is told that it is busy, or sees that it is another file.
fn remove(folder: &Path) -> io::Result<()> {
    fs::remove_file(folder.join("lock")).and_then(|()| fs::remove_dir(folder))
}

/// The lock of a folder, which is made if it is not there.
fn locked(folder: &Path) -> anyhow::Result<Flock<File>> {
    let start = Instant::now();
    loop {
        [Path::new(FOLDER), folder].into_iter().try_for_each(make)?;
        match attempt(&folder.join("lock")) {
            Ok(Attempt::Locked(lock)) => return Ok(lock),
            Ok(Attempt::Held(holder)) if start.elapsed() >= LINGERING => return Err(busy(&holder)),
            Err(error) if start.elapsed() >= LINGERING => return Err(error),
            _ => thread::sleep(PAUSE),
        }
    }
}

/// What came of taking a lock.
enum Attempt {
    Locked(Flock<File>),
    /// By whom, as far as is written there.
    Held(String),
}

/// The lock of the file that is there, which root alone may open: flock(2) needs no more than a descriptor to read by. One
/// that others could open, as earlier versions left it, somebody may hold for ever: it is nobody's lock any more.
fn attempt(path: &Path) -> anyhow::Result<Attempt> {
    loop {
        let mut file = open(path)?;
        let mut holder = String::new();
        file.read_to_string(&mut holder)?;
        file.rewind()?;
        let found = file.metadata()?;
        let still_there = || fs::symlink_metadata(path).is_ok_and(|there| there.ino() == found.ino());
        if found.uid() != 0 || found.mode() & 0o077 != 0 {
            if serves(&holder) {
                return Ok(Attempt::Held(holder));
            }
            if still_there() {
                fs::remove_file(path).with_context(|| path.display().to_string())?;
            }
            continue;
        }
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(Attempt::Held(holder)) };
        // One that has ended meanwhile may have removed it.
        if still_there() {
            return Ok(Attempt::Locked(lock));
        }
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let mut how = OpenOptions::new();
    how.create(true).truncate(false).read(true).write(true).mode(PRIVATE).custom_flags(libc::O_NOFOLLOW);
    how.open(path).with_context(|| path.display().to_string())
}

/// Whether a service of root's is the process that the lock names.
fn serves(holder: &str) -> bool {
    let Some(process) = holder.strip_prefix("process ").and_then(|rest| rest.split(' ').next()) else { return false };
    let folder = Path::new("/proc").join(process);
    let ours = fs::read_to_string(folder.join("comm")).is_ok_and(|name| name.trim_end() == "qosbpf");
    ours && folder.metadata().is_ok_and(|meta| meta.uid() == 0)
}

fn busy(holder: &str) -> anyhow::Error {
    Failure::new("busy", format!("qosbpf run serves this network namespace already: {holder}"))
        .hint("qosbpf run --reload lets it read the policy again; systemctl restart qosbpf replaces it")
        .into()
}
