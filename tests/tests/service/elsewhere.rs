//! A service whose pins are not where somebody looks: what runs by them is not to be ended for that.

use anyhow::ensure;
use qosbpf_tests::{
    binary::{self, Answer},
    mounts,
    service::{Lab, MARK},
};

use crate::pins::mount_bpffs;

/// A question of somebody who looks in another bpf file system, or where none is.
fn ask_at(lab: &Lab, bpffs: &str, line: &str) -> anyhow::Result<Answer> {
    let (edge, etc) = (lab.router.edge().name(), lab.etc("").display().to_string());
    let mut command = binary::command(&["--netns", edge, "--bpffs", bpffs, "--etc", &etc])?;
    Answer::of(command.args(line.split(' ')))
}

/// All that somebody pastes who pastes all of it.
fn commands(script: &str) -> impl Iterator<Item = &str> {
    script.lines().filter(|line| !line.starts_with('#'))
}

fn in_one_line(answer: &Answer) -> String {
    answer.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn pins_within_reach_are_named_and_no_command_ends_what_runs_by_them() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    lab.ok("attach wan0 --egress")?;
    let there = lab.router.folder().join("forgotten").display().to_string();
    let name = format!("name that: --bpffs {}", lab.router.bpffs.display());
    let script = ask_at(&lab, &there, "doctor --sample 0 --fix-script")?.expect(3)?.stdout;
    ensure!(script.matches("is qosbpf's own").count() == 2 && script.contains(&format!("# {name}")), "{script}");
    ensure!(!commands(&script).any(|line| line.contains("detach")), "{script}");
    let status = in_one_line(&ask_at(&lab, &there, "status")?);
    ensure!(status.matches(&name).count() == 2 && !status.contains("--unpinned"), "{status}");
    ensure!(lab.five_become(34)?, "{script}");
    lab.ok("detach wan0").map(drop)
}

/// As where it has a mount namespace of its own.
#[test]
fn pins_of_a_service_that_are_out_of_reach_are_told_of_and_no_command_ends_what_runs_by_them() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let bpffs = lab.router.bpffs.clone();
    mounts::alone(&bpffs, || {
        mount_bpffs(&bpffs)?;
        lab.serve()
    })?;
    let here = bpffs.display().to_string();
    let script = ask_at(&lab, &here, "doctor --sample 0 --fix-script")?.expect(3)?.stdout;
    let told = "qosbpf run serves this network namespace by pins in another bpf file system";
    ensure!(script.contains(told) && !commands(&script).any(|line| line.contains("detach")), "{script}");
    let status = in_one_line(&ask_at(&lab, &here, "status")?);
    ensure!(status.contains("name that by --bpffs") && !status.contains("--unpinned"), "{status}");
    Ok(())
}

/// A folder without pins, and none at all.
#[test]
fn who_reloads_by_other_pins_is_told_which_ones_the_service_has() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let bpffs = lab.router.bpffs.display().to_string();
    for there in [lab.router.folder().display().to_string(), "/nowhere".to_owned()] {
        let refused = ask_at(&lab, &there, "run --reload")?.expect(1)?;
        refused.complains(&[&format!("(process {})", lab.pid()?), &bpffs, "name that by --bpffs"])?;
    }
    lab.ok("run --reload").map(drop)
}
