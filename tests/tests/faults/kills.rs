//! `kill -9` behind every system call of a change that changes something: whatever comes next finishes or undoes it.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    left::{assert_nothing, pins},
    router::Router,
    timers,
};

use crate::{
    Fault, clsact,
    places::Places,
    stage::{AF41, POLICY, Row, Stage, other_policy},
};

pub const FAULTS: &[Fault] = &[
    ("kill -9 at every change of `attach`, XDP", || attach("xdp")),
    ("kill -9 at every change of `attach`, TCX", || attach("tcx")),
    ("kill -9 at every change of `attach`, clsact", || attach("clsact")),
    ("kill -9 at every change of `attach --policy`", attach_with_policy),
    ("kill -9 at every change of `detach`, XDP", || detach("xdp")),
    ("kill -9 at every change of `detach`, TCX", || detach("tcx")),
    ("kill -9 at every change of `detach`, clsact", || detach("clsact")),
    ("attach and detach by clsact, fifteen times", clsact::attached_and_detached),
    ("kill -9 at every change of `policy apply`, XDP", || apply("xdp")),
    ("kill -9 at every change of `policy apply`, TCX", || apply("tcx")),
    ("kill -9 at every change of `policy apply`, clsact", || apply("clsact")),
    ("kill -9 at every change of `policy apply --attach --save`", attached_and_saved),
    ("kill -9 at every change of `policy apply --confirm`", to_be_confirmed),
];

/// More places than any command has.
const ENOUGH: usize = 20_000;

fn quiet(router: &Router, line: &str) -> anyhow::Result<Command> {
    let mut command = router.command(line)?;
    command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    Ok(command)
}

/// Status answers, and says nothing worse than that something is missing.
fn looks(router: &Router) -> anyhow::Result<()> {
    let status = router.ask("status")?;
    ensure!([0, 3].contains(&status.code), "{status:?}");
    Ok(())
}

/// Kills a command behind each of its changes in turn. `check` gets the number of the turn, so that what comes next is not
/// always the same.
fn at_every_change(
    router: &Router,
    line: &str,
    mut prepare: impl FnMut() -> anyhow::Result<()>,
    mut check: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<Places> {
    let mut places = Places::none()?;
    for turn in 0..ENOUGH {
        prepare()?;
        match places.kill(&mut quiet(router, line)?)? {
            Ok(call) => check(turn).with_context(|| format!("{line} killed for the {turn}th time, behind {call}"))?,
            Err(code) => {
                ensure!(code == 0, "{line} ended with {code}");
                ensure!(turn > 8, "{line} is killed at {turn} places: the test tries nothing");
                check(0)?;
                return Ok(places);
            }
        }
    }
    anyhow::bail!("{line} makes changes without end")
}

/// The same of a command that makes what `gone` undoes: what comes next is one who looks, the command again, or its opposite.
fn made_and_undone(
    router: &Router,
    line: &str,
    is_made: impl Fn() -> anyhow::Result<()>,
    gone: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<Places> {
    at_every_change(
        router,
        line,
        || Ok(()),
        |change| {
            match change % 3 {
                0 => looks(router)?,
                1 => {}
                _ => return gone(),
            }
            router.ok(line)?;
            is_made()?;
            gone()
        },
    )
}

fn attach(hook: &str) -> anyhow::Result<Row> {
    let stage = Stage::of(Router::start()?)?;
    let router = &stage.router;
    let (device, direction) = place(hook);
    let line = format!("attach {device} --{direction} --hook {hook}");
    let gone = || {
        router.ok("detach --all")?;
        assert_nothing(router, "detach --all")
    };
    let points = made_and_undone(router, &line, || router.ok("status").map(drop), gone)?.count();
    if hook == "tcx" {
        // Taken back at once, wherever it was cut.
        at_every_change(router, &line, || Ok(()), |_| gone())?;
    }
    passes(stage, hook, points)
}

/// The policy comes into force before the hook is attached, and into the history afterwards.
fn attach_with_policy() -> anyhow::Result<Row> {
    let stage = Stage::of(Router::start()?)?;
    let router = &stage.router;
    let line = format!("attach wan0 --egress --hook tcx --policy {}", router.policy("edge", POLICY)?);
    let is_made = || {
        let history = router.ok("policy history --json")?.json()?;
        let policies = history["policies"].as_array().map(Vec::len);
        ensure!(policies == Some(1) && history["policies"][0]["in_force"] == true, "{history:#}");
        // What the policy says of lan0 is missing.
        looks(router)
    };
    let gone = || {
        router.ok("detach --all")?;
        assert_nothing(router, "detach --all")
    };
    let points = made_and_undone(router, &line, is_made, gone)?.count();
    let said = format!(
        "killed at {points} places; `status`, the same command and `detach` succeed, the policy is in the history once, \
         nothing leaks"
    );
    marked_or_not(stage, "of the hook begin and end with it", said)
}

/// No packet was lost, each came as it was or with the policy's mark, and nothing is left.
fn marked_or_not(stage: Stage, counters: &str, said: String) -> anyhow::Result<Row> {
    let (router, outcome) = stage.end()?;
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    ensure!(outcome.marks.keys().all(|mark| [46, AF41].contains(mark)), "{outcome:?}");
    assert_nothing(&router, "the end")?;
    let traffic = format!("0 of {} lost, each as it came or with the policy's mark", outcome.sent);
    Ok(Row { traffic, counters: counters.to_owned(), said })
}

/// Where a mechanism is tried: the flow passes there.
fn place(hook: &str) -> (&'static str, &'static str) {
    if hook == "xdp" { ("lan0", "ingress") } else { ("wan0", "egress") }
}

fn detach(hook: &str) -> anyhow::Result<Row> {
    let stage = Stage::of(Router::start()?)?;
    let router = &stage.router;
    let (device, direction) = place(hook);
    let attach = format!("attach {device} --{direction} --hook {hook}");
    let places = at_every_change(
        router,
        "detach --all",
        || router.ok(&attach).map(drop),
        |change| {
            match change % 3 {
                0 => looks(router)?,
                1 => router.ok("detach --all").map(drop)?,
                _ => {}
            }
            router.ok(&attach)?;
            router.ok("status")?;
            router.ok("detach --all")?;
            assert_nothing(router, "detach --all")
        },
    )?;
    passes(stage, hook, places.count())
}

/// No packet may have another mark than one of the two policies gives.
fn apply(hook: &str) -> anyhow::Result<Row> {
    let stage = Stage::start(if hook == "xdp" { "auto" } else { hook })?;
    let router = &stage.router;
    let edge = router.policy("edge", POLICY)?;
    let other = router.policy("other", &other_policy())?;
    let lines = [format!("policy apply {edge}"), format!("policy apply {other}")];
    let mut applied = 0;
    let places = at_every_change(
        router,
        &lines[1],
        || router.ok(&lines[0]).map(drop),
        |change| {
            applied += 1;
            // One who looks, the same command, its opposite, or one about hooks that finds its work done.
            match change % 4 {
                0 => looks(router)?,
                1 => {}
                2 => {
                    router.ok(&lines[0])?;
                    router.ok("status")?;
                }
                _ => {
                    router.ok("attach wan0 --egress")?.says(&["already attached"])?;
                    router.ok("status")?;
                }
            }
            router.ok(&lines[1])?;
            router.ok("status").map(drop)
        },
    )?;
    let points = places.count();
    ensure!(applied == points + 1);
    if hook == "tcx" {
        // A command about another hook, wherever it was cut: no program waits any more for a switch that will not come.
        at_every_change(
            router,
            &lines[1],
            || router.ok(&lines[0]).map(drop),
            |_| {
                looks(router)?;
                router.ok("attach lan0 --egress")?.says(&["already attached"])?;
                nothing_waits(router)
            },
        )?;
    }
    stage.changed(format!(
        "killed at {points} places; `status`, the same command, its opposite and `attach` succeed, nothing leaks"
    ))
}

/// No change is left half done.
pub fn nothing_waits(router: &Router) -> anyhow::Result<()> {
    let waiting: Vec<_> = pins(&router.bpffs)?.into_iter().filter(|pin| pin.contains("/next-")).collect();
    ensure!(waiting.is_empty(), "{waiting:?}");
    Ok(())
}

/// Hooks come with the policy, which is saved: the file is there as a whole or not at all.
fn attached_and_saved() -> anyhow::Result<Row> {
    let stage = Stage::of(Router::start()?)?;
    let router = &stage.router;
    let (policy, etc) = (router.policy("edge", POLICY)?, router.folder().join("etc"));
    let saved = etc.join("policy.toml");
    let with_etc = |line: &str| format!("{line} --etc {}", etc.display());
    let line = with_etc(&format!("policy apply {policy} --attach --save"));
    let gone = || {
        router.ok(&with_etc("detach --all"))?;
        if saved.exists() {
            ensure!(fs::read_to_string(&saved)?.contains(POLICY), "a part of the policy was saved");
            fs::remove_file(&saved)?;
        }
        assert_nothing(router, "detach --all")
    };
    let is_made = || {
        router.ok(&with_etc("status"))?.says(&["saved"])?;
        let left: Vec<_> = fs::read_dir(&etc)?.flatten().map(|file| file.file_name()).collect();
        ensure!(left == ["policy.toml"], "beside the policy: {left:?}");
        Ok(())
    };
    let places = made_and_undone(router, &line, is_made, gone)?;
    for kind in ["open to write", "write", "fsync", "rename"] {
        ensure!(places.has(kind), "never killed behind {kind}");
    }
    let points = places.count();
    let said = format!("killed at {points} places; `status`, the same command and `detach` succeed, nothing leaks");
    marked_or_not(stage, "of the hooks begin and end with them", said)
}

/// The next command undoes what was cut short; what came to its end waits to be confirmed.
fn to_be_confirmed() -> anyhow::Result<Row> {
    let stage = Stage::start("tcx")?;
    let router = &stage.router;
    let edge = router.policy("edge", POLICY)?;
    let other = router.policy("other", &other_policy())?;
    let line = format!("policy apply {other} --confirm 1h");
    let (mut confirmed, mut undone) = (0, 0);
    let places = at_every_change(
        router,
        &line,
        || router.ok(&format!("policy apply {edge}")).map(drop),
        |change| {
            // Else it would undo what was cut short while others look.
            timers::kill_all(router)?;
            let status = router.ok("status --json")?.json()?;
            match (status["confirm"].is_null(), status["policy"]["name"].as_str()) {
                (true, Some("edge")) => undone += 1,
                (false, Some("other")) => {
                    confirmed += 1;
                    router.ok(if change % 2 == 0 { "policy confirm" } else { "policy rollback" })?;
                }
                _ => anyhow::bail!("neither taken back nor to be confirmed: {status:#}"),
            }
            router.ok("status").map(drop)
        },
    )?;
    let points = places.count();
    ensure!(confirmed > 1 && undone > 1, "{confirmed} to be confirmed, {undone} undone: the test tries nothing");
    stage.changed(format!(
        "killed at {points} places; undone by the next command {undone} times, to be confirmed {confirmed} times"
    ))
}

/// The flow has passed unhindered, counted or not; of clsact see [`clsact::attached_and_detached`].
fn passes(stage: Stage, hook: &str, points: usize) -> anyhow::Result<Row> {
    let (router, outcome) = stage.end()?;
    ensure!(outcome.marks.keys().eq(&[46]), "{outcome:?}");
    assert_nothing(&router, "the end")?;
    let traffic = if hook == "clsact" {
        // How long each takes the kernel is its own affair; none of the commands of a turn makes or removes more than one.
        ensure!(outcome.outages as usize <= 4 * (points + 1), "{outcome:?}");
        format!("{} of {} lost, whenever the kernel makes or removes the qdisc", outcome.beyond, outcome.sent)
    } else {
        ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
        format!("0 of {} lost", outcome.sent)
    };
    Ok(Row {
        traffic,
        counters: "of the hook begin and end with it".to_owned(),
        said: format!("killed at {points} places; `status`, `attach` and `detach` succeed, nothing leaks"),
    })
}
