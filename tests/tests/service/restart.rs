//! The service ends, is killed, is replaced: the datapath does not notice, and what somebody wanted stays so.

use std::{fs, io, os::unix::fs::symlink, path::PathBuf};

use anyhow::Context as _;
use nix::sys::signal::Signal;
use qosbpf::kernel::{document, state::HookState};

use qosbpf_tests::{
    numbered,
    service::{Lab, MARK, OTHER},
};

#[test]
fn the_datapath_goes_on_without_the_service() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let program = |lab: &Lab| anyhow::Ok(lab.hook("lan0:ingress")?.context("a hook")?["program_id"].clone());
    let before = program(&lab)?;
    lab.stop()?;
    assert!(lab.five_become(34)?);
    assert!(lab.ask("status --json")?.json()?["run"].is_null());
    lab.serve()?;
    assert_eq!(program(&lab)?, before, "it takes over what runs");
    lab.end_by(Signal::SIGKILL)?;
    assert!(lab.five_become(34)?);
    lab.serve()?;
    assert_eq!(program(&lab)?, before);
    assert!(lab.five_become(34)?);
    lab.ok("status")?.says(&["run: active"])?;
    Ok(())
}

#[test]
fn bypass_history_and_an_unsaved_policy_survive_a_kill() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other}"))?;
    lab.ok("policy bypass lan0:ingress")?;
    let history = lab.ok("policy history --json")?.json()?;
    lab.end_by(Signal::SIGKILL)?;
    lab.serve()?;
    let cures = ["policy save keeps it, ", "policy apply --attach ", "etc/policy.toml takes the saved one"];
    lab.says(&[&["policy other", "stays in force, and is not the saved one"][..], &cures].concat())?;
    assert_eq!(lab.hook("lan0:ingress")?.context("a hook")?["state"], "bypassed");
    assert!(lab.five_become(46)?, "out of the path");
    assert_eq!(lab.metric("qosbpf_policy_bypassed{device=\"lan0\",direction=\"ingress\"}")?, Some(1.0));
    assert_eq!(lab.metric("qosbpf_policy_saved")?, Some(0.0));
    assert_eq!(lab.ok("policy history --json")?.json()?, history);
    lab.ok("policy resume")?;
    assert!(lab.five_become(8)?);
    lab.ok("policy save")?;
    lab.end_by(Signal::SIGKILL)?;
    lab.serve()?;
    assert_eq!(lab.metric("qosbpf_policy_saved")?, Some(1.0));
    assert!(lab.five_become(8)?);
    Ok(())
}

/// Whoever supervises it starts it again while the kernel still takes the one apart that was killed.
#[test]
fn one_that_is_killed_is_followed_by_another_at_once() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    for _ in 0..3 {
        lab.kill()?;
        lab.serve()?;
        lab.ok("status")?.says(&["run: active"])?;
    }
    Ok(())
}

/// Nothing of qosbpf's was there when the one went and the other one came.
#[test]
fn a_device_made_again_while_the_service_is_stopped_begins_at_zero() -> anyhow::Result<()> {
    let mut lab = Lab::serving("[interface.dyn0]\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n")?;
    let counted = |lab: &Lab| anyhow::Ok(lab.router.counted("dyn0:egress")?.packets().get(&184).copied());
    numbered::make(lab.router.edge())?;
    lab.becomes("dyn0:egress", "active")?;
    numbered::send(lab.router.edge(), 20)?;
    assert_eq!(counted(&lab)?, Some(20));
    lab.stop()?;
    numbered::make_again(lab.router.edge())?;
    numbered::send(lab.router.edge(), 30)?;
    lab.serve()?;
    lab.becomes("dyn0:egress", "active")?;
    numbered::send(lab.router.edge(), 7)?;
    assert_eq!(counted(&lab)?, Some(7), "{}", lab.log()?);
    lab.says(&["dyn0:egress begins at zero: what was left there was that of a device that is gone"])
}

/// Whoever edits the file and restarts the service means the file.
#[test]
fn a_file_that_was_changed_since_is_put_in_force_at_the_start() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    lab.stop()?;
    lab.save("edge", OTHER)?;
    lab.serve()?;
    assert!(lab.five_become(8)?);
    Ok(())
}

#[test]
fn a_broken_file_at_the_start_keeps_what_is_in_force() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    lab.stop()?;
    lab.save("edge", "[interface.lan0]\ningres = \"mark\"\n")?;
    lab.serve()?;
    lab.says(&["the saved policy is not in force", "policy.toml:4:1", "unknown key `ingres`", "policy edge"])?;
    assert!(lab.five_become(34)?);
    assert_eq!(lab.metric("qosbpf_policy_last_reload_successful")?, Some(0.0));
    assert_eq!(lab.metric("qosbpf_policy_last_reload_success_timestamp_seconds")?, Some(0.0));
    // The device comes anew, and gets the good one.
    qosbpf_tests::router::run_in(lab.router.edge(), "ip link set lan0 name lan7")?;
    qosbpf_tests::router::run_in(lab.router.edge(), "ip link set lan7 name lan0")?;
    lab.becomes("lan0:ingress", "active")
}

/// What a boot leaves: nothing in the bpf file system, nothing in /run, and the files.
fn reboot(lab: &Lab) -> anyhow::Result<()> {
    lab.ok("detach --all")?;
    let namespace = lab.router.edge().run(qosbpf::kernel::netns::id)?;
    for folder in [lab.router.bpffs.join("qosbpf"), PathBuf::from(format!("/run/qosbpf/netns-{namespace}"))] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn a_broken_file_after_a_boot_brings_the_last_good_policy_back() -> anyhow::Result<()> {
    const BROKEN: &str = "[interface.lan0]\ningres = \"mark\"\n";
    let mut lab = Lab::serving(MARK)?;
    // Saved while the service runs, and never reloaded: the copy follows.
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other} --save"))?;
    lab.stop()?;
    reboot(&lab)?;
    lab.save("edge", BROKEN)?;
    lab.serve()?;
    lab.says(&["the last good policy is in force instead: other", "the saved policy is not in force", "`ingres`"])?;
    lab.becomes("lan0:ingress", "active")?;
    assert!(lab.five_become(8)?);
    lab.ask("status")?.expect(0)?.says(&[
        "policy other",
        "NOT SAVED: run takes it from last-good.toml after a reboot",
        "! run: the saved policy is not in force",
        "! the saved policy is of no use at the next start: ",
    ])?;
    assert_eq!(lab.metric("qosbpf_policy_last_reload_successful")?, Some(0.0));
    lab.save("edge", MARK)?;
    lab.ok("run --reload")?;
    assert!(lab.five_become(34)?);
    assert_eq!(fs::read_to_string(lab.etc("last-good.toml"))?, fs::read_to_string(lab.etc("policy.toml"))?);
    // What is in force wins over the copy, however it came there.
    lab.ok(&format!("policy apply {other}"))?;
    lab.stop()?;
    lab.save("edge", BROKEN)?;
    lab.serve()?;
    assert!(lab.five_become(8)?);
    Ok(())
}

/// A link into what is not mounted yet, or not any more, is no word for "nothing is saved".
#[test]
fn a_saved_policy_that_leads_nowhere_after_a_boot_brings_the_last_good_one_back() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let path = lab.etc("policy.toml");
    lab.stop()?;
    reboot(&lab)?;
    fs::remove_file(&path)?;
    symlink("/mnt/not/here/policy.toml", &path)?;
    lab.serve()?;
    lab.says(&[
        "the last good policy is in force instead: edge",
        "it is a link to /mnt/not/here/policy.toml, which is not",
    ])?;
    assert!(lab.five_become(34)?);
    lab.ask("run --reload")?.expect(2)?.complains(&["it is a link to /mnt/not/here/policy.toml"])?;
    assert_eq!(lab.metric("qosbpf_policy_last_reload_successful")?, Some(0.0));
    lab.ask("policy save")?.expect(1)?.complains(&["it is a link to /mnt/not/here/policy.toml"])?;
    assert!(path.symlink_metadata()?.is_symlink());
    Ok(())
}

#[test]
fn without_a_good_policy_a_broken_file_leaves_none() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", "[interface.lan0]\ningres = \"mark\"\n")?;
    lab.serve()?;
    lab.says(&["the saved policy is not in force", "no policy is in force"])?;
    assert!(!lab.etc("last-good.toml").exists());
    Ok(())
}

#[test]
fn a_second_one_says_who_serves() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let pid = lab.pid()?.to_string();
    for line in ["run", "run --once"] {
        lab.ask(line)?.expect(1)?.complains(&["serves this network namespace already", &format!("process {pid}")])?;
    }
    // Another namespace is another matter.
    let wan = lab.router.command_in(lab.router.lab().wan(), &format!("--etc {} run --once", lab.etc("none").display()));
    qosbpf_tests::binary::Answer::of(&mut wan?)?.expect(0)?;
    Ok(())
}

/// The state of a hook, as another version would have left it.
fn of_version(lab: &Lab, version: &str) -> anyhow::Result<()> {
    let namespace = fs::read_dir(lab.router.bpffs.join("qosbpf/v1"))?.next().context("pins")??.path();
    let interface = fs::read_dir(namespace)?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("if-"));
    let path: PathBuf = interface.context("a hook")?.path().join("ingress/state");
    let state: HookState = document::read(&path)?.context("a state")?;
    document::write(&path, &HookState { version: version.to_owned(), ..state })
}

#[test]
fn programs_of_an_older_version_are_taken_over_with_their_counters() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    assert!(lab.five_become(34)?);
    lab.stop()?;
    of_version(&lab, "0.0.9")?;
    let before = lab.hook("lan0:ingress")?.context("a hook")?;
    assert_eq!(before["datapath_version"], "0.0.9");
    fs::write(lab.etc("qosbpf.toml"), "upgrade = \"keep\"\n")?;
    lab.serve()?;
    assert_eq!(lab.hook("lan0:ingress")?.context("a hook")?["program_id"], before["program_id"]);
    lab.ask("status")?.says(&["datapath 0.0.9 != binary"])?;
    lab.stop()?;
    fs::write(lab.etc("qosbpf.toml"), "")?;
    lab.serve()?;
    lab.says(&["upgraded"])?;
    let after = lab.hook("lan0:ingress")?.context("a hook")?;
    assert_eq!(after["datapath_version"], qosbpf::VERSION);
    assert_ne!(after["program_id"], before["program_id"]);
    assert_eq!(after["since"], before["since"], "it counts on");
    assert!(lab.five_become(34)?);
    Ok(())
}
