//! What a program costs that came by a switch, against the same one that was attached.
//!
//! By test run, since the router's noise is larger than what there could be.

use std::path::Path;

use anyhow::{Context as _, ensure};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use qos_common::ds::Dscp;
use qosbpf::{kernel::pins::Store, lab::Lab};

use super::{
    candidate::{DEVICE, run_command},
    ruleset,
};
use crate::{
    compile::involution,
    cpu,
    effort::Effort,
    frames,
    program::{attached, row},
    report::Row,
    samples::{Samples, mean, order},
    user,
};

/// The names of the rows; the first two show what no difference looks like, and the third is compared with their middle.
pub const ATTACHED: &str = "attached with the policy";
pub const AGAIN: &str = "attached with it, again";
pub const SWITCHED: &str = "switched to it";

/// Measures on the CPU that the calling thread is pinned to.
///
/// # Errors
///
/// What qosbpf or bpf(2) says.
pub fn measure(lab: &Lab, qosbpf: &Path, effort: &Effort, hook: &str) -> anyhow::Result<Vec<Row>> {
    let files =
        [("involution.toml", ruleset::by_table(changes(), DEVICE)), ("afterwards-keep.toml", ruleset::keep(DEVICE))];
    let [policy, keep] = files.map(|(name, text)| (lab.folder().join(name), text));
    for (path, text) in [&policy, &keep] {
        std::fs::write(path, text)?;
    }
    let [policy, keep] = [policy, keep].map(|(path, _)| path.display().to_string());
    let run = |words: &[&str]| run_command(&mut user::command(qosbpf, lab, words), "");
    let attach = || run(&["attach", DEVICE, "--ingress", "--hook", hook, "--policy", &policy]);
    attach()?;
    let first = program(lab)?;
    run(&["detach", "--all"])?;
    attach()?;
    let again = program(lab)?;
    for file in [&keep, &policy] {
        run(&["policy", "apply", file])?;
    }
    let switched = program(lab)?;
    // None of them is attached while they are compared: the kernel finds one that is by a shorter way.
    run(&["detach", "--all"])?;
    compare(&[(ATTACHED, first), (AGAIN, again), (SWITCHED, switched)], effort)
}

/// The involution, so that every repetition of a test run rewrites.
fn changes() -> impl Iterator<Item = (u8, u8)> {
    let table = involution();
    Dscp::all().map(move |from| (from.value(), table.get(from).value()))
}

/// The program of the only hook; it stays for as long as this lives.
fn program(lab: &Lab) -> anyhow::Result<SchedClassifier> {
    let bpffs = lab.bpffs();
    lab.edge().run(|| attached(Store::open(&bpffs)?.hooks()?.first().context("no hook")?))
}

fn compare(programs: &[(&'static str, SchedClassifier)], effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let frame = frames::all().into_iter().next().context("no frame")?.frame;
    programs.iter().try_for_each(|(name, program)| does_its_job(program, &frame).context(*name))?;
    let mut samples = vec![Samples::default(); programs.len()];
    for round in 0..effort.rounds {
        for index in order(round, programs.len()) {
            let options = TestRunOptions { data_in: Some(&frame), repeat: effort.repeat, ..TestRunOptions::default() };
            let before = cpu::thread_ns()?;
            programs[index].1.test_run(options)?;
            samples[index].push((cpu::thread_ns()? - before) / f64::from(effort.repeat));
        }
    }
    let base = mean(&samples[0], &samples[1]);
    let named = programs.iter().zip(&samples);
    Ok(named.map(|((name, _), taken)| row(name, taken, &base)).collect())
}

/// Checks that a program makes of the frame what the policy says.
fn does_its_job(program: &SchedClassifier, frame: &[u8]) -> anyhow::Result<()> {
    let mut output = vec![0; frame.len()];
    let options =
        TestRunOptions { data_in: Some(frame), data_out: Some(&mut output), repeat: 1, ..TestRunOptions::default() };
    program.test_run(options)?;
    let (before, after) = (frame[DS_FIELD] >> 2, output[DS_FIELD] >> 2);
    let wanted = Dscp::new(before).map(|dscp| involution().get(dscp).value());
    ensure!(Some(after) == wanted, "DSCP {before} became {after} instead of {wanted:?}");
    Ok(())
}

/// Behind the Ethernet header and the first byte of IPv4.
const DS_FIELD: usize = 15;
