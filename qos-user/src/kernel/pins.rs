//! Where things are pinned: `<bpffs>/qosbpf/v<layout>/netns-<id>/if-<ifindex>/<direction>/`.
//!
//! Folders bear numbers, not the names of interfaces: a name may change, and bpffs refuses the dot of a VLAN device.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::net::if_::if_indextoname;
use qos_common::abi::LAYOUT;

pub use super::pin::Pin;
use super::{bpffs, document, leftover, lock::Lock, netns, privilege};
use crate::{command::Command, error::Failure, hook::Direction};

/// What the names of the pins of earlier policies begin with.
const PAST: &str = "past-";

/// The pins of one network namespace.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) top: PathBuf,
    pub(super) layout: PathBuf,
    pub(super) namespace: PathBuf,
}

/// A change under way. However it ends, the folders in which nothing is left go, and then the lock.
#[derive(Debug)]
pub struct Change {
    pub(super) store: Store,
    pub(super) lock: Lock,
}

/// A hook by its interface's index and its direction.
pub type Place = (u32, Direction);

/// The pins of one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookPins {
    folder: PathBuf,
    /// The interface.
    pub ifindex: u32,
    /// The direction.
    pub direction: Direction,
}

impl Store {
    /// The pins of the network namespace that this thread is in; nothing is made or changed.
    ///
    /// # Errors
    ///
    /// `foreign-pin`, `layout`.
    pub fn open(bpffs: &Path) -> anyhow::Result<Self> {
        let store = Self::at(bpffs)?;
        if let Some((_, error)) = store.refused() {
            return Err(error);
        }
        store.refuse_other_layouts()?;
        Ok(store)
    }

    pub(super) fn at(bpffs: &Path) -> anyhow::Result<Self> {
        let top = bpffs.join("qosbpf");
        let layout = top.join(format!("v{LAYOUT}"));
        Ok(Self { namespace: layout.join(format!("netns-{}", netns::id()?)), top, layout })
    }

    /// The first folder that is there and that somebody else could have filled.
    fn refused(&self) -> Option<(&Path, anyhow::Error)> {
        let there = self.folders().into_iter().filter(|folder| folder.symlink_metadata().is_ok());
        there.filter_map(|folder| Some((folder, bpffs::check_folder(folder).err()?))).next()
    }

    /// The same, with the folders made and locked for a change.
    ///
    /// # Errors
    ///
    /// `privilege`; those of [`open`](Self::open), of mounting, and `busy` if another qosbpf holds the lock.
    pub fn change(bpffs: &Path) -> anyhow::Result<(Self, Change)> {
        privilege::demand()?;
        bpffs::ensure_mounted(bpffs)?;
        Self::locked(bpffs)
    }

    /// The same for a change of what is attached already: where there is no bpf file system none is mounted.
    ///
    /// # Errors
    ///
    /// Those of [`change`](Self::change), and `not-attached`.
    pub fn change_attached(bpffs: &Path) -> anyhow::Result<(Self, Change)> {
        privilege::demand()?;
        bpffs::refuse_hidden(bpffs)?;
        if bpffs::is_mounted(bpffs) {
            bpffs::refuse_read_only(bpffs)?;
            return Self::locked(bpffs);
        }
        let message = format!("nothing is attached: {} is no bpf file system", bpffs.display());
        Err(Failure::new("not-attached", message).hint("--bpffs names another").into())
    }

    fn locked(bpffs: &Path) -> anyhow::Result<(Self, Change)> {
        let store = Self::open(bpffs)?;
        let lock = Lock::take(&store.lock(), || {
            store.folders().into_iter().try_for_each(bpffs::make_folder)?;
            bpffs::make_private_folder(&store.lock())
        })?;
        store.collect_ghosts();
        Ok((store.clone(), Change { store, lock }))
    }

    /// Keeps everybody from changing anything as long as it is held; `None` if somebody is changing something, or nothing is
    /// there.
    ///
    /// # Errors
    ///
    /// That the folder cannot be read.
    pub fn quiet(&self) -> anyhow::Result<Option<Lock>> {
        Lock::attempt(&self.lock())
    }

    /// Lets others change something who wait for it; whoever calls this has ended its own change.
    pub fn give_way(&self) {
        Lock::give_way(&self.lock());
    }

    /// Whether somebody is changing something right now.
    ///
    /// # Errors
    ///
    /// That the folder cannot be read.
    pub fn is_busy(&self) -> anyhow::Result<bool> {
        Ok(self.lock().is_dir() && self.quiet()?.is_none())
    }

    fn folders(&self) -> [&Path; 3] {
        [&self.top, &self.layout, &self.namespace]
    }

    fn refuse_other_layouts(&self) -> anyhow::Result<()> {
        let Ok(entries) = fs::read_dir(&self.top) else { return Ok(()) };
        let Some(name) = self.namespace.file_name() else { return Ok(()) };
        for entry in entries.flatten() {
            let other = entry.path();
            if other != self.layout && other.join(name).exists() {
                return Err(Failure::new(
                    "layout",
                    format!("{} was made by another version of qosbpf; this one has layout {LAYOUT}", other.display()),
                )
                .hint("detach with that version, then attach with this one")
                .into());
            }
        }
        Ok(())
    }

    /// What is locked: a folder, since bpffs has no files, and one that only root can open.
    pub(super) fn lock(&self) -> PathBuf {
        self.namespace.join("lock")
    }

    /// Where the policy in force is kept.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.namespace.join("policy")
    }

    /// Where a change that may still be taken back is kept.
    #[must_use]
    pub fn pending_pin(&self) -> PathBuf {
        self.namespace.join("pending")
    }

    /// Where a policy that was in force is kept, by its number.
    #[must_use]
    pub fn past_pin(&self, number: u64) -> PathBuf {
        self.namespace.join(format!("{PAST}{number}"))
    }

    /// The numbers of the policies that were in force, the oldest first.
    ///
    /// # Errors
    ///
    /// That the folder cannot be read.
    pub fn past(&self) -> anyhow::Result<Vec<u64>> {
        let names = names_in(&self.namespace)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.strip_prefix(PAST)?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The pins of a hook, whether they are there or not.
    #[must_use]
    pub fn hook(&self, ifindex: u32, direction: Direction) -> HookPins {
        let folder = self.namespace.join(format!("if-{ifindex}")).join(direction.as_str());
        HookPins { folder, ifindex, direction }
    }

    /// Every hook that has pins, by interface, ingress first.
    ///
    /// # Errors
    ///
    /// That a folder cannot be read.
    pub fn hooks(&self) -> anyhow::Result<Vec<HookPins>> {
        let mut hooks = Vec::new();
        for name in names_in(&self.namespace)? {
            let Some(ifindex) = name.strip_prefix("if-").and_then(|number| number.parse().ok()) else { continue };
            let both = Direction::BOTH.map(|direction| self.hook(ifindex, direction));
            hooks.extend(both.into_iter().filter(HookPins::exists));
        }
        hooks.sort_by_key(|hook| (hook.ifindex, hook.direction));
        Ok(hooks)
    }

    /// Forgets the policy in force, and those before it, if no hook is left for it.
    ///
    /// # Errors
    ///
    /// That a folder cannot be read or a policy not be removed.
    pub fn leave(&self) -> anyhow::Result<()> {
        if !self.hooks()?.is_empty() {
            return Ok(());
        }
        remove(&self.pending_pin())?;
        remove(&leftover::pin(self))?;
        remove(&self.policy())?;
        self.past()?.into_iter().try_for_each(|number| remove(&self.past_pin(number)))
    }

    /// Removes what a killed process left unfinished, and the folders in which nothing is left.
    fn tidy(&self) {
        for name in names_in(&self.namespace).unwrap_or_default() {
            let path = self.namespace.join(&name);
            if name.starts_with(document::FRESH) {
                let _taken = fs::remove_file(&path);
            } else if name.starts_with("if-") {
                let _not_empty = fs::remove_dir(&path);
            }
        }
        if names_in(&self.namespace).is_ok_and(|names| names == ["lock"]) {
            let _taken = fs::remove_dir(self.lock());
        }
        for folder in self.folders().into_iter().rev() {
            let _not_empty = fs::remove_dir(folder);
        }
    }
}

/// The first of our folders that is there and that somebody else could have filled, and what is wrong with it.
#[must_use]
pub fn refused(bpffs: &Path) -> Option<(PathBuf, anyhow::Error)> {
    let store = Store::at(bpffs).ok()?;
    store.refused().map(|(folder, error)| (folder.to_owned(), error))
}

impl Change {
    /// Whether somebody else waits to change something.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.lock.is_waited_for()
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.store.tidy();
    }
}

impl HookPins {
    /// Where the hook is.
    #[must_use]
    pub const fn place(&self) -> Place {
        (self.ifindex, self.direction)
    }

    /// The pins of the same interface's other direction.
    #[must_use]
    pub fn other_direction(&self) -> Self {
        let [direction, other] = Direction::BOTH;
        let direction = if self.direction == direction { other } else { direction };
        Self { folder: self.folder.with_file_name(direction.as_str()), direction, ..*self }
    }

    /// The bpf file system that they are in.
    #[must_use]
    pub fn bpffs(&self) -> &Path {
        // Above the folders of direction, interface, network namespace and layout, and qosbpf's own.
        self.folder.ancestors().nth(5).unwrap_or(&self.folder)
    }

    /// The folder that they are in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What whoever reads the events has locked: a folder that only root can open.
    pub(super) fn reader(&self) -> PathBuf {
        self.folder.join("reader")
    }

    /// Whether anything of the hook is pinned.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.folder.is_dir()
    }

    /// Whether something is or was attached by these pins: what is known of a hook is the first pin to go.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        [Pin::State, Pin::NextState].into_iter().any(|pin| self.path(pin).symlink_metadata().is_ok())
    }

    /// The command that removes the folder, where qosbpf will not.
    #[must_use]
    pub fn removal(&self) -> String {
        bpffs::start_over(&self.folder)
    }

    /// What helps where a map of the hook is not ours, or of another version, and qosbpf removes it with the hook.
    pub(super) fn anew(&self) -> String {
        let interface = if_indextoname(self.ifindex).ok().and_then(|name| name.into_string().ok());
        let hook = format!("{}:{}", interface.unwrap_or_else(|| format!("if-{}", self.ifindex)), self.direction);
        let [detach, attach] = ["detach", "attach"].map(|verb| Command::new("qosbpf").word(verb).operand(&hook));
        format!(
            "another program or version made it; to count from zero, without the policy if no other hook has it: {}",
            detach.then(attach)
        )
    }

    /// Makes the folder.
    ///
    /// # Errors
    ///
    /// `foreign-pin`.
    pub fn make(&self) -> anyhow::Result<()> {
        self.make_parent()?;
        bpffs::make_folder(&self.folder)
    }

    /// Makes the folder of the interface, in which it is.
    ///
    /// # Errors
    ///
    /// `foreign-pin`.
    pub(super) fn make_parent(&self) -> anyhow::Result<()> {
        self.folder.parent().map_or(Ok(()), bpffs::make_folder)
    }

    /// A pin by its name, refused if it is not root's own.
    ///
    /// # Errors
    ///
    /// `foreign-pin`.
    pub fn trusted(&self, pin: Pin) -> anyhow::Result<Option<PathBuf>> {
        let path = self.path(pin);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        bpffs::check_folder(&self.folder)?;
        bpffs::check_pin(&path)?;
        Ok(Some(path))
    }

    /// Where a pin is or would be.
    #[must_use]
    pub fn path(&self, pin: Pin) -> PathBuf {
        self.folder.join(pin.name())
    }

    /// What tells a pin from one that was in its place before or comes later; `None` if it is not there.
    #[must_use]
    pub fn inode(&self, pin: Pin) -> Option<u64> {
        inode(&self.path(pin))
    }

    /// Removes a pin, if it is there.
    ///
    /// # Errors
    ///
    /// That it cannot be removed.
    pub fn remove(&self, pin: Pin) -> anyhow::Result<()> {
        remove(&self.path(pin))
    }

    /// Removes everything, the state first: without it nothing else counts as attached.
    ///
    /// # Errors
    ///
    /// That something cannot be removed; what is gone already is no fault.
    pub fn remove_all(&self) -> anyhow::Result<()> {
        if self.folder.is_symlink() {
            return remove(&self.folder);
        }
        Pin::ALL.into_iter().try_for_each(|pin| self.remove(pin))?;
        loop {
            if self.reader().is_dir() {
                remove_folder(&self.reader())?;
            }
            for leftover in names_in(&self.folder)? {
                remove(&self.folder.join(leftover))?;
            }
            match remove_folder(&self.folder) {
                // Somebody has come to read events that are not there any more.
                Err(_full) if self.reader().is_dir() => {}
                removed => return removed,
            }
        }
    }
}

/// What tells a pin from others that have had its path, or will; `None` if it is not there.
#[must_use]
pub fn inode(pin: &Path) -> Option<u64> {
    pin.symlink_metadata().ok().map(|meta| meta.ino())
}

/// Lets everybody read a pin: counters are no secret, and `stats` should need no privilege.
///
/// # Errors
///
/// That the mode cannot be changed.
pub fn readable_by_all(path: &Path) -> anyhow::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).with_context(|| path.display().to_string())
}

/// Removes a pin, if it is there.
///
/// # Errors
///
/// That it cannot be removed.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The same for a folder in which nothing is; what is none stays.
fn remove_folder(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn names_in(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
