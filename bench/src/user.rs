//! What commands take, what they need, and what stays in the kernel.

mod calls;
mod commands;
mod kernel;
mod service;
mod size;
mod traced;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail};
use nix::{time::ClockId, unistd::Pid};
use qosbpf::lab::Lab;

pub use self::{
    calls::READS,
    commands::{COLD, WARM},
    service::IDLE,
    size::STRIPPED,
};
use crate::{
    Step,
    effort::Effort,
    report::{Fact, Gap},
    samples::{Samples, Spread},
    thousand,
};

/// A policy, and another one to switch to and fro.
const A: &str =
    "version = 1\nname = \"a\"\n[interface.lan0]\ningress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
const B: &str =
    "version = 1\nname = \"b\"\n[interface.lan0]\ningress = \"t\"\n[remark.t]\nEF = \"CS5\"\nother = \"keep\"\n";

/// `qosbpf` on the router of a lab, with its own pins and no saved policy.
pub fn command(qosbpf: &Path, lab: &Lab, words: &[&str]) -> Command {
    let mut command = Command::new(qosbpf);
    command.arg("--netns").arg(lab.edge().name()).arg("--bpffs").arg(lab.bpffs());
    command.arg("--etc").arg(lab.folder()).arg("--quiet").args(words);
    // None, whoever started the measurement.
    command.env("SSH_CONNECTION", "").env_remove("SUDO_USER").stdin(Stdio::null());
    command
}

/// Measures all of it.
///
/// # Errors
///
/// That the run is to end; what fails is a gap.
pub fn measure(qosbpf: &Path, effort: &Effort, gaps: &mut Vec<Gap>, step: Step<'_>) -> anyhow::Result<Vec<Fact>> {
    let lab = Lab::start()?;
    let desk = Desk { qosbpf, lab: &lab, times: effort.commands };
    let mut found = Found { desk: &desk, facts: Vec::new(), gaps };
    found.keep(&[WARM, COLD], commands::measure(&desk, step));
    step("user: a policy of a thousand rules")?;
    found.keep(&thousand::PROMISED.map(|(name, _)| name), thousand::measure(&desk));
    step("user: system calls and memory")?;
    found.keep(&[READS], calls::measure(&desk));
    found.keep(&["memory of the kernel"], kernel::measure(&desk));
    found.keep(&[STRIPPED], size::measure(qosbpf));
    step("user: the service")?;
    found.keep(&[IDLE], service::measure(&desk, effort, step));
    step("user: done")?;
    Ok(found.facts)
}

/// What was measured, and what was not.
struct Found<'a> {
    desk: &'a Desk<'a>,
    facts: Vec<Fact>,
    gaps: &'a mut Vec<Gap>,
}

impl Found<'_> {
    /// Takes what was measured; where that failed, a gap by the names of what it should have been.
    fn keep(&mut self, names: &[&str], measured: anyhow::Result<Vec<Fact>>) {
        match measured {
            Ok(measured) => self.facts.extend(measured),
            Err(error) => {
                // What it left attached would be in the way of what comes next.
                let _left = self.desk.time(&["detach", "--all"]);
                self.gaps.extend(names.iter().map(|name| Gap::failed(*name, &error)));
            }
        }
    }
}

/// Something that was measured several times.
pub fn fact(name: impl Into<String>, unit: &'static str, value: Spread) -> Fact {
    Fact { name: name.into(), unit, value }
}

/// Something that was measured once.
fn once(name: impl Into<String>, unit: &'static str, value: f64) -> Fact {
    fact(name, unit, Spread::of(value))
}

/// Commands on the router of a lab.
pub struct Desk<'a> {
    qosbpf: &'a Path,
    /// The lab.
    pub lab: &'a Lab,
    /// How often each is measured.
    pub times: usize,
}

impl Desk<'_> {
    /// A command on its router.
    pub fn command(&self, words: &[&str]) -> Command {
        command(self.qosbpf, self.lab, words)
    }

    /// The wall-clock time of a command, in ms.
    pub fn time(&self, words: &[&str]) -> anyhow::Result<f64> {
        let start = Instant::now();
        let output = self.command(words).output().context("qosbpf")?;
        let elapsed = start.elapsed();
        if !output.status.success() {
            bail!("qosbpf {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(elapsed.as_secs_f64() * 1e3)
    }

    /// The path of a file of the lab, written anew.
    fn file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.lab.folder().join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path.display().to_string())
    }
}

/// Nanoseconds of CPU time that all threads of a process have used, those that have ended too.
fn process_ns(pid: u32) -> anyhow::Result<f64> {
    let time = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.cast_signed()))?.now()?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

/// The most memory that a process was resident with, in MiB.
fn peak(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// Several figures of each of several things.
struct Table<const ROWS: usize> {
    names: [&'static str; ROWS],
    samples: [Samples; ROWS],
}

impl<const ROWS: usize> Table<ROWS> {
    fn new(names: [&'static str; ROWS]) -> Self {
        Self { names, samples: std::array::from_fn(|_| Samples::default()) }
    }

    fn facts(&self, unit: &'static str) -> impl Iterator<Item = Fact> {
        self.names.into_iter().zip(&self.samples).map(move |(name, samples)| fact(name, unit, samples.spread()))
    }
}
