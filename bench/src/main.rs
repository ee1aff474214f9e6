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

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use qosbpf::lab::interrupt::Interrupt;

use self::{compile::Objects, effort::Effort, report::Report, walks::Pair};

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

impl Cli {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    const fn effort(&self) -> &'static Effort {
        if self.quick { &Effort::QUICK } else { &Effort::FULL }
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    ensure!(nix::unistd::geteuid().is_root(), "programs are loaded and namespaces made here: run it as root");
    let interrupt = Interrupt::listen()?;
    let result = measure(&cli, &interrupt);
    // What was made is taken back by now.
    interrupt.obey()?;
    let (report, pairs) = result?;
    output::write(&report, &cli.output)?;
    output::listings(&report, &pairs, &cli.output)
}

fn measure(cli: &Cli, interrupt: &Interrupt) -> anyhow::Result<(Report, Vec<Pair>)> {
    let effort = cli.effort();
    let mut step = |text: &str| {
        output::progress(text);
        Ok(interrupt.check()?)
    };
    let objects = Objects::build()?;
    let machine = machine::describe(&objects.compiler);
    let not_measured = gaps::known(machine.cpus);
    let mut report = Report { schema: 1, machine, effort: effort.name, not_measured, ..Report::default() };
    if cli.wants(Part::Program) {
        report.program = on_last_cpu(|| program::measure(&objects, effort, &mut step)).context("program")?;
    }
    let pairs = if cli.wants(Part::Disassembly) { walks::all(&objects).context("disassembly")? } else { Vec::new() };
    report.walks = pairs.iter().map(Pair::walked).collect();
    if cli.wants(Part::Rules) {
        report.rules = on_last_cpu(|| program::measure_rules(effort, &mut step)).context("rules")?;
    }
    if cli.wants(Part::Router) {
        let figures = router::measure(&objects, &cli.qosbpf, effort, &mut step).context("router")?;
        report.router = figures.jobs;
        report.switch = figures.switch;
        report.not_measured.extend(figures.gaps);
    }
    if cli.wants(Part::User) {
        report.user = user::measure(&cli.qosbpf, effort, &mut step).context("user")?;
    }
    if cli.wants(Part::Scaling) {
        report.scaling = scaling::measure(effort, &mut step).context("scaling")?;
    }
    // A quick run says whether everything works; what it costs is not to be had in a minute.
    report.goals = if cli.quick { Vec::new() } else { goals::judge(&report) };
    Ok((report, pairs))
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
