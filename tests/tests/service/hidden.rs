//! What the service does not put back: programs may run on by pins that it cannot see, or somebody does not want them.

use std::fs;

use anyhow::{Context as _, ensure};
use nix::mount::{MntFlags, umount2};
use qosbpf::{
    hook::Direction,
    kernel::{
        document,
        pins::{HookPins, Pin, Store},
    },
};
use qosbpf_tests::{
    binary,
    router::{run_in, words},
    service::{Lab, MARK, OTHER, eventually},
};

use crate::pins::{looks_again, mount_bpffs, program, serving};

/// A saved policy is in force, and the service looks at its pins every ten seconds, or when somebody says so.
fn saved(commands: &[&str]) -> anyhow::Result<Lab> {
    let mut lab = Lab::start()?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"10s\"\n")?;
    lab.save("edge", MARK)?;
    lab.serve()?;
    for command in commands {
        lab.ok(command)?;
    }
    lab.ok("run --reload")?;
    ensure!(lab.five_become(34)?);
    Ok(lab)
}

fn attached(lab: &Lab) -> anyhow::Result<usize> {
    Ok(lab.log()?.matches("attached: ").count())
}

/// The policy that is read again would come into force in what hides the other one's pins.
#[test]
fn a_reload_attaches_nothing_beside_programs_that_run_by_hidden_pins() -> anyhow::Result<()> {
    let lab = saved(&[])?;
    let (was, before) = (program(&lab, "lan0:ingress")?, attached(&lab)?);
    mount_bpffs(&lab.router.bpffs)?;
    lab.save("other", OTHER)?;
    lab.ask("run --reload")?.expect(2)?;
    lab.says(&[
        "lan0:ingress runs on, by a pin that cannot be seen",
        "is not read as long as what was in force is lost",
    ])?;
    looks_again(&lab)?;
    lab.ask("status")?.expect(3)?.says(&["lan0:ingress", "MISSING", "not in force"])?;
    ensure!(attached(&lab)? == before, "{}", lab.log()?);
    umount2(&lab.router.bpffs, MntFlags::empty())?;
    ensure!(program(&lab, "lan0:ingress")? == was && lab.five_become(34)?);
    lab.ok("run --reload")?;
    lab.ok("status")?;
    ensure!(lab.five_become(8)?);
    Ok(())
}

/// Each of them is meant, not only the first.
#[test]
fn all_programs_that_run_by_hidden_pins_are_named() -> anyhow::Result<()> {
    let lab = serving(&["attach lan0 --egress --hook tcx"])?;
    lab.ok("status")?;
    looks_again(&lab)?;
    mount_bpffs(&lab.router.bpffs)?;
    lab.says(&["the program at lan0:ingress, lan0:egress runs on, by a pin that cannot be seen any more"])?;
    let missing = || lab.ask("status")?.expect(3)?.says(&["! lan0:ingress", "! lan0:egress", "MISSING"]).map(drop);
    eventually(|| Ok(missing().is_ok())).with_context(|| lab.log().unwrap_or_default())?;
    umount2(&lab.router.bpffs, MntFlags::empty())?;
    looks_again(&lab)?;
    lab.ok("status")?;
    Ok(())
}

/// Somebody who sees no pins puts a policy in force there.
#[test]
fn a_policy_above_hidden_pins_attaches_nothing_beside_them() -> anyhow::Result<()> {
    let lab = serving(&[])?;
    let before = attached(&lab)?;
    mount_bpffs(&lab.router.bpffs)?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other}"))?;
    for _ in 0..2 {
        looks_again(&lab)?;
    }
    lab.ask("status")?.expect(3)?.says(&["lan0:ingress", "MISSING"])?;
    ensure!(attached(&lab)? == before, "{}", lab.log()?);
    umount2(&lab.router.bpffs, MntFlags::empty())?;
    ensure!(lab.five_become(34)?);
    Ok(())
}

/// A filter needs no pin, and would be removed though all that is known of it is there below.
#[test]
fn a_filter_stays_whose_pins_are_hidden() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    lab.ok("attach wan0 --egress --hook clsact")?;
    lab.serve()?;
    let was = program(&lab, "wan0:egress")?;
    mount_bpffs(&lab.router.bpffs)?;
    lab.says(&["wan0:egress runs on, by a pin that cannot be seen"])?;
    umount2(&lab.router.bpffs, MntFlags::empty())?;
    looks_again(&lab)?;
    lab.ok("status")?;
    ensure!(program(&lab, "wan0:egress")? == was);
    Ok(())
}

/// A reload comes before the service has seen that anything is gone.
#[test]
fn a_reload_puts_back_what_the_file_does_not_have() -> anyhow::Result<()> {
    let lab = saved(&["attach wan0 --egress --hook clsact"])?;
    let was = program(&lab, "wan0:egress")?;
    umount2(&lab.router.bpffs, MntFlags::MNT_DETACH)?;
    lab.ok("run --reload")?;
    let hook = lab.hook("wan0:egress")?.with_context(|| lab.log().unwrap_or_default())?;
    ensure!(hook["hook"] == "clsact" && hook["program_id"] != was, "{hook:#}");
    lab.ok("status")?;
    ensure!(lab.five_become(34)?);
    Ok(())
}

/// What a command has attached before it fails it detaches again, all under one lock.
#[test]
fn what_a_command_has_done_by_half_is_not_remembered() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    lab.ok("attach wan0 --ingress")?;
    let store = lab.router.edge().run(|| Store::open(&lab.router.bpffs))?;
    let lock = store.quiet()?.context("somebody else has the lock")?;
    lab.serve()?;
    looks_again(&lab)?;
    store.hooks()?.iter().try_for_each(HookPins::remove_all)?;
    drop(lock);
    looks_again(&lab)?;
    looks_again(&lab)?;
    let log = lab.log()?;
    ensure!(!log.contains("counts from zero") && !log.contains("attached: "), "{log}");
    ensure!(lab.hook("wan0:ingress")?.is_none());
    Ok(())
}

/// Without CAP_SYS_ADMIN the kernel does not say whether a link is held.
#[test]
fn without_the_right_to_ask_nothing_is_put_back() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    let policy = lab.router.policy("edge", MARK)?;
    lab.ok(&format!("policy apply {policy} --attach"))?;
    let name = lab.router.edge().name();
    let mut command = words(&format!("nsenter --net=/run/netns/{name} setpriv"));
    command.args(["--bounding-set=-all,+net_admin,+bpf,+perfmon", "--inh-caps=-all"]).arg(binary::path()?);
    command.arg("--bpffs").arg(&lab.router.bpffs).arg("--etc").arg(lab.etc("")).arg("run");
    lab.serve_by(command.env("LC_ALL", "C.UTF-8"))?;
    ensure!(lab.five_become(34)?);
    fs::remove_dir_all(lab.router.bpffs.join("qosbpf"))?;
    lab.says(&["it cannot be said whether the program at lan0:ingress runs on", "CAP_SYS_ADMIN"])?;
    eventually(|| Ok(lab.ask("status")?.code == 3)).with_context(|| lab.log().unwrap_or_default())?;
    lab.ask("status")?.says(&["lan0:ingress", "MISSING", "CAP_SYS_ADMIN"])?;
    ensure!(attached(&lab)? == 0, "{}", lab.log()?);
    lab.ok(&format!("policy apply {policy} --attach"))?;
    looks_again(&lab)?;
    lab.ok("status")?;
    ensure!(lab.five_become(34)?);
    Ok(())
}

/// Its pins are no way to it, and the policy binds it.
#[test]
fn a_broken_hook_that_is_detached_is_not_attached_again() -> anyhow::Result<()> {
    let lab = serving(&["attach wan0 --egress"])?;
    let hooks = lab.router.edge().run(|| Store::open(&lab.router.bpffs)?.hooks())?;
    let hook = hooks.iter().find(|hook| hook.direction == Direction::Ingress).context("lan0:ingress")?;
    document::write(&hook.path(Pin::State), &"no state")?;
    lab.becomes("lan0:ingress", "error")?;
    lab.ok("detach lan0:ingress")?;
    // The second of two looks begins when the first has done what there is to do.
    for mtu in [1400, 1300] {
        run_in(lab.router.edge(), &format!("ip link set lan0 mtu {mtu}"))?;
        lab.says(&[&format!("is {mtu} now")])?;
    }
    ensure!(attached(&lab)? == 0, "{}", lab.log()?);
    lab.ask("status")?.expect(3)?.says(&["lan0:ingress", "MISSING"])?;
    Ok(())
}

/// What is lost can be given up, by its name too, and stays so.
#[test]
fn what_is_lost_is_not_put_back_once_it_is_detached() -> anyhow::Result<()> {
    let lab = serving(&["attach wan0 --egress"])?;
    let before = attached(&lab)?;
    umount2(&lab.router.bpffs, MntFlags::MNT_DETACH)?;
    let stranger = lab.router.bpffs.join("stranger");
    fs::write(&stranger, "")?;
    lab.says(&["was unmounted", "neither a bpf file system nor an empty folder"])?;
    eventually(|| Ok(lab.ask("status")?.code == 3)).with_context(|| lab.log().unwrap_or_default())?;
    lab.ok("detach lan0:ingress")?.says(&["lan0:ingress", "run does not attach it again"])?;
    lab.ok("detach --all")?.says(&["wan0:egress", "run does not attach it again"])?;
    lab.ok("status")?;
    fs::remove_file(stranger)?;
    for _ in 0..2 {
        looks_again(&lab)?;
    }
    lab.ok("status")?;
    ensure!(attached(&lab)? == before, "{}", lab.log()?);
    let qdiscs = run_in(lab.router.edge(), "ip link show lan0")?.stdout;
    ensure!(!qdiscs.contains("xdp"), "{qdiscs}");
    Ok(())
}
