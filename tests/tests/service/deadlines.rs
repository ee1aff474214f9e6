//! Deadlines are the service's business while it serves, and somebody else's when it ends, in whatever way.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;

use qosbpf_tests::{
    flow::Flow,
    service::{Lab, MARK, OTHER, eventually},
    timers,
};

/// How many programs the policy history has, the newest by name.
fn in_force(lab: &Lab) -> anyhow::Result<String> {
    // Without a command of qosbpf, each of which would keep the deadline itself.
    let text = lab.metrics()?;
    let line = text.lines().find(|line| line.starts_with("qosbpf_policy_info{")).context("a policy")?;
    Ok(line.to_owned())
}

#[test]
fn the_service_takes_back_what_nobody_confirms() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other} --confirm 3s"))?;
    assert_eq!(timers::of(&lab.router)?.len(), 1, "the one that is there in case the service is killed");
    assert!(in_force(&lab)?.contains("\"other\""));
    let deadline = lab.metric("qosbpf_policy_confirm_deadline_timestamp_seconds")?.context("a deadline")?;
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH)?.as_secs_f64();
    assert!(deadline > now - 1.0 && deadline < now + 4.0, "{deadline} {now}");
    eventually(|| Ok(in_force(&lab)?.contains("\"edge\"")))?;
    lab.says(&["was not confirmed in time"])?;
    assert_eq!(lab.metric("qosbpf_policy_confirm_deadline_timestamp_seconds")?, Some(0.0));
    timers::wait_until_gone(&lab.router)?;
    assert!(lab.five_become(34)?);
    Ok(())
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
    lab.ok(&format!("policy apply {other} --confirm 5s"))?;
    // As where whoever set the deadline has been logged out with all that he started.
    timers::kill_all(&lab.router)?;
    lab.stop()?;
    assert_eq!(timers::of(&lab.router)?.len(), 1, "{}", lab.log()?);
    timers::wait_until_gone(&lab.router)?;
    assert!(lab.five_become(34)?);
    Ok(())
}

#[test]
fn a_bypass_ends_by_itself_and_the_service_sees_to_it() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let bypassed = "qosbpf_policy_bypassed{device=\"lan0\",direction=\"ingress\"}";
    lab.ok("policy bypass --for 2s")?;
    assert_eq!((timers::of(&lab.router)?.len(), lab.metric(bypassed)?), (1, Some(1.0)));
    eventually(|| Ok(lab.metric(bypassed)? == Some(0.0)))?;
    lab.says(&["is in the policy's path again"])?;
    std::thread::sleep(Duration::from_millis(100));
    assert!(lab.five_become(34)?);
    Ok(())
}
