//! Policies switched while packets come as fast as one CPU makes them.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context as _, ensure};
use qos_common::ds::Dscp;
use qosbpf::lab::Lab;

use super::{
    candidate::{self, DEVICE},
    job::Spec,
    ruleset,
    shot::Range,
};
use crate::{cpu, effort::Effort, user};

/// Sends, and meanwhile applies the policy of the job and one that keeps every mark in turn. Says how many packets that
/// were.
///
/// # Errors
///
/// A packet that is lost, has a bad checksum, or a mark of neither policy.
pub fn under_load(
    lab: &Lab,
    qosbpf: &Path,
    job: &Spec,
    effort: &Effort,
    (range, cpu): (&mut Range, usize),
) -> anyhow::Result<u64> {
    let policies = [("switch-job.toml", ruleset::policy(job, DEVICE)), ("switch-keep.toml", ruleset::keep(DEVICE))];
    let [marking, keeping] = policies.map(|(name, text)| (lab.folder().join(name), text));
    for (path, text) in [&marking, &keeping] {
        std::fs::write(path, text)?;
    }
    let files = [keeping.0.display().to_string(), marking.0.display().to_string()];
    let run = |words: &[&str]| candidate::run_command(&mut user::command(qosbpf, lab, words), "");
    run(&["attach", DEVICE, "--ingress", "--hook", "xdp", "--policy", &files[1]])?;
    let (end, switches) = (AtomicBool::new(false), effort.commands);
    let result = thread::scope(|scope| {
        let switcher = scope.spawn(|| {
            let mut files = files.iter().cycle();
            let mut apply = || files.next().map_or(Ok(()), |file| run(&["policy", "apply", file]));
            let result = (0..switches).try_for_each(|_| apply());
            end.store(true, Ordering::Release);
            result
        });
        // Here alone: the commands may have the other CPUs.
        let shots = cpu::pin(cpu).map_err(Into::into).and_then(|()| shots(range, effort, job, &end));
        switcher.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))?;
        shots
    });
    run(&["detach", "--all"])?;
    result
}

/// Shoots until the end, and says how many packets that were.
fn shots(range: &mut Range, effort: &Effort, job: &Spec, end: &AtomicBool) -> anyhow::Result<u64> {
    let mut packets = 0;
    while !end.load(Ordering::Acquire) {
        let shot = range.shoot(effort.packets)?;
        let arrived: u64 = shot.by_dscp.iter().sum();
        ensure!(
            arrived == shot.sent,
            "while policies were switched, {} of {} packets were lost",
            shot.sent - arrived,
            shot.sent
        );
        ensure!(shot.bad_checksum == 0, "while policies were switched, {} bad checksums", shot.bad_checksum);
        is_of_either(&shot.by_dscp, job).context("while policies were switched")?;
        packets += shot.sent;
    }
    Ok(packets)
}

/// Under either policy a codepoint and the one it becomes hold together as many packets as were sent in the two.
fn is_of_either(by_dscp: &[u64; Dscp::COUNT], job: &Spec) -> anyhow::Result<()> {
    let table = job.table();
    let share = by_dscp.iter().sum::<u64>() / Dscp::COUNT as u64;
    for from in Dscp::all() {
        let to = table.get(from);
        let is_target = Dscp::all().any(|other| other != from && table.get(other) == from);
        let (here, wanted) = match (to == from, is_target) {
            (false, _) => (by_dscp[from.index()] + by_dscp[to.index()], 2 * share),
            (true, true) => continue,
            (true, false) => (by_dscp[from.index()], share),
        };
        ensure!(here == wanted, "DSCP {from} and what it becomes: {here} packets instead of {wanted}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::job::JOBS;

    #[test]
    fn marks_of_both_policies_pass_and_others_do_not() {
        let mut by_dscp = [10; Dscp::COUNT];
        assert!(is_of_either(&by_dscp, &JOBS[0]).is_ok());
        // Four packets in DF were met by the policy that marks.
        (by_dscp[0], by_dscp[32]) = (6, 14);
        assert!(is_of_either(&by_dscp, &JOBS[0]).is_ok());
        (by_dscp[0], by_dscp[31]) = (5, 11);
        assert!(is_of_either(&by_dscp, &JOBS[0]).is_err());
    }
}
