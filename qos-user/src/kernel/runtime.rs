//! The runtime in which answers of the kernel and connections are waited for.

use std::{io, os::unix::net::UnixStream, sync::OnceLock};

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

/// More pairs of descriptors than the first runtime of a process takes.
const PAIRS: usize = 4;

/// A runtime on this thread.
///
/// # Errors
///
/// That this process may have too few files open.
pub fn on_this_thread() -> anyhow::Result<Runtime> {
    /// The first one makes sockets for signals, which stay, and panics where there is no room for them.
    static HAD_ROOM: OnceLock<()> = OnceLock::new();
    if HAD_ROOM.get().is_none() {
        let pairs: io::Result<Vec<_>> = (0..PAIRS).map(|_| UnixStream::pair()).collect();
        pairs.context("no room to wait for the kernel's answers")?;
        HAD_ROOM.get_or_init(|| ());
    }
    Ok(Builder::new_current_thread().enable_all().build()?)
}
