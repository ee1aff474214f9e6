//! The processes that wait for the deadlines of a router.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::router::Router;

/// How long a test waits for one to end: long enough for a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Their numbers.
///
/// # Errors
///
/// That /proc cannot be read.
pub fn of(router: &Router) -> anyhow::Result<Vec<i32>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    Ok(pids.filter(|pid| is_timer(*pid, &router.bpffs)).collect())
}

/// Waits until none of them is left.
///
/// # Errors
///
/// That one stays.
pub fn wait_until_gone(router: &Router) -> anyhow::Result<()> {
    let start = Instant::now();
    while !of(router)?.is_empty() {
        ensure!(start.elapsed() < PATIENCE, "still there");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Kills them, and waits until they are gone; how many there were.
///
/// # Errors
///
/// That one stays.
pub fn kill_all(router: &Router) -> anyhow::Result<usize> {
    let timers = of(router)?;
    for pid in &timers {
        // It may have ended by itself.
        let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    wait_until_gone(router)?;
    Ok(timers.len())
}

fn is_timer(pid: i32, bpffs: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<_> = line.split(|byte| *byte == 0).collect();
    words.contains(&&b"timer"[..]) && words.contains(&bpffs.as_os_str().as_encoded_bytes())
}
