//! Network namespaces: entering one, and telling one from another.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::Path,
    thread,
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};

use crate::error::Failure;

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";
/// The one of the first process.
const HOSTS: &str = "/proc/1/ns/net";
/// The namespace that this thread is in.
pub(super) const OWN: &str = "/proc/thread-self/ns/net";
/// `PROC_PID_INIT_INO`: the inode of the process namespace that has all others in it.
const ALL_PROCESSES: u64 = 0xefff_fffc;
const OTHERS: &str = "ip netns list shows the names; a path such as /proc/PID/ns/net does as well";

/// Puts this thread, and what it starts from now on, into a network namespace; the mount namespace stays, and with it
/// the pins. Call it before any other thread runs. Who is there already needs no privilege.
///
/// # Errors
///
/// `no-such-netns`, or that this process may not enter it.
pub fn enter(name: &str) -> anyhow::Result<()> {
    let path = if name.contains('/') { Path::new(name).to_owned() } else { Path::new(NAMED).join(name) };
    let file = File::open(&path).map_err(|error| {
        Failure::new("no-such-netns", format!("network namespace {name}: {}: {error}", path.display())).hint(OTHERS)
    })?;
    if is_own(&file) {
        return Ok(());
    }
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|error| {
        let (why, hint) = match error {
            Errno::EINVAL => ("it is none".to_owned(), OTHERS),
            error => (format!("cannot enter: {error}"), "CAP_SYS_ADMIN is needed: run it as root"),
        };
        Failure::new("netns", format!("network namespace {name}: {why}")).hint(hint).into()
    })
}

/// What `--netns` takes for the namespace of a number: its name, or the path of the host's own; `None` if it has neither, or
/// may not be entered.
#[must_use]
pub fn called(number: u64) -> Option<String> {
    let names = fs::read_dir(NAMED).into_iter().flatten().flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names.push(HOSTS.to_owned());
    // The thread is of no other use afterwards.
    let has = |name: &str| enter(name).is_ok() && id().is_ok_and(|there| there == number);
    names.into_iter().find(|name| thread::scope(|scope| scope.spawn(|| has(name)).join().unwrap_or(false)))
}

/// Whether it is that of this thread.
fn is_own(namespace: &File) -> bool {
    let (there, own) = (namespace.metadata(), fs::metadata(OWN));
    there.is_ok_and(|there| own.is_ok_and(|own| (there.dev(), there.ino()) == (own.dev(), own.ino())))
}

/// A number that no other network namespace has until this host reboots.
///
/// Linux has one since 5.14, the cookie. Before that it is the inode, which a later namespace may get again; pins of a
/// namespace that is gone are recognised by their dead links, and by their age.
///
/// # Errors
///
/// That neither can be read.
pub fn id() -> anyhow::Result<u64> {
    match own_cookie()? {
        Some(cookie) => Ok(cookie),
        None => inode(),
    }
}

/// The number that no other namespace gets, of this thread's; `None` before Linux 5.14.
///
/// # Errors
///
/// That there is no socket to ask.
pub fn own_cookie() -> anyhow::Result<Option<u64>> {
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Unix,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    Ok(cookie(socket.as_fd()))
}

/// Whether the kernel tells network namespaces apart by a number that none gets again.
#[must_use]
pub fn has_cookies() -> bool {
    own_cookie().is_ok_and(|cookie| cookie.is_some())
}

fn inode() -> anyhow::Result<u64> {
    Ok(fs::metadata(OWN).context(OWN)?.ino())
}

/// Whether this namespace was there at a time, in seconds and nanoseconds: its file was. One that has neither a name nor a
/// mount may have a younger file than it is itself. The host's own is always there.
///
/// # Errors
///
/// That it cannot be read.
pub fn is_older_than(time: (i64, i64)) -> anyhow::Result<bool> {
    let own = fs::metadata(OWN).context(OWN)?;
    Ok((own.ctime(), own.ctime_nsec()) <= time || sees_all_processes() && is_hosts()?)
}

/// Whether it is that of the first process, by a file that each has of its own: who may not look at that process sees it, too.
fn is_hosts() -> anyhow::Result<bool> {
    let inode = |file: &'static str| fs::metadata(file).map(|meta| meta.ino()).context(file);
    Ok(inode("/proc/1/net/dev")? == inode("/proc/thread-self/net/dev")?)
}

/// Whether no process namespace hides any process from this one.
#[must_use]
pub fn sees_all_processes() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == ALL_PROCESSES)
}

fn cookie(socket: std::os::fd::BorrowedFd<'_>) -> Option<u64> {
    use std::os::fd::AsRawFd as _;
    /// From `asm-generic/socket.h`; libc does not have it for every target.
    const SO_NETNS_COOKIE: i32 = 71;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to a value of that size.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(cookie)
}
