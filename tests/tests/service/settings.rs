//! qosbpf.toml: what it changes, and what is wrong in it.

use std::fs;

use nix::sys::signal::Signal;

use qosbpf_tests::service::{Lab, MARK};

#[test]
fn a_mistake_in_the_settings_keeps_nobody_from_marking() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"2s\"\nlissen = \"127.0.0.1:9777\"\n")?;
    lab.serve()?;
    lab.says(&["settings are wrong", "qosbpf.toml:2:1", "unknown key `lissen`", "^^^^^^", "did you mean `listen`?"])?;
    assert!(lab.five_become(34)?);
    assert_eq!(lab.metric("qosbpf_policy_last_reload_successful")?, Some(0.0));
    lab.ok("status")?.says(&["! run: its settings are not what their file says"])?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"2s\"\n")?;
    lab.signal(Signal::SIGHUP)?;
    qosbpf_tests::service::eventually(|| Ok(lab.metric("qosbpf_policy_last_reload_successful")? == Some(1.0)))
}

#[test]
fn a_group_that_is_not_there_is_a_mistake_and_the_last_one_stays() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"2s\"\ngroup = \"nosuchgrp\"\n")?;
    lab.serve()?;
    lab.says(&["settings are wrong", "there is no group `nosuchgrp`", "qosbpf.toml:2:9", "^^^^^^^^^^^"])?;
    lab.ok("status")?.says(&["! run: its settings are not what their file says"])?;
    fs::write(lab.etc("qosbpf.toml"), "group = \"nogroup\"\n")?;
    lab.ok("run --reload")?;
    assert_eq!(lab.metric("qosbpf_policy_last_reload_successful")?, Some(1.0));
    fs::write(lab.etc("qosbpf.toml"), "group = \"nosuchgrp\"\n")?;
    lab.ask("run --reload")?;
    assert_eq!(lab.metric("qosbpf_policy_last_reload_successful")?, Some(0.0));
    Ok(())
}

/// Whether there is the group is asked for later than the rest.
#[test]
fn each_mistake_is_said_once() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    fs::write(lab.etc("qosbpf.toml"), "lissen = 1\ngroup = \"nosuchgrp\"\n")?;
    lab.serve()?;
    let log = lab.log()?;
    for mistake in ["unknown key `lissen`", "there is no group `nosuchgrp`"] {
        assert_eq!(log.matches(mistake).count(), 1, "{mistake}: {log}");
    }
    Ok(())
}

/// The one mistake that must not be guessed around.
#[test]
fn a_namespace_that_cannot_be_read_is_not_guessed() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    lab.save("edge", MARK)?;
    fs::write(lab.etc("qosbpf.toml"), "netns = 7\n")?;
    refuses_to_guess(&lab, "qosbpf.toml:1:9")
}

/// Such as one into a file system that is not mounted yet.
#[test]
fn settings_that_lead_nowhere_are_not_taken_for_none() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    lab.save("edge", MARK)?;
    std::os::unix::fs::symlink("/mnt/not/here/qosbpf.toml", lab.etc("qosbpf.toml"))?;
    refuses_to_guess(&lab, "qosbpf.toml: it is a link to /mnt/not/here/qosbpf.toml, which is not there")
}

/// In the router, but not told so by the command line.
fn refuses_to_guess(lab: &Lab, why: &str) -> anyhow::Result<()> {
    let etc = lab.etc("").display().to_string();
    let bpffs = lab.router.bpffs.display().to_string();
    let answer = lab.router.edge().run(|| {
        let mut command = qosbpf_tests::binary::command(&["--etc", &etc, "--bpffs", &bpffs, "run", "--once"])?;
        qosbpf_tests::binary::Answer::of(&mut command)
    })?;
    answer.expect(2)?.complains(&["may name a network namespace", why])?;
    assert!(!lab.router.bpffs.join("qosbpf").exists(), "nothing was attached");
    Ok(())
}

#[test]
fn the_settings_name_the_namespace_and_the_address() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let netns = lab.router.edge().name().to_owned();
    fs::write(lab.etc("qosbpf.toml"), format!("netns = \"{netns}\"\nlisten = \"127.0.0.2:9999\"\n"))?;
    let etc = lab.etc("").display().to_string();
    let bpffs = lab.router.bpffs.display().to_string();
    lab.serve_by(&mut qosbpf_tests::binary::command(&["--etc", &etc, "--bpffs", &bpffs, "run"])?)?;
    lab.says(&["metrics at http://127.0.0.2:9999/metrics"])?;
    assert!(lab.five_become(34)?);
    let listening = qosbpf_tests::router::run_in(lab.router.edge(), "ss -Hltn")?.stdout;
    let addresses: Vec<_> = listening.lines().filter_map(|line| line.split_whitespace().nth(3)).collect();
    assert_eq!(addresses, ["127.0.0.2:9999"], "nothing else listens");
    Ok(())
}
