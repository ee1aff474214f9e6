//! A forwarding router of network namespaces, and what marking costs there, all of it: driver, stack and other end.
//!
//! Generator, router and sink work on one CPU, in the thread that sends and in its ksoftirqd, and their CPU time is the
//! price. Candidates are installed and removed in turn, in every round.

pub mod afterwards;
pub mod candidate;
mod counted;
mod gate;
mod job;
mod ruleset;
mod shot;
mod switch;

use std::path::Path;

use anyhow::Context as _;
use qosbpf::{
    kernel::sys::has_tcx,
    lab::{Lab, namespace::Namespace},
};

pub use self::candidate::run;
use self::{
    candidate::{Candidate, Installer, run_command},
    job::JOBS,
    shot::Range,
};
use crate::{
    Step,
    compile::Objects,
    cpu,
    effort::Effort,
    output,
    program::row,
    report::{Gap, Job, Routed, Switch},
    samples::{Samples, mean, noise, order},
};

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures {
    /// By job.
    pub jobs: Vec<Job>,
    /// Policies switched under load, by hook.
    pub switch: Vec<Switch>,
    /// What this machine cannot do, and what failed.
    pub gaps: Vec<Gap>,
}

/// Measures all jobs; one that fails is a gap, and the others are measured all the same.
///
/// # Errors
///
/// That the lab cannot be built, or that the run is to end.
pub fn measure(objects: &Objects, qosbpf: &Path, effort: &Effort, step: Step<'_>) -> anyhow::Result<Figures> {
    let lab = Lab::start()?;
    offloads(lab.edge())?;
    let ground =
        Ground { lab: &lab, objects, qosbpf, effort, cpu: *cpu::usable()?.last().context("no CPU")?, tcx: has_tcx(1)? };
    let mut figures = Figures::default();
    for job in JOBS {
        step(&format!("router: {}", job.name))?;
        match ground.job(job, step) {
            Ok((measured, gaps)) => {
                figures.jobs.push(measured);
                figures.gaps.extend(gaps);
            }
            Err(error) => figures.gaps.push(Gap::failed(format!("router, {}", job.name), &error)),
        }
    }
    for (hook, word) in [("XDP", "xdp"), ("TCX", "tcx")] {
        step(&format!("router: policies switched under load, {hook}"))?;
        let what = format!("router, switch, {hook}");
        if word == "tcx" && !ground.tcx {
            figures.gaps.push(Gap::new(what, NO_TCX));
            continue;
        }
        match ground.switch(hook, word) {
            Ok(switch) => figures.switch.push(switch),
            Err(error) => figures.gaps.push(Gap::failed(what, &error)),
        }
    }
    step("router: done")?;
    Ok(figures)
}

const NO_TCX: &str = "this kernel has no TCX (Linux 6.6)";

/// What all jobs have in common.
struct Ground<'a> {
    lab: &'a Lab,
    objects: &'a Objects,
    qosbpf: &'a Path,
    effort: &'a Effort,
    cpu: usize,
    /// Whether the kernel has TCX.
    tcx: bool,
}

impl Ground<'_> {
    fn job(&self, job: &'static job::Spec, step: Step<'_>) -> anyhow::Result<(Job, Vec<Gap>)> {
        let Self { lab, objects, qosbpf, effort, cpu, tcx } = *self;
        let mut installer = Installer::new(lab, objects, qosbpf, job);
        lab.lan().run(|| {
            cpu::pin(cpu)?;
            let mut range = Range::new(lab, objects, job, cpu)?;
            Course { job, effort, tcx, installer: &mut installer, range: &mut range }.run(step)
        })
    }

    fn switch(&self, hook: &'static str, word: &str) -> anyhow::Result<Switch> {
        let Self { lab, objects, qosbpf, effort, cpu, .. } = *self;
        let job = JOBS.iter().find(|job| job.cycle).context("no job with all codepoints")?;
        lab.lan().run(|| {
            let mut range = Range::new(lab, objects, job, cpu)?;
            let met = switch::Load { lab, qosbpf, job, effort, cpu, word }.apply(&mut range);
            let met = ending(lab, qosbpf, met)?;
            let afterwards = ending(lab, qosbpf, afterwards::measure(lab, qosbpf, effort, word))?;
            let switch::Met { bursts, packets, lost } = met;
            Ok(Switch { hook, switches: effort.commands, bursts, packets, lost, afterwards })
        })
    }
}

/// What came of it, once nothing is attached any more.
fn ending<T>(lab: &Lab, qosbpf: &Path, result: anyhow::Result<T>) -> anyhow::Result<T> {
    let detached = run_command(&mut crate::user::command(qosbpf, lab, &["detach", "--all"]), "");
    let value = result?;
    detached.map(|()| value)
}

/// With GRO on, the device takes redirected frames whether or not it has an XDP program, and always by NAPI.
fn offloads(edge: &Namespace) -> anyhow::Result<()> {
    edge.run(|| {
        for device in ["lan0", "wan0"] {
            run("ethtool", &["-K", device, "gro", "on"], "")?;
        }
        Ok(())
    })
}

/// A job with all its candidates.
struct Course<'a, 'b> {
    job: &'static job::Spec,
    effort: &'a Effort,
    tcx: bool,
    installer: &'a mut Installer<'b>,
    range: &'a mut Range,
}

/// A candidate and what has been measured of it.
struct Runner {
    candidate: Candidate,
    samples: Samples,
    packets: u64,
    /// Why it is out of the race.
    failed: Option<Gap>,
}

/// Why a candidate has no figure.
enum Trouble {
    /// It cannot be installed.
    Absent(anyhow::Error),
    /// It does not do its job.
    Wrong(anyhow::Error),
}

impl Course<'_, '_> {
    fn run(&mut self, step: Step<'_>) -> anyhow::Result<(Job, Vec<Gap>)> {
        let mut runners: Vec<Runner> = self.job.candidates().into_iter().map(|each| self.enter(each)).collect();
        for round in 0..self.effort.router_rounds {
            step(&format!("router: {}, round {} of {}", self.job.name, round + 1, self.effort.router_rounds))?;
            for index in order(round, runners.len()) {
                self.turn(&mut runners[index]);
            }
        }
        let (failed, runners): (Vec<Runner>, Vec<Runner>) =
            runners.into_iter().partition(|runner| runner.failed.is_some());
        Ok((self.rows(&runners)?, failed.into_iter().filter_map(|runner| runner.failed).collect()))
    }

    /// A candidate for the race; one that cannot be installed or does not do its job is out of it.
    fn enter(&mut self, candidate: Candidate) -> Runner {
        let mut runner = Runner { candidate, samples: Samples::default(), packets: 0, failed: None };
        if candidate.is_tcx() && !self.tcx {
            runner.failed = Some(Gap::new(self.name(candidate), NO_TCX));
            return runner;
        }
        if let Err(trouble) = self.round(&candidate) {
            runner.failed = Some(self.gap(candidate, trouble));
        }
        runner
    }

    fn name(&self, candidate: Candidate) -> String {
        format!("router, {}: {}", self.job.name, candidate.name())
    }

    /// What is not of this repository may be missing in a kernel, and that is no failure.
    fn gap(&self, candidate: Candidate, trouble: Trouble) -> Gap {
        let (error, declared) = match trouble {
            Trouble::Absent(error) => (error, !candidate.is_ours()),
            Trouble::Wrong(error) => (error, false),
        };
        let gap = Gap { declared, ..Gap::failed(self.name(candidate), &error) };
        output::progress(&format!("{}: {}", gap.what, gap.why));
        gap
    }

    /// A candidate's turn in a round. One that fails is out.
    fn turn(&mut self, runner: &mut Runner) {
        if runner.failed.is_some() {
            return;
        }
        match self.round(&runner.candidate) {
            Ok((ns, packets)) => {
                runner.samples.push(ns);
                runner.packets += packets;
            }
            // It could be installed before.
            Err(Trouble::Absent(error) | Trouble::Wrong(error)) => {
                runner.failed = Some(self.gap(runner.candidate, Trouble::Wrong(error)));
            }
        }
    }

    /// One candidate in one round: installed, warmed, measured, asked what it has counted, and removed.
    fn round(&mut self, candidate: &Candidate) -> Result<(f64, u64), Trouble> {
        let installed = self.installer.install(candidate);
        let figures = installed.map_err(Trouble::Absent).and_then(|()| self.shots(candidate).map_err(Trouble::Wrong));
        let removed = self.installer.remove(candidate);
        let figures = figures?;
        removed.map_err(Trouble::Wrong)?;
        Ok(figures)
    }

    fn shots(&mut self, candidate: &Candidate) -> anyhow::Result<(f64, u64)> {
        let mut samples = Samples::default();
        let warm = self.range.shoot(self.effort.packets / 4 / 64 * 64)?;
        let mut packets = 0;
        for _ in 0..self.effort.shots {
            let shot = self.range.shoot(self.effort.packets)?;
            gate::check(&shot, self.job, candidate)?;
            samples.push(shot.cpu_ns / shot.sent as f64);
            packets += shot.sent;
        }
        gate::counted(warm.sent + packets, self.installer.counted(candidate)?)?;
        Ok((samples.quantile(0.25), packets))
    }

    /// The first two are routers that mark nothing, and what all are compared with is the middle of both.
    fn rows(&self, runners: &[Runner]) -> anyhow::Result<Job> {
        let samples = |wanted| {
            let found = runners.iter().find(|runner| runner.candidate == wanted).map(|runner| &runner.samples);
            found.context("a router without marking has failed")
        };
        let (first, again) = (samples(Candidate::Nothing)?, samples(Candidate::Twin)?);
        let base = mean(first, again);
        let rows = runners.iter().map(|runner| Routed {
            row: row(runner.candidate.name(), &runner.samples, &base),
            ratio: runner.samples.paired(&base, |this, base| this / base).spread(),
            packets: runner.packets,
        });
        Ok(Job { name: self.job.name, what: self.job.what, rows: rows.collect(), noise: noise(first, again) })
    }
}
