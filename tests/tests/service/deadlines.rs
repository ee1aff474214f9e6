//! Deadlines are the service's business while it serves, and somebody else's when it ends, in whatever way.

use std::{
    fs, thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use aya::maps::{Array, MapData};
use nix::sys::signal::Signal;

use qosbpf_tests::{
    far_end::FarEnd,
    features::Feature,
    flow::Flow,
    mounts::refuse_changes,
    router::run_in,
    service::{Lab, MARK, OTHER, eventually},
    timers,
};

use crate::denied::NoFilters;

/// How many programs the policy history has, the newest by name.
fn in_force(lab: &Lab) -> anyhow::Result<String> {
    // Without a command of qosbpf, each of which would keep the deadline itself.
    let text = lab.metrics()?;
    let line = text.lines().find(|line| line.starts_with("qosbpf_policy_info{")).context("a policy")?;
    Ok(line.to_owned())
}

const DEADLINE: &str = "qosbpf_policy_confirm_deadline_timestamp_seconds";
const BYPASSED: &str = "qosbpf_policy_bypassed{device=\"lan0\",direction=\"ingress\"}";

fn unix_time() -> anyhow::Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64())
}

/// The one that is there in case the service is killed. That of an earlier lab of the same name ends within seconds.
fn one_timer(lab: &Lab) -> anyhow::Result<()> {
    eventually(|| Ok(timers::of(&lab.router)?.len() == 1)).with_context(|| format!("{:?}", timers::of(&lab.router)))
}

#[test]
fn what_waits_to_be_confirmed_is_told_with_its_deadline() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let other = lab.router.policy("other", OTHER)?;
    let before = unix_time()?;
    lab.ok(&format!("policy apply {other} --confirm 10m"))?;
    let after = unix_time()?;
    one_timer(&lab)?;
    assert!(in_force(&lab)?.contains("\"other\""));
    let deadline = lab.metric(DEADLINE)?.context("a deadline")?;
    assert!(deadline > before + 599.0 && deadline < after + 601.0, "{before} {deadline} {after}");
    lab.ok("policy rollback")?;
    assert!(in_force(&lab)?.contains("\"edge\""));
    assert_eq!(lab.metric(DEADLINE)?, Some(0.0));
    timers::wait_until_gone(&lab.router)
}

#[test]
fn the_service_takes_back_what_nobody_confirms() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other} --confirm 3s"))?;
    // It would do the same, should the service not answer it in time.
    timers::kill_all(&lab.router)?;
    lab.says(&["was not confirmed in time"])?;
    eventually(|| Ok(in_force(&lab)?.contains("\"edge\"") && lab.metric(DEADLINE)? == Some(0.0)))?;
    assert!(lab.five_become(34)?);
    Ok(())
}

/// What is bound by the policy on trial alone, and a device that both policies bind.
const DYN0: &str = "[interface.dyn0]\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n";
const BQ0: &str = "[interface.bq0]\ningress = \"other\"\negress = \"other\"\n";

/// Nobody says `--attach`: the service attaches what is bound as soon as it hears of it.
#[test]
fn what_the_service_attaches_on_trial_goes_with_it() -> anyhow::Result<()> {
    let lab = Lab::serving(&format!("{MARK}{DYN0}"))?;
    let edge = lab.router.edge();
    run_in(edge, "ip link add bq0 type veth peer name peer0")?;
    let trial = lab.router.policy("trial", &format!("{OTHER}{BQ0}{DYN0}"))?;
    let try_for = |time: &str| {
        lab.ok(&format!("policy apply {trial} --confirm {time}"))?;
        ["bq0:ingress", "bq0:egress"].into_iter().try_for_each(|hook| lab.becomes(hook, "active"))
    };
    let is_undone = || {
        ensure!(in_force(&lab)?.contains("\"edge\""), "{}", lab.log()?);
        let left = [lab.hook("bq0:ingress")?, lab.hook("bq0:egress")?];
        ensure!(left == [None, None], "{left:#?}");
        let links = run_in(edge, "ip link show bq0")?.stdout;
        ensure!(!links.contains("xdp"), "{links}");
        Ok(())
    };
    try_for("10m")?;
    run_in(edge, "ip link add dyn0 type veth peer name peer1")?;
    lab.becomes("dyn0:egress", "active")?;
    lab.ok("policy rollback")?;
    is_undone()?;
    try_for("12s")?;
    lab.says(&["was not confirmed in time"])?;
    is_undone()?;
    assert_eq!(lab.hook("dyn0:egress")?.context("what both policies bind")?["table"], "wash");
    try_for("10m")?;
    lab.ok("policy confirm")?;
    lab.becomes("bq0:ingress", "active")
}

/// Nobody types anything, so the router may be one that cannot be reached.
#[test]
fn a_service_that_is_killed_or_hangs_keeps_no_deadline_from_passing() -> anyhow::Result<()> {
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let lab = Lab::serving(MARK)?;
        let other = lab.router.policy("other", OTHER)?;
        let flow = Flow::start(&lab.router)?;
        flow.pass(100)?;
        lab.ok(&format!("policy apply {other} --confirm 3s"))?;
        lab.signal(signal)?;
        flow.pass(100)?;
        timers::wait_until_gone(&lab.router)?;
        let outcome = flow.end()?;
        ensure!(outcome.beyond == 0 && outcome.marks.keys().eq(&[8, 34]), "{signal}: {outcome:?}");
        let flow = Flow::start(&lab.router)?;
        flow.pass(100)?;
        let outcome = flow.end()?;
        ensure!(outcome.beyond == 0 && outcome.marks.keys().eq(&[34]), "{signal}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn a_deadline_survives_a_kill_of_the_service() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other} --confirm 4s"))?;
    lab.end_by(Signal::SIGKILL)?;
    lab.serve()?;
    eventually(|| Ok(in_force(&lab)?.contains("\"edge\"")))?;
    assert!(lab.five_become(34)?);
    Ok(())
}

#[test]
fn a_deadline_is_left_to_somebody_when_the_service_ends() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let other = lab.router.policy("other", OTHER)?;
    // If the service has kept it before it was stopped, another one is set further away.
    for seconds in [5, 15, 45] {
        let start = Instant::now();
        lab.ok(&format!("policy apply {other} --confirm {seconds}s"))?;
        // As where whoever set the deadline has been logged out with all that he started.
        timers::kill_all(&lab.router)?;
        lab.stop()?;
        if timers::of(&lab.router)?.len() == 1 {
            timers::wait_until_gone(&lab.router)?;
            assert!(lab.five_become(34)?);
            return Ok(());
        }
        ensure!(start.elapsed() >= Duration::from_secs(seconds), "nobody keeps it:\n{}", lab.log()?);
        lab.serve()?;
    }
    bail!("the service was not stopped in time")
}

#[test]
fn a_bypass_ends_by_itself_and_the_service_sees_to_it() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    lab.ok("policy bypass --for 10m")?;
    one_timer(&lab)?;
    assert_eq!(lab.metric(BYPASSED)?, Some(1.0));
    lab.ok("policy resume")?;
    timers::wait_until_gone(&lab.router)?;
    lab.ok("policy bypass --for 2s")?;
    timers::kill_all(&lab.router)?;
    lab.says(&["is in the policy's path again"])?;
    eventually(|| Ok(lab.metric(BYPASSED)? == Some(0.0)))?;
    assert!(lab.five_become(34)?);
    Ok(())
}

/// A deadline that cannot be kept for now: this is said once, and tried again without haste.
fn is_tried_without_haste(lab: &Lab, why: &str) -> anyhow::Result<()> {
    const WHILE: Duration = Duration::from_secs(4);
    lab.says(&[why])?;
    let (said, before) = (lab.log()?, lab.ticks()?);
    thread::sleep(WHILE);
    let (log, ticks) = (lab.log()?, lab.ticks()? - before);
    let lines = log.lines().count() - said.lines().count();
    ensure!(lines <= 1 && log.matches(why).count() == 1, "{lines} more lines within {WHILE:?}:\n{log}");
    ensure!(ticks < 100, "{ticks} ticks of ten milliseconds within {WHILE:?}");
    Ok(())
}

#[test]
fn a_policy_that_cannot_be_taken_back_is_once_it_can() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other} --confirm 10s"))?;
    timers::kill_all(&lab.router)?;
    refuse_changes(&lab.router.bpffs, true)?;
    is_tried_without_haste(&lab, "a rollback is due: ")?;
    assert!(in_force(&lab)?.contains("\"other\""));
    refuse_changes(&lab.router.bpffs, false)?;
    lab.says(&["was not confirmed in time"])?;
    eventually(|| Ok(in_force(&lab)?.contains("\"edge\"")))?;
    assert!(lab.five_become(34)?);
    Ok(())
}

#[test]
fn a_bypass_that_cannot_end_does_once_it_can() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let counters = lab.router.hook_folder("lan0", "ingress")?.join("counters");
    let away = counters.with_file_name("away");
    lab.ok("policy bypass --for 5s")?;
    timers::kill_all(&lab.router)?;
    fs::rename(&counters, &away)?;
    Array::<MapData, u64>::create(1, 0)?.pin(&counters)?;
    is_tried_without_haste(&lab, "the policy cannot be put back: ")?;
    fs::remove_file(&counters)?;
    fs::rename(&away, &counters)?;
    lab.says(&["is in the policy's path again"])?;
    assert!(lab.five_become(34)?);
    Ok(())
}

/// The program that only counts goes along with its device: nothing is due until that is back.
#[test]
fn a_bypass_of_a_device_that_is_away_ends_when_it_is_back() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let (edge, away) = (lab.router.edge(), lab.router.lab().wan());
    lab.ok("policy bypass --for 4s")?;
    run_in(edge, &format!("ip link set lan0 netns {}", away.name()))?;
    timers::wait_until_gone(&lab.router)?;
    thread::sleep(Duration::from_secs(4));
    let (log, before) = (lab.log()?, lab.ticks()?);
    thread::sleep(Duration::from_secs(4));
    let ticks = lab.ticks()? - before;
    ensure!(ticks < 100, "{ticks} ticks of ten milliseconds:\n{log}");
    for word in ["a rollback is due", "in the policy's path again"] {
        ensure!(!log.contains(word), "{log}");
    }
    run_in(away, &format!("ip link set lan0 netns {}", edge.name()))?;
    lab.says(&["is in the policy's path again"])?;
    lab.becomes("lan0:ingress", "active")
}

/// What the service could not attach for a policy on trial somebody attaches by hand, and that is not for the trial.
#[test]
fn what_is_attached_by_hand_outlives_the_trial() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let _denied = NoFilters::within(|| lab.serve())?;
    run_in(lab.router.edge(), "ip link add bq0 type veth peer name peer0")?;
    let bq0 = "[interface.bq0]\nhook = \"clsact\"\negress = \"other\"\n";
    let trial = lab.router.policy("trial", &format!("{OTHER}{bq0}"))?;
    lab.ok(&format!("policy apply {trial} --confirm 10m"))?;
    lab.says(&["bq0:egress: cannot attach: clsact: "])?;
    lab.ok("attach bq0 --egress")?.says(&["bq0:egress  attached: clsact"])?;
    lab.ok("policy rollback")?;
    let hook = lab.hook("bq0:egress")?.context("it was detached with the policy on trial")?;
    assert_eq!(hook["state"], "counting", "{hook:#}");
    Ok(())
}

/// A link knows its device in whatever network namespace that is. No policy was in force before.
#[test]
fn what_nobody_confirms_ends_where_the_device_is() -> anyhow::Result<()> {
    if Feature::Tcx.leaves_out("a device that takes its program along")? {
        return Ok(());
    }
    let mut lab = Lab::start()?;
    lab.serve()?;
    let (edge, away) = (lab.router.edge(), lab.router.lab().wan());
    let far = FarEnd::of(&lab.router)?;
    lab.ok("attach lan0 --ingress")?;
    let dyn0 = "[interface.dyn0]\nhook = \"tcx\"\negress = \"other\"\n";
    let trial = lab.router.policy("trial", &format!("{OTHER}{dyn0}"))?;
    lab.ok(&format!("policy apply {trial} --attach --confirm 10s"))?;
    timers::kill_all(&lab.router)?;
    assert_eq!(far.mark_of_ef(edge)?, 8);
    run_in(edge, &format!("ip link set dyn0 netns {}", away.name()))?;
    lab.says(&["was not confirmed in time: back to no policy"])?;
    assert_eq!(far.mark_of_ef(away)?, 46);
    run_in(away, &format!("ip link set dyn0 netns {}", edge.name()))?;
    // Looks come one after the other.
    run_in(edge, "ip link set lan0 mtu 1400")?;
    lab.says(&["lan0: MTU 1500 is 1400 now"])?;
    assert_eq!(far.mark_of_ef(edge)?, 46);
    ensure!(lab.hook("dyn0:egress")?.is_none(), "{}", lab.log()?);
    lab.becomes("lan0:ingress", "counting")?;
    lab.ok("status").map(drop)
}

/// The kernel does not give up the filter: it counts without the policy until it does.
#[test]
fn what_cannot_be_detached_is_once_it_can() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let kept = NoFilters::that_end(|| lab.serve())?;
    let edge = lab.router.edge();
    run_in(edge, "ip link add bq0 type veth peer name peer0")?;
    let bq0 = "[interface.bq0]\nhook = \"clsact\"\negress = \"other\"\n";
    let trial = lab.router.policy("trial", &format!("{OTHER}{bq0}"))?;
    lab.ok(&format!("policy apply {trial} --confirm 12s"))?;
    timers::kill_all(&lab.router)?;
    lab.becomes("bq0:egress", "active")?;
    // No command of ours, which could do it.
    lab.says(&["cannot be detached: ", "back to edge", "but for bq0:egress, where that is tried again"])?;
    let attempts = kept.attempts();
    eventually(|| Ok(kept.attempts() > attempts + 2))?;
    let log = lab.log()?;
    ensure!(log.matches("cannot be detached: ").count() < 3, "{log}");
    ensure!(in_force(&lab)?.contains("\"edge\""), "{log}");
    kept.allow();
    lab.says(&["is taken back at bq0:egress, too"])?;
    let filters = run_in(edge, "tc filter show dev bq0 egress")?.stdout;
    ensure!(filters.is_empty() && lab.hook("bq0:egress")?.is_none(), "{filters}");
    lab.ok("status")?;
    assert!(lab.five_become(34)?);
    Ok(())
}
