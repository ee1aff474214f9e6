//! `qosbpf expect`: runs a command, and says whether the counters moved as told.

mod elsewhere;
mod expectation;
mod moved;
mod rules;
mod verdict;

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use self::{
    elsewhere::Earlier,
    expectation::{Comparison, Expectation},
    moved::{Moved, Side},
    rules::{Hit, file_of},
    verdict::{Command as Ran, Verdict},
};
use crate::{
    cli::ExpectArgs,
    cmd::{
        Context,
        site::{self, Site},
    },
    command,
    error::{Exit, Failure},
    hook::HookName,
    kernel::{
        counters,
        datapath::{Hook, Observed},
    },
    snapshot::Counts,
};

const PAUSE: Duration = Duration::from_millis(20);

/// What one packet more would break is believed when none has come for so long.
const QUIET: Duration = Duration::from_millis(200);

/// Reads the counters, runs the command, reads them again, and gives a verdict for each expectation.
///
/// # Errors
///
/// `not-attached`, `expectation`, `command`, `counters-changed`, and pins that are foreign or not readable.
pub fn run(args: &ExpectArgs, context: &Context) -> anyhow::Result<Exit> {
    let site = Site::read(context)?;
    let hook = one_hook(&site, &args.hook)?;
    let label = site.label();
    let expectations = expectation::parse(&args.expectations, label.as_ref())?;
    let side = if args.before { Side::Before } else { Side::After };
    let earlier = counters::read(&hook.pins)?;
    let hits = site::rules_of(hook)?;
    let others = Earlier::read(&site, hook);
    let command = run_command(&args.command, args.json)?;
    let settled = settle(&earlier, hook, &expectations, side, args.within);
    same_counters(hook, &args.hook, context)?;
    let moved = settled?;
    let later = site::rules_of(hook)?;
    let table = hook.state.binding.as_ref().and_then(|binding| binding.label().ok()?);
    let outer = hook.state.binding.as_ref().and_then(|binding| binding.outer.as_ref()?.label().ok());
    let file = file_of(hook);
    let verdict = Verdict {
        hook: args.hook.to_string(),
        expectations: &expectations,
        side,
        moved: &moved,
        table: table.as_ref().map(|table| (table, file)),
        outer: outer.as_ref().map(|table| (table, file)),
        rules: Hit::between(hook, &hits, &later),
        aside: aside(hook, &args.hook),
        elsewhere: others.moved(),
        here: context.invocation(),
        command,
    };
    if args.json {
        context.document(&format!("{}\n", verdict.document()))?;
    } else {
        context.print(&verdict.text())?;
    }
    Ok(verdict.answer().exit())
}

/// Why nothing can have been changed here.
fn aside(hook: &Hook, name: &HookName) -> Option<String> {
    match (&hook.state.bypass, &hook.state.binding) {
        (Some(_), _) => {
            Some(format!("{name} is BYPASSED: {}", command::Command::new("qosbpf policy resume").operand(name)))
        }
        (None, None) => Some("no table is bound to this hook: it counts, and changes nothing".to_owned()),
        (None, Some(_)) => None,
    }
}

fn one_hook<'a>(site: &'a Site, name: &HookName) -> anyhow::Result<&'a Hook> {
    match site.select(std::slice::from_ref(name))?.as_slice() {
        [hook] => Ok(hook),
        _ => Err(Failure::new("usage", format!("{name} is attached both ways: say which"))
            .exit(Exit::Usage)
            .hint(name.both())
            .into()),
    }
}

/// Refuses to compare the counters of one attachment with those of another.
fn same_counters(hook: &Hook, name: &HookName, context: &Context) -> anyhow::Result<()> {
    let site = Site::read(context)?;
    let is_it = |now: &&Hook| now.pins == hook.pins && now.state.since == hook.state.since;
    match site.hooks.iter().find(is_it).map(|now| now.running) {
        Some(Observed::Running(_) | Observed::Unknown) => Ok(()),
        Some(Observed::Gone) | None => Err(changed(&format!("{name} was detached or attached anew"))),
    }
}

fn changed(what: &str) -> anyhow::Error {
    Failure::new("counters-changed", format!("{what} meanwhile: its counters cannot be compared"))
        .exit(Exit::Unknown)
        .hint("nothing else may attach or detach there while the command runs; say it again")
        .into()
}

/// Since when numbers are what they are.
#[derive(Default)]
struct Still(Option<(Vec<u64>, Instant)>);

impl Still {
    fn since(&mut self, numbers: Vec<u64>) -> Duration {
        match &self.0 {
            Some((earlier, when)) if *earlier == numbers => when.elapsed(),
            _ => {
                self.0 = Some((numbers, Instant::now()));
                Duration::ZERO
            }
        }
    }
}

/// Runs the command in this network namespace, and says how it ended: that is no verdict on the counters.
fn run_command(command: &[String], quiet_stdout: bool) -> anyhow::Result<Ran> {
    let [program, arguments @ ..] = command else { anyhow::bail!("no command") };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null());
    if quiet_stdout {
        child.stdout(io::stderr());
    }
    let status = child.status().map_err(|error| Failure::new("command", format!("cannot run {program}: {error}")))?;
    let ended = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "was killed".to_owned(),
    };
    Ok(Ran { ended: format!("{} {ended}", command.join(" ")), failed: !status.success() })
}

/// Waits until all is as expected and stays so, cannot become so any more, or the time is over.
fn settle(
    earlier: &Counts,
    hook: &Hook,
    expectations: &[Expectation],
    side: Side,
    within: Duration,
) -> anyhow::Result<Moved> {
    let start = Instant::now();
    let mut still = Still::default();
    loop {
        let now = counters::read(&hook.pins)?;
        let moved = Moved::between(earlier, &now).ok_or_else(|| changed("a counter fell"))?;
        let all = |test: fn(&Expectation, u64) -> bool| expectations.iter().all(|e| test(e, moved.packets(e, side)));
        let lost = expectations.iter().any(|e| e.is_lost(moved.packets(e, side)));
        let quiet = still.since(expectations.iter().map(|e| moved.packets(e, side)).collect());
        let stays = all(|e, _| e.comparison == Comparison::AtLeast) || quiet >= QUIET;
        if (all(Expectation::is_met) && stays) || lost || start.elapsed() >= within {
            return Ok(moved);
        }
        thread::sleep(PAUSE);
    }
}
