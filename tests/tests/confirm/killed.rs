//! kill -9 at any moment: each hook has one of the two policies, and the next command makes it one for all.

use std::{process::Stdio, thread, time::Duration};

use anyhow::ensure;

use crate::edge::Edge;

const MOMENTS: u32 = 24;
/// How often more it is tried to hit the middle of an apply, if none of these moments has.
const MORE: u32 = 100;

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
    let mut moments = Moments::new(duration_of_apply(&edge)?);
    while let Some(moment) = moments.next() {
        let number = moments.tried;
        let (file, to, from) =
            if number.is_multiple_of(2) { (&edge.mark, "mark", "keep") } else { (&edge.keep, "keep", "mark") };
        kill_apply_after(&edge, &format!("policy apply {file}"), moment)?;
        let first = edge.ok("status")?;
        let now = edge.in_force()?;
        ensure!(now == to || now == from, "{now}");
        moments.learn(moment, first.stderr.contains("was cut short"), now == to);
        let wanted = if now == "mark" { 34 } else { 46 };
        assert_eq!(edge.mark_of_ef()?, wanted, "moment {number}: {first:?}");
        assert!(edge.status()?["confirm"].is_null());
        edge.ok(&format!("policy apply {file}"))?;
    }
    assert!(moments.hit, "no moment hit the middle of an apply: the test tries nothing");
    Ok(())
}

/// When to kill: spread over a whole apply, and if that was never in its middle, closer and closer to there.
struct Moments {
    whole: Duration,
    /// What was too soon, and what too late.
    around: [Duration; 2],
    tried: u32,
    hit: bool,
}

impl Moments {
    const fn new(whole: Duration) -> Self {
        Self { whole, around: [Duration::ZERO, whole.saturating_mul(2)], tried: 0, hit: false }
    }

    fn next(&mut self) -> Option<Duration> {
        self.tried += 1;
        match self.tried {
            tried if tried <= MOMENTS => Some(self.whole * (tried - 1) / 20),
            tried if tried <= MOMENTS + MORE && !self.hit => Some((self.around[0] + self.around[1]) / 2),
            _ => None,
        }
    }

    fn learn(&mut self, moment: Duration, hit: bool, too_late: bool) {
        self.hit |= hit;
        self.around[usize::from(too_late)] = moment;
        // The machine is not always equally fast.
        if self.around[0] >= self.around[1] {
            self.around = [Duration::ZERO, self.whole * 2];
        }
    }
}

/// The deadline holds from the first switch on, also for an apply that did not live to say so.
#[test]
fn an_apply_with_a_deadline_that_is_cut_short_is_undone_without_anybody() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let whole = duration_of_apply(&edge)?;
    for moment in 0..8 {
        kill_apply_after(&edge, &format!("policy apply {} --confirm 1s", edge.mark), whole * moment / 7)?;
        edge.wait_for_timers()?;
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
