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
    shot::{Range, Shot},
};
use crate::{cpu, effort::Effort, report::Bursts, user};

/// What policies are switched under, and how.
pub struct Load<'a> {
    /// The router.
    pub lab: &'a Lab,
    /// The binary.
    pub qosbpf: &'a Path,
    /// What the policy that marks does.
    pub job: &'a Spec,
    /// How often is switched.
    pub effort: &'a Effort,
    /// The CPU that sends.
    pub cpu: usize,
    /// The hook, as `attach` calls it.
    pub word: &'a str,
}

/// What met the policies.
#[derive(Debug, Default)]
pub struct Met {
    /// Bursts, by policy.
    pub bursts: Bursts,
    /// Packets sent.
    pub packets: u64,
    /// Packets that did not arrive.
    pub lost: u64,
}

impl Load<'_> {
    /// Sends, and meanwhile applies the policy of the job and one that keeps every mark in turn.
    ///
    /// # Errors
    ///
    /// A packet that has a bad checksum or a mark of neither policy; that one of them met none.
    pub fn apply(&self, range: &mut Range) -> anyhow::Result<Met> {
        let policies =
            [("switch-job.toml", ruleset::policy(self.job, DEVICE)), ("switch-keep.toml", ruleset::keep(DEVICE))];
        let [marking, keeping] = policies.map(|(name, text)| (self.lab.folder().join(name), text));
        for (path, text) in [&marking, &keeping] {
            std::fs::write(path, text)?;
        }
        let files = [keeping.0.display().to_string(), marking.0.display().to_string()];
        self.run(&["attach", DEVICE, "--ingress", "--hook", self.word, "--policy", &files[1]])?;
        let end = AtomicBool::new(false);
        let met = thread::scope(|scope| {
            let switcher = scope.spawn(|| {
                let mut files = files.iter().cycle();
                let mut apply = || files.next().map_or(Ok(()), |file| self.run(&["policy", "apply", file]));
                let result = (0..self.effort.commands).try_for_each(|_| apply());
                end.store(true, Ordering::Release);
                result
            });
            // Here alone: the commands may have the other CPUs.
            let met = cpu::pin(self.cpu).map_err(Into::into).and_then(|()| self.shots(range, &end));
            switcher.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))?;
            met
        })?;
        let Bursts { marked, kept, both } = met.bursts;
        ensure!(
            both > 0 || (marked > 0 && kept > 0),
            "no switch was met: {marked} bursts were marked, {kept} kept, {both} both"
        );
        Ok(met)
    }

    fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        candidate::run_command(&mut user::command(self.qosbpf, self.lab, words), "")
    }

    /// Shoots until the end.
    fn shots(&self, range: &mut Range, end: &AtomicBool) -> anyhow::Result<Met> {
        let mut met = Met::default();
        while !end.load(Ordering::Acquire) {
            let shot = range.shoot(self.effort.packets)?;
            met.add(&shot, self.job).context("while policies were switched")?;
        }
        Ok(met)
    }
}

impl Met {
    fn add(&mut self, shot: &Shot, job: &Spec) -> anyhow::Result<()> {
        let arrived: u64 = shot.by_dscp.iter().sum();
        self.packets += shot.sent;
        self.lost += shot.sent.abs_diff(arrived);
        ensure!(shot.bad_checksum == 0, "{} bad checksums", shot.bad_checksum);
        if arrived == shot.sent {
            is_of_either(&shot.by_dscp, job)?;
        }
        match (has_marked(shot, job), has_kept(shot, job)) {
            (true, true) => self.bursts.both += 1,
            (true, false) => self.bursts.marked += 1,
            (false, _) => self.bursts.kept += 1,
        }
        Ok(())
    }
}

/// Whether packets came as what another codepoint becomes: more than were sent in it.
fn has_marked(shot: &Shot, job: &Spec) -> bool {
    changes(job).any(|(_, to)| shot.by_dscp[to.index()] > shot.sent / Dscp::COUNT as u64)
}

/// Whether packets came in a codepoint that the policy changes.
fn has_kept(shot: &Shot, job: &Spec) -> bool {
    changes(job).any(|(from, _)| shot.by_dscp[from.index()] > 0)
}

fn changes(job: &Spec) -> impl Iterator<Item = (Dscp, Dscp)> {
    let table = job.table();
    Dscp::all().map(move |from| (from, table.get(from))).filter(|(from, to)| from != to)
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
    fn a_burst_is_told_by_the_policies_that_it_met() {
        let (job, mut met) = (&JOBS[0], Met::default());
        let mut shot = Shot { sent: 640, by_dscp: [10; Dscp::COUNT], bad_checksum: 0, cpu_ns: 0.0 };
        met.add(&shot, job).unwrap();
        (shot.by_dscp[0], shot.by_dscp[32]) = (6, 14);
        met.add(&shot, job).unwrap();
        shot.by_dscp = [10; Dscp::COUNT];
        for (from, to) in changes(job) {
            shot.by_dscp[from.index()] = 0;
            shot.by_dscp[to.index()] = 20;
        }
        met.add(&shot, job).unwrap();
        shot.by_dscp[1] -= 1;
        met.add(&shot, job).unwrap();
        assert_eq!(met.bursts, Bursts { kept: 1, both: 1, marked: 2 });
        assert_eq!((met.packets, met.lost), (4 * 640, 1));
    }

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
