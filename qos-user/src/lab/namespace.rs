//! Doing something in a named network namespace, without this process leaving its own.

use std::{
    fs::{self, File},
    panic,
    path::Path,
    thread,
};

use anyhow::Context as _;
use nix::sched::{CloneFlags, setns};

/// A network namespace that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// The one of this name, whether it is there or not.
    pub(super) const fn named(name: String) -> Self {
        Self { name }
    }

    /// The name, as `ip netns` and `qosbpf --netns` take it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `work` on a thread that has entered the namespace. Sockets made and processes started there stay in it.
    ///
    /// # Errors
    ///
    /// That the namespace cannot be entered, or those of `work`.
    ///
    /// # Panics
    ///
    /// If `work` does.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        let path = Path::new("/run/netns").join(&self.name);
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {}", self.name))?;
                work()
            });
            inside.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
        })
    }

    /// Sets kernel settings below /proc/sys/net, such as `("ipv4/ip_forward", "1")`.
    ///
    /// # Errors
    ///
    /// Which one the kernel does not have or take.
    pub fn set(&self, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        self.run(|| {
            for (setting, value) in settings {
                let path = Path::new("/proc/sys/net").join(setting);
                fs::write(&path, value).with_context(|| format!("{} = {value}", path.display()))?;
            }
            Ok(())
        })
    }
}
