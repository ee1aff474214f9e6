//! A forwarding router of network namespaces, and what marking costs there, all of it: driver, stack and other end.
//!
//! Generator, router and sink work on one CPU, in the thread that sends and in its ksoftirqd, and their CPU time is the
//! price. Candidates are installed and removed in turn, in every round.

pub mod afterwards;
mod candidate;
mod gate;
mod job;
mod ruleset;
mod shot;
mod switch;

use std::path::Path;

use anyhow::Context as _;
use qosbpf::lab::{Lab, namespace::Namespace};

pub use self::candidate::run;
use self::{
    candidate::{Candidate, Installer},
    job::JOBS,
    shot::Range,
};
use crate::{
    Step,
    compile::Objects,
    cpu,
    effort::Effort,
    program::row,
    report::{Gap, Job, Routed, Switch},
    samples::{Samples, order},
};

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures {
    /// By job.
    pub jobs: Vec<Job>,
    /// Policies switched under load.
    pub switch: Option<Switch>,
    /// What this machine cannot do.
    pub gaps: Vec<Gap>,
}

/// Measures all jobs.
///
/// # Errors
///
/// That the lab cannot be built; a gate that qosbpf or a floor did not pass.
pub fn measure(objects: &Objects, qosbpf: &Path, effort: &Effort, step: Step<'_>) -> anyhow::Result<Figures> {
    let lab = Lab::start()?;
    offloads(lab.edge())?;
    let cpu = *cpu::usable()?.last().context("no CPU")?;
    let mut figures = Figures::default();
    for job in JOBS {
        step(&format!("router: {}", job.name))?;
        let mut installer = Installer::new(&lab, objects, qosbpf, job);
        let result = lab.lan().run(|| {
            cpu::pin(cpu)?;
            let mut range = Range::new(&lab, objects, job, cpu)?;
            Course { job, effort, installer: &mut installer, range: &mut range }.run(step)
        });
        let (measured, gaps) = result.with_context(|| job.name)?;
        figures.jobs.push(measured);
        figures.gaps.extend(gaps);
    }
    if let Some(job) = JOBS.iter().find(|job| job.cycle) {
        step("router: policies switched under load")?;
        let switch = lab.lan().run(|| {
            let mut range = Range::new(&lab, objects, job, cpu)?;
            let packets = switch::under_load(&lab, qosbpf, job, effort, (&mut range, cpu))?;
            step("router: the program that a switch leaves")?;
            let afterwards = afterwards::measure(&lab, qosbpf, effort)?;
            Ok(Switch { switches: effort.commands, packets, afterwards })
        });
        figures.switch = Some(switch?);
    }
    Ok(figures)
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
    installer: &'a mut Installer<'b>,
    range: &'a mut Range,
}

/// A candidate and what has been measured of it.
struct Runner {
    candidate: Candidate,
    samples: Samples,
    packets: u64,
    /// Why it is out of the race.
    failed: Option<String>,
}

impl Course<'_, '_> {
    fn run(&mut self, step: Step<'_>) -> anyhow::Result<(Job, Vec<Gap>)> {
        let (mut runners, mut gaps) = (Vec::new(), Vec::new());
        for candidate in self.job.candidates() {
            match self.round(&candidate) {
                Ok(_) => runners.push(Runner { candidate, samples: Samples::default(), packets: 0, failed: None }),
                Err(error) if candidate.must_work() => return Err(error.context(candidate.name())),
                Err(error) => gaps.push(self.gap(candidate, &first_line(&error))),
            }
        }
        for round in 0..self.effort.router_rounds {
            step(&format!("router: {}, round {} of {}", self.job.name, round + 1, self.effort.router_rounds))?;
            for index in order(round, runners.len()) {
                self.turn(&mut runners[index])?;
            }
        }
        gaps.extend(runners.iter().filter_map(|runner| Some(self.gap(runner.candidate, runner.failed.as_ref()?))));
        runners.retain(|runner| runner.failed.is_none());
        Ok((self.rows(&runners)?, gaps))
    }

    fn gap(&self, candidate: Candidate, why: &str) -> Gap {
        Gap::new(format!("router, {}: {}", self.job.name, candidate.name()), why)
    }

    /// A candidate's turn in a round. One that fails ends the run if it is of this repository, else itself alone.
    fn turn(&mut self, runner: &mut Runner) -> anyhow::Result<()> {
        if runner.failed.is_some() {
            return Ok(());
        }
        match self.round(&runner.candidate) {
            Ok((ns, packets)) => {
                runner.samples.push(ns);
                runner.packets += packets;
            }
            Err(error) if runner.candidate.must_work() => return Err(error.context(runner.candidate.name())),
            Err(error) => runner.failed = Some(first_line(&error)),
        }
        Ok(())
    }

    /// One candidate in one round: installed, warmed, measured and removed.
    fn round(&mut self, candidate: &Candidate) -> anyhow::Result<(f64, u64)> {
        let result = self.installer.install(candidate).and_then(|()| self.shots(candidate));
        let removed = self.installer.remove(candidate);
        let figures = result?;
        removed?;
        Ok(figures)
    }

    fn shots(&mut self, candidate: &Candidate) -> anyhow::Result<(f64, u64)> {
        let mut samples = Samples::default();
        let mut packets = 0;
        self.range.shoot(self.effort.packets / 4 / 64 * 64)?;
        for _ in 0..self.effort.shots {
            let shot = self.range.shoot(self.effort.packets)?;
            gate::check(&shot, self.job, candidate)?;
            samples.push(shot.cpu_ns / shot.sent as f64);
            packets += shot.sent;
        }
        Ok((samples.quantile(0.25), packets))
    }

    fn rows(&self, runners: &[Runner]) -> anyhow::Result<Job> {
        let first = &runners.first().context("no candidates")?.samples;
        let rows = runners.iter().map(|runner| Routed {
            row: row(runner.candidate.name(), &runner.samples, first),
            ratio: runner.samples.paired(first, |this, first| this / first).spread(),
            packets: runner.packets,
        });
        Ok(Job { name: self.job.name, what: self.job.what, rows: rows.collect() })
    }
}

fn first_line(error: &anyhow::Error) -> String {
    format!("{error:#}").lines().next().unwrap_or_default().to_owned()
}
