//! A hook that cannot be read keeps no other one from its deadline.

use std::{os::unix::fs::chown, thread, time::Duration};

use anyhow::ensure;

use qosbpf_tests::timers;

use crate::edge::Edge;

/// The state of a hook that no policy binds belongs to somebody else.
fn spoiled() -> anyhow::Result<Edge> {
    let edge = Edge::start()?;
    edge.ok("attach lan0 --egress --hook tcx")?;
    let state = edge.router.hook_folder("lan0", "egress")?.join("state");
    chown(&state, Some(65_534), None)?;
    edge.ask("stats lan0:egress")?.expect(1)?.complains(&["does not belong to root"])?;
    Ok(edge)
}

/// Waits for the end of a deadline, which no command has kept.
fn kept_by_the_timer(edge: &Edge) -> anyhow::Result<()> {
    ensure!(timers::of(&edge.router)?.len() == 1, "the timer has ended before its time");
    edge.wait_for_timers()?;
    let said = edge.ok("stats wan0:egress")?.stderr;
    ensure!(said.is_empty(), "{said}");
    Ok(())
}

#[test]
fn what_nobody_confirms_is_taken_back() -> anyhow::Result<()> {
    let edge = spoiled()?;
    edge.ok(&format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs()))?;
    kept_by_the_timer(&edge)?;
    assert_eq!(edge.mark_of_ef()?, 46);
    Ok(())
}

#[test]
fn a_bypass_ends_by_itself() -> anyhow::Result<()> {
    let edge = spoiled()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.ok(&format!("policy bypass --for {}s", edge.soon.as_secs()))?;
    kept_by_the_timer(&edge)?;
    assert_eq!(edge.mark_of_ef()?, 34);
    Ok(())
}

#[test]
fn the_next_command_ends_a_bypass_if_the_timer_was_killed() -> anyhow::Result<()> {
    let edge = spoiled()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.ok(&format!("policy bypass --for {}s", edge.soon.as_secs()))?;
    edge.kill_timers()?;
    edge.sleep_past_it();
    edge.ok("stats wan0:egress")?.complains(&["is in the policy's path again"])?;
    assert_eq!(edge.mark_of_ef()?, 34);
    Ok(())
}

/// What cannot be read for a moment is read again soon, and the deadline is kept.
#[test]
fn the_timer_waits_for_a_pin_that_cannot_be_read() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs()))?;
    let pending = edge.router.namespace_folder()?.join("pending");
    chown(&pending, Some(65_534), None)?;
    // It looks every second.
    thread::sleep(Duration::from_millis(2_500));
    ensure!(timers::of(&edge.router)?.len() == 1, "the timer has ended before its time");
    chown(&pending, Some(0), None)?;
    edge.wait_for_timers()?;
    assert_eq!(edge.mark_of_ef()?, 46);
    Ok(())
}
