//! CPU time, priced where it is spent: other tenants of a CPU slow the wall clock, and hardly this.

use std::{
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    time::ClockId,
    unistd::Pid,
};

/// The CPUs that this process may use.
///
/// # Errors
///
/// What the kernel says.
pub fn usable() -> nix::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Keeps this thread on one CPU.
///
/// # Errors
///
/// What the kernel says.
pub fn pin(cpu: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Nanoseconds of CPU time that this thread has used.
///
/// # Errors
///
/// What the kernel says.
pub fn thread_ns() -> nix::Result<f64> {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now()?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

/// The thread that does what a CPU has put off of its network work.
#[derive(Clone, Debug)]
pub struct SoftIrq(PathBuf);

impl SoftIrq {
    /// That of a CPU.
    ///
    /// # Errors
    ///
    /// That there is none, or no /proc.
    pub fn of(cpu: usize) -> anyhow::Result<Self> {
        let wanted = format!("ksoftirqd/{cpu}\n");
        for entry in fs::read_dir("/proc").context("/proc")? {
            let path = entry?.path();
            if fs::read_to_string(path.join("comm")).is_ok_and(|name| name == wanted) {
                return Ok(Self(path));
            }
        }
        anyhow::bail!("no thread {}", wanted.trim())
    }

    fn read(&self, name: &str) -> anyhow::Result<String> {
        let path = self.0.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// Nanoseconds of CPU time that it has used.
    ///
    /// # Errors
    ///
    /// That it cannot be read.
    pub fn ns(&self) -> anyhow::Result<f64> {
        let text = self.read("schedstat")?;
        let first = text.split_whitespace().next().context("schedstat is empty")?;
        Ok(first.parse()?)
    }

    /// Waits until it sleeps: then what was put off is done, and its CPU time is whole.
    fn settle(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        while !is_asleep(&self.read("stat")?) {
            ensure!(start.elapsed() < PATIENCE, "ksoftirqd has not come to an end for {PATIENCE:?}");
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

/// How long what was put off may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The state behind the name, which is in brackets (proc_pid_stat(5)).
fn is_asleep(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['S', 'I']))
}

/// What a piece of network work costs on this thread and, where it was put off, on `softirq`.
///
/// # Errors
///
/// Those of `work`, that a clock cannot be read, or that what was put off does not end.
pub fn price<T>(softirq: &SoftIrq, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    softirq.settle()?;
    let (before, put_off) = (thread_ns()?, softirq.ns()?);
    let result = work()?;
    let ns = thread_ns()? - before;
    // Sleeping lets it have the CPU, if it waits for that.
    thread::sleep(Duration::from_micros(200));
    softirq.settle()?;
    Ok((result, ns + softirq.ns()? - put_off))
}

/// The text of a small file of the kernel's, if it has it.
pub fn kernel_text(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_sleeps_if_its_state_says_so() {
        assert!(is_asleep("23 (ksoftirqd/1) S 2 0 0"));
        assert!(!is_asleep("23 (ksoftirqd/1) R 2 0 0"));
        assert!(!is_asleep("23 (a) S) R 2 0 0") && !is_asleep(""));
    }
}
