//! The bpf file system: mounted where it is not, and trusted only where nobody else can have written.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::{
        stat::{major, minor},
        statfs::{BPF_FS_MAGIC, statfs},
        statvfs::{FsFlags, statvfs},
    },
    unistd::{AccessFlags, access},
};

use super::{
    mounts::{self, Mount},
    shortage,
};
use crate::{command::Command, error::Failure};

/// Where it mostly is.
pub const DEFAULT: &str = "/sys/fs/bpf";

/// Whether a bpf file system is mounted at `path`.
#[must_use]
pub fn is_mounted(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}

/// Which bpf file system is at `path`. No other one has its number as long as it is mounted anywhere, also where another one
/// is mounted over it; once it is not, the next one may get the number.
#[must_use]
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    is_mounted(path).then(|| fs::metadata(path).ok().map(|root| (root.dev(), root.ino()))).flatten()
}

/// Whether another mount hides the bpf file system that was at `path`. If that cannot be said, it may be so.
#[must_use]
pub fn is_hidden(before: (u64, u64), path: &Path) -> bool {
    if identity(path) == Some(before) {
        return false;
    }
    let Ok(mounts) = mounted_at(path) else { return true };
    let device = format!("{}:{}", major(before.0), minor(before.0));
    mounts.iter().any(|mount| mount.device == device)
}

/// Whether what is mounted there, be it a bpf file system or not, is mounted over another bpf file system, which is hidden
/// with all its pins.
#[must_use]
pub fn covers_another(path: &Path) -> bool {
    let Ok(mounts) = mounted_at(path) else { return false };
    let bpf: BTreeSet<String> = mounts.into_iter().filter(|mount| mount.is_bpf).map(|mount| mount.device).collect();
    bpf.len() > usize::from(is_mounted(path))
}

/// What is mounted at `path`, one over the other.
fn mounted_at(path: &Path) -> io::Result<Vec<Mount>> {
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Ok(mounts::all()?.into_iter().filter(|mount| mount.place == place).collect())
}

/// Refuses to judge what has no pin where pins are hidden below another mount.
///
/// # Errors
///
/// `hidden-pins`, with the command that shows them.
pub fn refuse_covering(path: &Path) -> anyhow::Result<()> {
    if !covers_another(path) {
        return Ok(());
    }
    let message =
        format!("what is mounted at {} is over a bpf file system, and hides what is pinned in it", path.display());
    Err(Failure::new("hidden-pins", message).hint(Command::new("umount").word(path.display()).to_string()).into())
}

/// The bpf file system that has to be mounted before there can be a folder at `path`: the kernel has the usual place for it
/// in sysfs, which takes no folders.
#[must_use]
pub fn base_of(path: &Path) -> Option<&'static Path> {
    let base = Path::new(DEFAULT);
    (path != base && path.starts_with(base) && !path.exists() && !is_mounted(base)).then_some(base)
}

/// Mounts a bpf file system at `path` if there is none, and before that the one that it is to be in.
///
/// # Errors
///
/// `bpffs-private`, where the mount would vanish with this process; `bpffs-not-empty`, where it would hide what is
/// there; `bpffs`, with what the file system or mount(2) says.
pub fn ensure_mounted(path: &Path) -> anyhow::Result<()> {
    if is_mounted(path) {
        return refuse_read_only(path);
    }
    refuse_hidden(path)?;
    refuse_covering(path)?;
    base_of(path).map_or(Ok(()), ensure_mounted)?;
    if path.exists() {
        refuse_in_use(path)?;
    } else {
        fs::create_dir(path).map_err(|error| not_made(path, &error))?;
    }
    mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), Some("mode=0755"))
        .map_err(|error| Failure::new("bpffs", format!("mount a bpf file system at {}: {error}", path.display())))?;
    tracing::info!(path = %path.display(), "mounted a bpf file system");
    Ok(())
}

fn not_made(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::new("bpffs", format!("create {} for a bpf file system: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::NotFound => failure.hint(Command::new("mkdir -p").word(path.display()).to_string()),
        _ => failure.hint("--bpffs names another place"),
    }
}

/// Refuses a bpf file system in which nothing can be written down, before anything is changed.
///
/// # Errors
///
/// `bpffs`.
pub fn refuse_read_only(path: &Path) -> anyhow::Result<()> {
    if is_read_only(path) {
        let message = format!("{} is a read-only file system: no change can be written down", path.display());
        return Err(Failure::new("bpffs", message)
            .hint(Command::new("mount -o remount,rw").word(path.display()).to_string())
            .into());
    }
    Ok(())
}

/// Whether nothing can be written there.
#[must_use]
pub fn is_read_only(path: &Path) -> bool {
    statvfs(path).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_RDONLY))
}

/// The error that says that this process may not even pass the bpf file system: systemd mounts it for root alone.
#[must_use]
pub fn closed(path: &Path) -> Option<anyhow::Error> {
    let may_pass = access(path, AccessFlags::X_OK);
    (is_mounted(path) && may_pass == Err(Errno::EACCES)).then(|| {
        let open = Command::new("chmod o+x").word(path.display());
        Failure::new("privilege", format!("{} is for root alone, as systemd mounts it", path.display()))
            .hint(format!("run it as root; or let everybody read what is counted, as root: {open}"))
            .into()
    })
}

/// A mistyped `--bpffs` must not hide somebody's files below a mount.
fn refuse_in_use(path: &Path) -> anyhow::Result<()> {
    let ours = fs::metadata(path).is_ok_and(|meta| meta.uid() == 0);
    if path == Path::new(DEFAULT) || ours && fs::read_dir(path).is_ok_and(|mut names| names.next().is_none()) {
        return Ok(());
    }
    let message = format!("{} is neither a bpf file system nor an empty folder of root's", path.display());
    Err(Failure::new("bpffs-not-empty", message)
        .hint("a mount would hide what is in it; --bpffs names another place")
        .into())
}

/// Refuses to look for pins, or to make some, where a private mount namespace hides the bpf file system.
///
/// # Errors
///
/// `bpffs-private`: pins elsewhere are not to be seen, and one made here would vanish with this process.
pub fn refuse_hidden(path: &Path) -> anyhow::Result<()> {
    if is_mounted(path) || !in_private_mount_namespace() {
        return Ok(());
    }
    Err(Failure::new(
        "bpffs-private",
        format!("{} is no bpf file system in this shell's mount namespace, which ends with it", path.display()),
    )
    .hint("`ip netns exec` hides it: run qosbpf outside, with --netns NAME")
    .into())
}

/// A mount namespace of its own, such as `ip netns exec` gives: a process above this one does not see what is mounted
/// here. Whose namespace cannot be read is not asked; init's often cannot.
fn in_private_mount_namespace() -> bool {
    let namespace = |process: &str| fs::metadata(format!("/proc/{process}/ns/mnt")).map(|file| file.ino()).ok();
    let Some(ours) = namespace("self") else { return false };
    let ancestors = std::iter::successors(parent("self"), |process| parent(process));
    ancestors.filter_map(|process| namespace(&process)).any(|theirs| theirs != ours)
}

fn parent(process: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    (parent != "0").then(|| parent.to_owned())
}

/// Makes a folder that only root writes to and everybody reads, or takes the one that is there.
///
/// # Errors
///
/// What [`check_folder`] finds.
pub fn make_folder(path: &Path) -> anyhow::Result<()> {
    make(path, 0o755)
}

/// Makes a folder that only root opens, or takes the one that is there.
///
/// # Errors
///
/// What [`check_folder`] finds.
pub fn make_private_folder(path: &Path) -> anyhow::Result<()> {
    make(path, 0o700)
}

fn make(path: &Path, mode: u32) -> anyhow::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        // The umask may have taken more away than readers can do without.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            let made = Err(error).with_context(|| format!("create {}", path.display()));
            return made.map_err(|error| shortage::named(format_args!("the folder {}", path.display()), error));
        }
    }
    check_folder(path)
}

/// Refuses a folder that somebody else could have filled: bpffs is often writable by all.
///
/// # Errors
///
/// `foreign-pin`, naming the folder and what is wrong with it.
pub fn check_folder(path: &Path) -> anyhow::Result<()> {
    fault_of(path)?.map_or(Ok(()), |fault| Err(foreign(path, fault)))
}

/// What is wrong with a folder that somebody else could have filled.
///
/// # Errors
///
/// That there is none, or what the file system says.
pub fn fault_of(path: &Path) -> anyhow::Result<Option<&'static str>> {
    let meta = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    Ok(if meta.file_type().is_symlink() {
        Some("is a symbolic link")
    } else if !meta.is_dir() {
        Some("is not a folder")
    } else if meta.uid() != 0 {
        Some("does not belong to root")
    } else if meta.mode() & 0o022 != 0 {
        Some("can be written by others than root")
    } else {
        None
    })
}

/// Whether nothing but its mode is wrong with a folder: others may write to it, and it and all that is in it is root's.
#[must_use]
pub fn is_only_open(path: &Path) -> bool {
    let meta = fs::symlink_metadata(path);
    meta.is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o022 != 0) && belongs_to_root(path)
}

/// Whether it and all that is in it is root's: folders, files or pins, and the sockets of services.
fn belongs_to_root(path: &Path) -> bool {
    let Ok(meta) = fs::symlink_metadata(path) else { return false };
    let each = |name: io::Result<fs::DirEntry>| name.is_ok_and(|name| belongs_to_root(&name.path()));
    let is_plain = meta.is_file() || meta.file_type().is_socket();
    meta.uid() == 0 && (is_plain || meta.is_dir() && fs::read_dir(path).is_ok_and(|mut names| names.all(each)))
}

/// What helps against a folder or a pin that is refused. Where it is root's, only its mode is to be mended: to remove it
/// would stop the datapath, which runs.
fn remedy(path: &Path) -> String {
    if is_only_open(path) {
        return format!("look who did it; to close it: {}", Command::new("chmod go-w").word(path.display()));
    }
    start_over(path)
}

/// What helps where qosbpf will not remove a folder or a pin.
#[must_use]
pub fn start_over(path: &Path) -> String {
    let removal = Command::new("rm -r").word(path.display());
    format!(
        "look who made it; to start over, which ends what marks by it until qosbpf run attaches it again: {removal}"
    )
}

/// Refuses a pin that is not a plain file of root's.
///
/// # Errors
///
/// `foreign-pin`, naming the pin and what is wrong with it.
pub fn check_pin(path: &Path) -> anyhow::Result<()> {
    let meta = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    if !meta.is_file() {
        return Err(foreign(path, "is not a pin"));
    }
    if meta.uid() != 0 {
        return Err(foreign(path, "does not belong to root"));
    }
    Ok(())
}

fn foreign(path: &Path, fault: &str) -> anyhow::Error {
    Failure::new("foreign-pin", format!("{} {fault}: refused", path.display())).hint(remedy(path)).into()
}
