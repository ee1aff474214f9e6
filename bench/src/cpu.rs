//! CPU time, priced where it is spent: other tenants of a CPU slow the wall clock, and hardly this.

use std::{fs, io, thread, time::Duration};

use anyhow::Context as _;
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
pub struct SoftIrq(String);

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
                return Ok(Self(path.join("schedstat").display().to_string()));
            }
        }
        anyhow::bail!("no thread {}", wanted.trim())
    }

    /// Nanoseconds of CPU time that it has used.
    ///
    /// # Errors
    ///
    /// That it cannot be read.
    pub fn ns(&self) -> anyhow::Result<f64> {
        let text = fs::read_to_string(&self.0).with_context(|| self.0.clone())?;
        let first = text.split_whitespace().next().context("schedstat is empty")?;
        Ok(first.parse()?)
    }
}

/// What a piece of network work costs on this thread and, where it was put off, on `softirq`.
///
/// # Errors
///
/// Those of `work`, or that a clock cannot be read.
pub fn price<T>(softirq: &SoftIrq, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let (before, put_off) = (thread_ns()?, softirq.ns()?);
    let result = work()?;
    // What was put off is done within a tick.
    thread::sleep(Duration::from_millis(2));
    Ok((result, thread_ns()? - before + softirq.ns()? - put_off))
}

/// The text of a small file of the kernel's, if it has it.
pub fn kernel_text(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}
