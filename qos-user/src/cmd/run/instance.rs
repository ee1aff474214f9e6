//! One service for each network namespace: a lock, and who holds it.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
    time::SystemTime,
};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};

use crate::{
    cmd::control::{self, FOLDER},
    error::Failure,
};

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
    /// `busy`, with who it is already; that the folder cannot be made.
    pub fn claim() -> anyhow::Result<Self> {
        let folder = control::folder()?;
        for path in [Path::new(FOLDER), &folder] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
                .with_context(|| path.display().to_string())?;
        }
        let path = folder.join("lock");
        let mut lock = locked(&path)?;
        lock.set_len(0)?;
        lock.set_permissions(Permissions::from_mode(0o644))?;
        let since = humantime::format_rfc3339_seconds(SystemTime::now());
        fs::write(&path, format!("process {} since {since}", process::id()))?;
        lock.flush()?;
        Ok(Self { folder, lock })
    }

    /// Ends it, and leaves nothing of it. Needs that nothing is served.
    pub fn leave_nothing(self) {
        // While it is held: whoever opens it now is told that it is busy, or sees that it is another file.
        let _for_the_next = fs::remove_file(self.folder.join("lock")).and_then(|()| fs::remove_dir(&self.folder));
    }

    /// Where its control socket is.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("control")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _never_made = fs::remove_file(self.socket());
    }
}

/// The lock of the file that is there.
fn locked(path: &Path) -> anyhow::Result<Flock<File>> {
    loop {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| path.display().to_string())?;
        let mut holder = String::new();
        file.read_to_string(&mut holder)?;
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Err(busy(&holder)) };
        let ours = lock.metadata()?.ino();
        // One that has ended meanwhile may have removed it.
        if fs::metadata(path).is_ok_and(|there| there.ino() == ours) {
            return Ok(lock);
        }
    }
}

fn busy(holder: &str) -> anyhow::Error {
    Failure::new("busy", format!("qosbpf run serves this network namespace already: {holder}"))
        .hint("qosbpf run --reload lets it read the policy again; systemctl restart qosbpf replaces it")
        .into()
}
