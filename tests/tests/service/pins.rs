//! The pins vanish from under the service: somebody unmounts the bpf file system, or removes the folder.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use aya::programs::links::PinnedLink;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use qosbpf_tests::{
    flow::Flow,
    router::run_in,
    service::{Lab, MARK, eventually},
};

const UP: &str = "qosbpf_hook_up{device=\"lan0\",direction=\"ingress\"}";

/// A policy is in force that is not saved, and the service has looked at it. Hooks are attached by these commands.
pub fn serving(commands: &[&str]) -> anyhow::Result<Lab> {
    let mut lab = Lab::start()?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    for command in commands {
        lab.ok(command)?;
    }
    let policy = lab.router.policy("edge", MARK)?;
    lab.ok(&format!("policy apply {policy} --attach --prune"))?;
    lab.serve()?;
    ensure!(lab.five_become(34)?);
    Ok(lab)
}

pub fn program(lab: &Lab, hook: &str) -> anyhow::Result<u64> {
    lab.hook(hook)?.and_then(|hook| hook["program_id"].as_u64()).with_context(|| format!("no program at {hook}"))
}

/// Another program than this one runs again, and marks.
fn is_put_back(lab: &Lab, was: u64) -> anyhow::Result<()> {
    eventually(|| Ok(program(lab, "lan0:ingress").is_ok_and(|now| now != was)))
        .with_context(|| format!("not back:\n{}", lab.log().unwrap_or_default()))?;
    eventually(|| Ok(lab.ask("status")?.code == 0)).with_context(|| lab.log().unwrap_or_default())?;
    ensure!(lab.five_become(34)?);
    ensure!(lab.router.counted("lan0:ingress")?.packets().get(&184) == Some(&5), "counts from zero");
    Ok(())
}

/// There is no saved policy to read, and it looks all the same.
pub fn looks_again(lab: &Lab) -> anyhow::Result<()> {
    lab.ask("run --reload")?.expect(2).map(drop)
}

pub fn mount_bpffs(at: &Path) -> anyhow::Result<()> {
    Ok(mount(Some("bpf"), at, Some("bpf"), MsFlags::empty(), Some("mode=0755"))?)
}

#[test]
fn what_a_removed_folder_had_is_put_back() -> anyhow::Result<()> {
    let lab = serving(&["attach wan0 --egress --hook clsact"])?;
    let was = program(&lab, "lan0:ingress")?;
    let (before, counting) = (lab.hook("lan0:ingress")?.context("a hook")?, program(&lab, "wan0:egress")?);
    fs::remove_dir_all(lab.router.bpffs.join("qosbpf"))?;
    is_put_back(&lab, was)?;
    lab.says(&["the pins in", "/qosbpf are gone, and what ran by its pins has ended", "lan0:ingress, wan0:egress"])?;
    let after = lab.hook("lan0:ingress")?.context("a hook")?;
    for same in ["hook", "table", "policy_hash", "reason"] {
        ensure!(!before[same].is_null() && before[same] == after[same], "{same}: {before:#} {after:#}");
    }
    ensure!(before["since"].as_str() <= after["since"].as_str());
    lab.ok("policy history")?.says(&["edge"])?;
    // One that no policy binds, as it was told to be attached, with a filter that outlived its pins. It comes after the other.
    lab.becomes("wan0:egress", "counting")?;
    let after = lab.hook("wan0:egress")?.context("a hook")?;
    ensure!(after["hook"] == "clsact" && after["program_id"] != counting, "{after:#}");
    // All of it is ours to remove.
    lab.ok("detach --all")?;
    let qdiscs = run_in(lab.router.edge(), "tc qdisc show dev wan0")?.stdout;
    ensure!(!qdiscs.contains("clsact"), "{qdiscs}");
    Ok(())
}

#[test]
fn a_bypass_stays_where_pins_are_put_back() -> anyhow::Result<()> {
    let mut lab = serving(&[])?;
    let was = program(&lab, "lan0:ingress")?;
    lab.ok("policy bypass")?;
    lab.stop()?;
    lab.serve()?;
    umount2(&lab.router.bpffs, MntFlags::MNT_DETACH)?;
    lab.says(&["was unmounted", "attached: "])?;
    lab.becomes("lan0:ingress", "bypassed")?;
    lab.says(&["BYPASSED by ", &format!(": {}", lab.typed("policy resume lan0:ingress"))])?;
    ensure!(program(&lab, "lan0:ingress")? != was);
    lab.ok("policy resume")?;
    ensure!(lab.five_become(34)?);
    Ok(())
}

/// The first program that is attached is the one that counts.
#[test]
fn no_packet_is_remarked_where_a_bypassed_hook_is_put_back() -> anyhow::Result<()> {
    let lab = serving(&[])?;
    lab.ok("policy bypass")?;
    looks_again(&lab)?;
    let flow = Flow::start(&lab.router)?;
    flow.pass(50)?;
    umount2(&lab.router.bpffs, MntFlags::MNT_DETACH)?;
    lab.says(&["BYPASSED by "])?;
    flow.pass(100)?;
    let outcome = flow.end()?;
    ensure!(outcome.marks.keys().eq([&46]), "{outcome:?}");
    lab.ok("policy resume")?;
    ensure!(lab.five_become(34)?);
    Ok(())
}

/// The kernel may take longer to end a link than one look waits; the look of every thirty seconds is not waited for then.
#[test]
fn what_still_ran_when_its_pins_were_gone_is_put_back_as_soon_as_it_has_ended() -> anyhow::Result<()> {
    let lab = serving(&[])?;
    let was = program(&lab, "lan0:ingress")?;
    let held = PinnedLink::from_pin(lab.router.hook_folder("lan0", "ingress")?.join("link"))?;
    umount2(&lab.router.bpffs, MntFlags::MNT_DETACH)?;
    lab.says(&["nothing is attached again as long as what ran by its pins may run on"])?;
    drop(held);
    is_put_back(&lab, was)
}

/// A folder that is in use is no place for a mount, until it is empty again.
#[test]
fn what_cannot_be_put_back_is_said_as_long_as_it_is_so() -> anyhow::Result<()> {
    let lab = serving(&[])?;
    let was = program(&lab, "lan0:ingress")?;
    umount2(&lab.router.bpffs, MntFlags::MNT_DETACH)?;
    let stranger = lab.router.bpffs.join("stranger");
    fs::write(&stranger, "")?;
    lab.says(&["was unmounted", "neither a bpf file system nor an empty folder"])?;
    eventually(|| Ok(lab.metric(UP)? == Some(0.0))).with_context(|| lab.log().unwrap_or_default())?;
    lab.ask("status")?.expect(3)?.says(&["lan0:ingress", "MISSING", "run attaches it again", "nor an empty folder"])?;
    let said = |lab: &Lab| anyhow::Ok(lab.log()?.matches("neither a bpf file system").count());
    looks_again(&lab)?;
    ensure!(said(&lab)? == 1, "said once:\n{}", lab.log()?);
    fs::remove_file(stranger)?;
    looks_again(&lab)?;
    is_put_back(&lab, was)?;
    eventually(|| Ok(lab.metric(UP)? == Some(1.0)))
}

/// What runs on by pins below another mount would meet each packet beside what is attached again.
#[test]
fn nothing_is_attached_beside_programs_that_run_by_hidden_pins() -> anyhow::Result<()> {
    let lab = serving(&[])?;
    let was = program(&lab, "lan0:ingress")?;
    mount_bpffs(&lab.router.bpffs)?;
    lab.says(&["another bpf file system is at", "lan0:ingress runs on, by a pin that cannot be seen"])?;
    lab.ask("status")?.expect(3)?.says(&["umount what has been mounted over the bpf file system"])?;
    umount2(&lab.router.bpffs, MntFlags::empty())?;
    run_in(lab.router.edge(), "ip link set lan0 mtu 1400")?;
    eventually(|| Ok(lab.ask("status")?.code == 0)).with_context(|| lab.log().unwrap_or_default())?;
    ensure!(program(&lab, "lan0:ingress")? == was);
    Ok(())
}

#[test]
fn what_somebody_detached_is_not_taken_for_lost() -> anyhow::Result<()> {
    let lab = serving(&[])?;
    lab.ok("detach --all")?;
    lab.says(&["detached by hand"])?;
    looks_again(&lab)?;
    umount2(&lab.router.bpffs, MntFlags::MNT_DETACH)?;
    looks_again(&lab)?;
    let log = lab.log()?;
    ensure!(!log.contains("counts from zero") && !log.contains("attached: "), "{log}");
    Ok(())
}
