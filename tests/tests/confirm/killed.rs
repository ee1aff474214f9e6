//! kill -9 at any moment: each hook has one of the two policies, and the next command makes it one for all.

use std::{process::Stdio, thread, time::Duration};

use anyhow::ensure;

use crate::edge::Edge;

const MOMENTS: u64 = 24;

/// What an apply takes here, so that the moments are spread over all of it.
fn duration_of_apply(edge: &Edge) -> anyhow::Result<Duration> {
    let start = std::time::Instant::now();
    edge.ok(&format!("policy apply {}", edge.mark))?;
    let took = start.elapsed();
    edge.ok(&format!("policy apply {}", edge.keep))?;
    Ok(took)
}

fn kill_apply_after(edge: &Edge, line: &str, moment: Duration) -> anyhow::Result<()> {
    let mut command = edge.router.command(&edge.with_etc(line))?;
    let mut apply = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    thread::sleep(moment);
    apply.kill()?;
    apply.wait()?;
    Ok(())
}

#[test]
fn an_apply_that_is_cut_short_is_undone_by_the_next_command() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let whole = duration_of_apply(&edge)?;
    let mut cut = 0;
    for moment in 0..MOMENTS {
        let (file, other) = if moment % 2 == 0 { (&edge.mark, "keep") } else { (&edge.keep, "mark") };
        let (to, from) = if moment % 2 == 0 { ("mark", other) } else { ("keep", other) };
        kill_apply_after(&edge, &format!("policy apply {file}"), whole * u32::try_from(moment)? / 20)?;
        let first = edge.ok("status")?;
        cut += usize::from(first.stderr.contains("was cut short"));
        let now = edge.in_force()?;
        ensure!(now == to || now == from, "{now}");
        let wanted = if now == "mark" { 34 } else { 46 };
        assert_eq!(edge.mark_of_ef()?, wanted, "moment {moment}: {first:?}");
        assert!(edge.status()?["confirm"].is_null());
        edge.ok(&format!("policy apply {file}"))?;
    }
    assert!(cut > 0, "no moment hit the middle of an apply: the test tries nothing");
    Ok(())
}

/// The deadline holds from the first switch on, also for an apply that did not live to say so.
#[test]
fn an_apply_with_a_deadline_that_is_cut_short_is_undone_without_anybody() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let whole = duration_of_apply(&edge)?;
    for moment in 0..8 {
        kill_apply_after(&edge, &format!("policy apply {} --confirm 1s", edge.mark), whole * moment / 7)?;
        edge.wait_for_timers(Duration::from_secs(10))?;
        // Before the timer stands, nothing has been switched.
        edge.ok("status")?;
        assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("keep", 46), "moment {moment}");
        assert!(edge.status()?["confirm"].is_null());
    }
    Ok(())
}

#[test]
fn a_rollback_that_is_cut_short_is_finished() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let whole = duration_of_apply(&edge)?;
    for moment in 0..8 {
        edge.ok(&format!("policy apply {} --confirm 1h", edge.mark))?;
        kill_apply_after(&edge, "policy rollback", whole * moment / 7)?;
        // One that had not begun is still to be done.
        let _done_already = edge.ask("policy rollback")?;
        let now = edge.in_force()?;
        ensure!(now == "keep" || now == "mark", "{now}");
        assert_eq!(edge.mark_of_ef()?, if now == "mark" { 34 } else { 46 }, "moment {moment}");
        assert!(edge.status()?["confirm"].is_null());
        edge.ok(&format!("policy apply {}", edge.keep))?;
    }
    Ok(())
}
