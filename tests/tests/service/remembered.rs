//! What the service remembers of its pins, should they go: what was in force a sample ago, and what is still lost.

use std::{
    fs,
    io::Write as _,
    net::Shutdown,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};
use qosbpf::{
    cmd::control::{self, Answer, Ask, Question},
    kernel::{document, pins::Store},
    snapshot::trend::Trend,
};
use qosbpf_tests::{
    router::run_in,
    service::{Lab, OTHER, eventually},
};

use crate::pins::{looks_again, program, serving};

/// How often counters are read here.
const SAMPLE: Duration = Duration::from_secs(1);

/// Longer than the time that somebody has to remove all of it.
const REMOVING: Duration = Duration::from_secs(12);

/// What the service remembers of its hooks.
pub fn trends(lab: &Lab) -> anyhow::Result<Vec<Trend>> {
    let socket = lab.router.edge().run(control::folder)?.join("control");
    let question = Question { bpffs: control::device(&lab.router.bpffs)?, ask: Ask::Trends };
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&serde_json::to_vec(&question)?)?;
    stream.shutdown(Shutdown::Write)?;
    let Answer::Trends(trends) = serde_json::from_reader(stream)? else { bail!("no trends") };
    Ok(trends)
}

/// When the service last read counters, to some milliseconds.
fn sampled(lab: &Lab) -> anyhow::Result<Instant> {
    let age = trends(lab)?.first().context("a hook")?.newest.0;
    Instant::now().checked_sub(Duration::from_secs_f64(age)).context("a time")
}

/// Waits until counters have been read so many times more, which is done every second.
fn samples(lab: &Lab, count: usize) -> anyhow::Result<()> {
    let mut last = sampled(lab)?;
    for _ in 0..count {
        eventually(|| Ok(sampled(lab)? > last + SAMPLE / 2))?;
        last = sampled(lab)?;
    }
    Ok(())
}

fn unmount(lab: &Lab) -> anyhow::Result<()> {
    Ok(umount2(&lab.router.bpffs, MntFlags::MNT_DETACH)?)
}

/// A program runs there, another one than this.
fn is_another(lab: &Lab, hook: &str, was: u64) -> anyhow::Result<()> {
    eventually(|| Ok(program(lab, hook).is_ok_and(|now| now != was)))
        .with_context(|| format!("{hook} is not back:\n{}", lab.log().unwrap_or_default()))
}

/// Nothing but the pin of what waits tells that it was confirmed.
#[test]
fn what_was_confirmed_is_remembered_within_a_sample() -> anyhow::Result<()> {
    let lab = serving(&[])?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other} --confirm 10m"))?;
    // What a look finds while it waits is not remembered.
    samples(&lab, 3)?;
    lab.ok("policy confirm")?;
    samples(&lab, 3)?;
    let was = program(&lab, "lan0:ingress")?;
    unmount(&lab)?;
    is_another(&lab, "lan0:ingress", was)?;
    ensure!(lab.five_become(8)?, "not the policy that was confirmed:\n{}", lab.log()?);
    Ok(())
}

/// Where the policy's pin is removed, somebody may be about to remove all of it, or do what a hint says.
#[test]
fn hooks_are_remembered_where_the_policy_was_removed_for_good() -> anyhow::Result<()> {
    let lab = serving(&[])?;
    let store = lab.router.edge().run(|| Store::open(&lab.router.bpffs))?;
    document::write(&store.policy(), &"no policy")?;
    let (pin, other) = (store.policy().display().to_string(), lab.router.policy("other", OTHER)?);
    lab.ask(&format!("policy apply {other}"))?.expect(1)?.complains(&[&format!("rm {pin}")])?;
    fs::remove_file(pin)?;
    looks_again(&lab)?;
    thread::sleep(REMOVING);
    lab.ok("attach wan0 --egress")?;
    looks_again(&lab)?;
    let was = ["lan0:ingress", "wan0:egress"].map(|hook| (hook, program(&lab, hook)));
    unmount(&lab)?;
    for (hook, was) in was {
        is_another(&lab, hook, was?)?;
    }
    lab.ok("status")?;
    Ok(())
}

/// Each as it was, whether the policy binds it or not; what the policy says of it is in force all the time.
#[test]
fn hooks_whose_pins_alone_are_removed_are_put_back_as_they_were() -> anyhow::Result<()> {
    let lab = serving(&["attach lan0 --ingress --hook clsact --inside pppoe", "attach wan0 --egress --hook tcx"])?;
    samples(&lab, 3)?;
    for (interface, direction, entry) in [
        ("wan0", "egress", "wan0:egress (--hook tcx)"),
        ("lan0", "ingress", "lan0:ingress (--hook clsact --inside pppoe)"),
    ] {
        let hook = format!("{interface}:{direction}");
        let (was, before) = (program(&lab, &hook)?, lab.hook(&hook)?.context("a hook")?);
        fs::remove_dir_all(lab.router.hook_folder(interface, direction)?)?;
        is_another(&lab, &hook, was)?;
        let detach = format!("{} hook=\"{entry}\"", lab.typed(&format!("detach {hook}")));
        lab.says(&["are gone; it is attached again as it was, and counts from zero. To end it: ", &detach])?;
        let after = lab.hook(&hook)?.context("a hook")?;
        for same in ["hook", "inside", "table", "policy_hash", "reason", "state"] {
            ensure!(before[same] == after[same], "{same}: {before:#} {after:#}");
        }
    }
    ensure!(lab.five_become(34)?);
    lab.ok("status")?;
    // What somebody detaches is not lost.
    lab.ok("detach wan0")?;
    samples(&lab, 3)?;
    ensure!(lab.hook("wan0:egress")?.is_none(), "{}", lab.log()?);
    Ok(())
}

/// One hook cannot be put back the first time, and another one is lost again.
#[test]
fn what_is_still_lost_is_not_forgotten_with_the_next_loss() -> anyhow::Result<()> {
    let lab = serving(&["attach wan0 --egress --hook clsact"])?;
    let edge = lab.router.edge();
    let (first, filter) = (program(&lab, "lan0:ingress")?, program(&lab, "wan0:egress")?);
    lab.signal(Signal::SIGSTOP)?;
    unmount(&lab)?;
    // Where this one is there is no place for clsact.
    for line in ["tc qdisc del dev wan0 clsact", "tc qdisc add dev wan0 ingress"] {
        run_in(edge, line)?;
    }
    lab.signal(Signal::SIGCONT)?;
    is_another(&lab, "lan0:ingress", first)?;
    let missing = || lab.ask("status")?.expect(3)?.says(&["wan0:egress", "MISSING", "run attaches it again"]);
    let is_missing = || eventually(|| Ok(missing().is_ok())).with_context(|| lab.log().unwrap_or_default());
    is_missing()?;
    // From then on what was in force at the last look is without it.
    thread::sleep(REMOVING);
    looks_again(&lab)?;

    let second = program(&lab, "lan0:ingress")?;
    unmount(&lab)?;
    is_another(&lab, "lan0:ingress", second)?;
    looks_again(&lab)?;
    is_missing()?;
    run_in(edge, "tc qdisc del dev wan0 ingress")?;
    looks_again(&lab)?;
    is_another(&lab, "wan0:egress", filter)?;
    ensure!(lab.hook("wan0:egress")?.is_some_and(|hook| hook["hook"] == "clsact"));
    lab.ok("status")?;
    Ok(())
}
