//! The wall-clock time of commands.

use std::{
    fs::File,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use qosbpf::{
    hook::Direction,
    kernel::{counters, pins::Store},
    policy::{RemarkTable, Report, Source, parse},
};

use super::{A, B, Desk, Table, fact};
use crate::{Step, report::Fact, samples::Samples};

/// The policy of the documentation's example.
const EXAMPLE: &str = include_str!("../../../docs/examples/edge.toml");

/// Facts that a goal asks for.
pub const WARM: &str = "command: qosbpf attach, one hook, with a policy";
pub const COLD: &str = "command: the same, its binary not in memory";

/// What is done in each round, in this order; between the first two attachments the binary is sent out of memory.
const COMMANDS: [&str; 10] = [
    "command: qosbpf --version (start-up)",
    WARM,
    "command: qosbpf detach, one hook",
    COLD,
    "command: qosbpf attach, both directions, with a policy",
    "command: qosbpf policy apply",
    "command: qosbpf stats --json",
    "command: qosbpf status --json",
    "command: qosbpf stats, as a table",
    "command: qosbpf detach, both directions",
];

/// Measures them.
pub(super) fn measure(desk: &Desk<'_>, step: Step<'_>) -> anyhow::Result<Vec<Fact>> {
    step("user: commands")?;
    let (a, b) = (desk.file("a.toml", A)?, desk.file("b.toml", B)?);
    let mut table = Table::new(COMMANDS);
    let mut read = Samples::default();
    for _ in 0..desk.times {
        let one: &[&str] = &["attach", "lan0", "--ingress", "--policy", &a];
        let steps: [&[&str]; COMMANDS.len()] = [
            &["--version"],
            one,
            &["detach", "lan0"],
            one,
            &["attach", "lan0", "--policy", &a],
            &["policy", "apply", &b],
            &["stats", "--json"],
            &["status", "--json"],
            &["stats", "--rate", "0"],
            &["detach", "--all"],
        ];
        for (index, words) in steps.into_iter().enumerate() {
            if COMMANDS[index] == COLD {
                desk.forget()?;
            }
            table.samples[index].push(desk.time(words)?);
            match index {
                3 => drop(desk.time(&["detach", "--all"])?),
                8 => read.push(desk.read()?.as_secs_f64() * 1e6),
                _ => {}
            }
        }
    }
    let mut facts = vec![compile(desk.times)?];
    facts.extend(table.facts("ms"));
    facts.push(fact("reading the counters of one hook, in process", "us", read.spread()));
    Ok(facts)
}

/// Parsing, checking and compiling the example of the documentation.
fn compile(times: usize) -> anyhow::Result<Fact> {
    let mut samples = Samples::default();
    for _ in 0..times * 10 {
        let start = Instant::now();
        let source = Source::new("edge.toml", EXAMPLE.as_bytes().to_vec()).map_err(|report| bad_example(&report))?;
        let policy = parse(&source).map_err(|report| bad_example(&report))?;
        let tables: Vec<_> = policy.tables().iter().map(RemarkTable::compile).collect();
        black_box(tables);
        samples.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(fact("policy: parse, check and compile docs/examples/edge.toml", "us", samples.spread()))
}

fn bad_example(report: &Report) -> anyhow::Error {
    anyhow::anyhow!("docs/examples/edge.toml is no policy: {report:?}")
}

impl Desk<'_> {
    /// Sends the binary out of memory, as after a boot; nothing else.
    fn forget(&self) -> anyhow::Result<()> {
        let file = File::open(self.qosbpf).context("the binary")?;
        // What is not on the disk yet stays in memory.
        file.sync_all()?;
        Ok(posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }

    /// How long the counters of a hook take, as `stats` reads them.
    fn read(&self) -> anyhow::Result<Duration> {
        let bpffs = self.lab.bpffs();
        self.lab.edge().run(|| {
            let store = Store::open(&bpffs)?;
            let hooks = store.hooks()?;
            let hook = hooks.iter().find(|hook| hook.direction == Direction::Ingress).context("no hook")?;
            counters::read(hook)?;
            let start = Instant::now();
            black_box(counters::read(hook)?);
            Ok(start.elapsed())
        })
    }
}
