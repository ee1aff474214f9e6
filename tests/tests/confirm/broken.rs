//! A hook that cannot be read keeps no other one from its deadline.

use std::{
    fs::{Permissions, set_permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::ensure;

use qosbpf_tests::timers;

use crate::edge::{Edge, KEEP};

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

/// While a policy waits to be confirmed somebody opens the folder of a hook to all, and it is taken back meanwhile.
fn left_behind(edge: &Edge) -> anyhow::Result<PathBuf> {
    edge.ok(&format!("policy apply {} --confirm 10m", edge.mark))?;
    let folder = edge.router.hook_folder("wan0", "egress")?;
    set_permissions(&folder, Permissions::from_mode(0o777))?;
    edge.ok("policy rollback")?.says(&["back to keep", "but for wan0:egress, where that is tried again"])?;
    edge.ask("status")?.says(&["policy mark", "could not be taken back at wan0:egress"])?;
    edge.ask("policy confirm")?.expect(3)?.complains(&["no policy waits to be confirmed"])?;
    Ok(folder)
}

/// Nobody has to do anything but to close it.
#[test]
fn a_hook_that_could_not_be_read_is_taken_back_once_it_can() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let folder = left_behind(&edge)?;
    ensure!(timers::of(&edge.router)?.len() == 1, "nobody tries it again");
    set_permissions(&folder, Permissions::from_mode(0o755))?;
    edge.wait_for_timers()?;
    assert_eq!(edge.ok("status")?.stderr, "");
    assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("keep", 46));
    Ok(())
}

/// Nor does it keep anybody from the next policy, which counts by then.
#[test]
fn a_hook_that_could_not_be_read_gets_what_is_in_force_by_then() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let folder = left_behind(&edge)?;
    edge.kill_timers()?;
    let wash = edge.router.policy("wash", &KEEP.replace("keep", "CS1"))?;
    edge.ok(&format!("policy apply {wash}"))?;
    set_permissions(&folder, Permissions::from_mode(0o755))?;
    edge.ok("stats")?.complains(&["policy mark", "is taken back at wan0:egress, too"])?;
    assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("wash", 8));
    Ok(())
}
