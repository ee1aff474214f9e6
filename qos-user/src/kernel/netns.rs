//! Network namespaces: entering one, and telling one from another.

use std::{fs::File, os::fd::AsFd, path::Path};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};

use crate::error::Failure;

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";
const OTHERS: &str = "ip netns list shows the names; a path such as /proc/PID/ns/net does as well";

/// Puts this thread, and what it starts from now on, into a network namespace; the mount namespace stays, and with it
/// the pins. Call it before any other thread runs.
///
/// # Errors
///
/// `no-such-netns`, or that this process may not enter it.
pub fn enter(name: &str) -> anyhow::Result<()> {
    let path = if name.contains('/') { Path::new(name).to_owned() } else { Path::new(NAMED).join(name) };
    let file = File::open(&path).map_err(|error| {
        Failure::new("no-such-netns", format!("network namespace {name}: {}: {error}", path.display())).hint(OTHERS)
    })?;
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|error| {
        let (why, hint) = match error {
            Errno::EINVAL => ("it is none".to_owned(), OTHERS),
            error => (format!("cannot enter: {error}"), "CAP_SYS_ADMIN is needed: run it as root"),
        };
        Failure::new("netns", format!("network namespace {name}: {why}")).hint(hint).into()
    })
}

/// A number that no other network namespace has until this host reboots.
///
/// Linux has one since 5.14, the cookie. Before that it is the inode, which a later namespace may get again; pins of a
/// namespace that is gone are recognised by their dead links.
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

fn own_cookie() -> anyhow::Result<Option<u64>> {
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
    use std::os::unix::fs::MetadataExt as _;
    let path = "/proc/thread-self/ns/net";
    Ok(std::fs::metadata(path).context(path)?.ino())
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
