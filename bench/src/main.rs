//! Measures qosbpf: programs against floors in C, a router against other tools, commands, and several CPUs.
//!
//! It is started by `cargo xtask bench`, which builds it and installs what it needs.

mod compile;
mod cpu;
mod effort;
mod frames;
mod gaps;
mod goals;
mod machine;
mod output;
mod program;
mod render;
mod report;
mod router;
mod samples;
mod scaling;
mod thousand;
mod user;
mod walks;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use qosbpf::lab::interrupt::Interrupt;

use self::{
    compile::Objects,
    effort::Effort,
    report::{Gap, Report},
    walks::Pair,
};

/// Says what is done next, and ends the run where it should end.
type Step<'a> = &'a mut (dyn FnMut(&str) -> anyhow::Result<()> + Send);

#[derive(Parser)]
#[command(name = "qosbpf-bench", about = "Measures qosbpf; started by cargo xtask bench")]
struct Cli {
    /// About a minute: whether everything works, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Part>,
    /// The binary to measure.
    #[arg(long)]
    qosbpf: PathBuf,
    /// Where bench.json, performance.md and the charts go.
    #[arg(long)]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Program,
    Disassembly,
    Rules,
    Router,
    User,
    Scaling,
}

impl Part {
    /// What it is called in gaps; the name of what is in it begins with it.
    const fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Disassembly => "disassembly",
            Self::Rules => "rules",
            Self::Router => "router",
            Self::User => "user",
            Self::Scaling => "scaling",
        }
    }
}

impl Cli {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    const fn effort(&self) -> &'static Effort {
        if self.quick { &Effort::QUICK } else { &Effort::FULL }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    ensure!(nix::unistd::geteuid().is_root(), "programs are loaded and namespaces made here: run it as root");
    let interrupt = Interrupt::listen()?;
    let result = measure(&cli, &interrupt);
    // What was made is taken back by now.
    interrupt.obey()?;
    let (report, pairs) = result?;
    output::write(&report, &cli.output)?;
    output::listings(&report, &pairs, &cli.output)?;
    output::verdict(&report);
    Ok(if output::is_whole(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All parts that are wanted; one that fails is a gap, and the others are measured all the same.
fn measure(cli: &Cli, interrupt: &Interrupt) -> anyhow::Result<(Report, Vec<Pair>)> {
    let objects = Objects::build()?;
    let machine = machine::describe(&objects.compiler);
    let not_measured = gaps::known(machine.cpus, |part| cli.wants(part));
    let report = Report { schema: 2, machine, effort: cli.effort().name, not_measured, ..Report::default() };
    let mut run = Run { cli, interrupt, objects, report, pairs: Vec::new() };
    run.part(Part::Program, Run::program)?;
    run.part(Part::Disassembly, Run::disassembly)?;
    run.part(Part::Rules, Run::rules)?;
    run.part(Part::Router, Run::router)?;
    run.part(Part::User, Run::user)?;
    run.part(Part::Scaling, Run::scaling)?;
    let Run { mut report, pairs, .. } = run;
    // A quick run says whether everything works; what it costs is not to be had in a minute.
    report.goals = if cli.quick { Vec::new() } else { goals::judge(&report) };
    Ok((report, pairs))
}

/// A run, and what it has found so far.
struct Run<'a> {
    cli: &'a Cli,
    interrupt: &'a Interrupt,
    objects: Objects,
    report: Report,
    pairs: Vec<Pair>,
}

impl Run<'_> {
    /// Measures a part if it is wanted; fails only if the run is to end.
    fn part(&mut self, part: Part, measure: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        if !self.cli.wants(part) {
            return Ok(());
        }
        let result = measure(self);
        self.interrupt.check()?;
        if let Err(error) = result {
            output::progress(&format!("{} failed: {error:#}", part.name()));
            self.report.not_measured.push(Gap::failed(part.name(), &error));
        }
        Ok(())
    }

    fn program(&mut self) -> anyhow::Result<()> {
        let Self { cli, interrupt, objects, report, .. } = self;
        let (mut step, gaps) = (stepper(interrupt), &mut report.not_measured);
        report.program = on_last_cpu(|| program::measure(objects, cli.effort(), gaps, &mut step))?;
        Ok(())
    }

    fn disassembly(&mut self) -> anyhow::Result<()> {
        self.pairs = walks::all(&self.objects)?;
        self.report.walks = self.pairs.iter().map(Pair::walked).collect();
        Ok(())
    }

    fn rules(&mut self) -> anyhow::Result<()> {
        let (effort, mut step) = (self.cli.effort(), stepper(self.interrupt));
        self.report.rules = on_last_cpu(|| program::measure_rules(effort, &mut step))?;
        Ok(())
    }

    fn router(&mut self) -> anyhow::Result<()> {
        let mut step = stepper(self.interrupt);
        let figures = router::measure(&self.objects, &self.cli.qosbpf, self.cli.effort(), &mut step)?;
        self.report.router = figures.jobs;
        self.report.switch = figures.switch;
        self.report.not_measured.extend(figures.gaps);
        Ok(())
    }

    fn user(&mut self) -> anyhow::Result<()> {
        let mut step = stepper(self.interrupt);
        let gaps = &mut self.report.not_measured;
        self.report.user = user::measure(&self.cli.qosbpf, self.cli.effort(), gaps, &mut step)?;
        Ok(())
    }

    fn scaling(&mut self) -> anyhow::Result<()> {
        let mut step = stepper(self.interrupt);
        self.report.scaling = scaling::measure(self.cli.effort(), &mut self.report.not_measured, &mut step)?;
        Ok(())
    }
}

fn stepper(interrupt: &Interrupt) -> impl FnMut(&str) -> anyhow::Result<()> + Send {
    |text| {
        output::progress(text);
        Ok(interrupt.check()?)
    }
}

/// On a thread that stays on one CPU; commands that are timed later may use all.
fn on_last_cpu<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let cpu = *cpu::usable()?.last().context("no CPU")?;
    std::thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            cpu::pin(cpu)?;
            work()
        });
        pinned.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    })
}
