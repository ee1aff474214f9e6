//! What a service manager sees: readiness, reloads, the watchdog, the end; and log lines with priorities.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use qosbpf::cmd::control;

use qosbpf_tests::{
    lab,
    manager::{Deaf, Manager},
    router::run_in,
    service::{Lab, MARK, OTHER},
    timers,
};

#[test]
fn it_says_when_it_is_ready_reloads_lives_and_ends() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let manager = Manager::listen(lab.router.folder())?;
    let mut command = lab.command("run")?;
    lab.serve_by(manager.starts(&mut command))?;
    manager.hears("READY=1")?;
    // It is attached by then: whoever is started after it finds the marks.
    assert_eq!(lab.hook("lan0:ingress")?.context("a hook")?["state"], "active");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1")?;
    }
    lab.signal(Signal::SIGHUP)?;
    let reloading = manager.hears("RELOADING=1")?;
    assert!(reloading.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading}");
    manager.hears("READY=1")?;
    lab.save("broken", "[interface")?;
    lab.signal(Signal::SIGHUP)?;
    manager.hears("RELOADING=1")?;
    let ready = manager.hears("READY=1")?;
    assert!(ready.contains("STATUS=") && ready.contains("policy.toml:3"), "{ready}");
    lab.signal(Signal::SIGTERM)?;
    manager.hears("STOPPING=1")?;
    std::thread::sleep(Duration::from_millis(10));
    Ok(())
}

/// It starts, works, reads its files again and ends while nobody takes what it tells; what the manager waits for it gets later.
#[test]
fn a_manager_that_does_not_read_keeps_nobody_waiting() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", &format!("{MARK}[interface.dyn0]\negress = \"mark\"\n"))?;
    let deaf = Deaf::listen(lab.router.folder())?;
    let mut command = lab.command("run")?;
    lab.serve_by(deaf.starts(&mut command))?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other}"))?;
    lab.ok("policy bypass --for 2s")?;
    lab.says(&["is in the policy's path again"])?;
    lab.ok("run --reload")?;
    run_in(lab.router.edge(), "ip link add dyn0 type veth peer name far0")?;
    lab.becomes("dyn0:egress", "active")?;
    assert!(lab.metrics()?.contains("qosbpf_policy_info{name=\"edge\""));
    lab.stop()?;
    lab.serve_by(deaf.starts(&mut command))?;
    let manager = deaf.wakes()?;
    manager.hears("READY=1")?;
    manager.hears("WATCHDOG=1")?;
    lab.stop()?;
    manager.hears("STOPPING=1").map(drop)
}

/// As many interfaces as take a while.
const MANY: usize = 30;

/// A lab with so many interfaces.
fn crowded() -> anyhow::Result<Lab> {
    let lab = Lab::start()?;
    let links = (0..MANY).map(|n| format!("link add dyn{n} type veth peer name far{n}\n")).collect::<String>();
    lab.router.edge().run(|| lab::ip(&links))?;
    Ok(lab)
}

/// The manager hears that it goes on, and a stop waits for one interface alone.
#[test]
fn a_stop_ends_it_between_two_hooks() -> anyhow::Result<()> {
    let mut lab = crowded()?;
    lab.save("edge", MARK)?;
    let manager = Manager::listen(lab.router.folder())?;
    let mut command = lab.command("run")?;
    lab.serve_by(manager.starts(&mut command))?;
    manager.hears("EXTEND_TIMEOUT_USEC=120000000")?;
    manager.hears("READY=1")?;
    lab.save("edge", &MARK.replace("lan0", "\"dyn*\""))?;
    lab.signal(Signal::SIGHUP)?;
    lab.says(&["hook=\"dyn0:ingress\""])?;
    lab.stop()?;
    manager.hears("STOPPING=1")?;
    let attached = lab.log()?.matches("attached: ").count();
    assert!(attached < MANY, "it ended when all was done: {attached} hooks");
    lab.serve()?;
    assert_eq!(lab.ok("status --json")?.json()?["hooks"].as_array().map(Vec::len), Some(MANY + 1));
    Ok(())
}

/// What is prepared at many hooks, and not attached anywhere, takes its time as well.
#[test]
fn another_policy_at_hooks_that_are_there_is_work_that_goes_on() -> anyhow::Result<()> {
    const MORE_TIME: &str = "EXTEND_TIMEOUT_USEC=120000000";
    let mut lab = crowded()?;
    let (mark, other) = (MARK.replace("lan0", "\"dyn*\""), OTHER.replace("lan0", "\"dyn*\""));
    lab.save("edge", &mark)?;
    lab.ok("run --once")?;
    lab.save("edge", &other)?;
    let manager = Manager::listen(lab.router.folder())?;
    lab.serve_by(manager.starts(&mut lab.command("run")?))?;
    let until_ready = manager.hears_until("READY=1")?.concat();
    lab.save("edge", &mark)?;
    lab.signal(Signal::SIGHUP)?;
    manager.hears("RELOADING=1")?;
    let reloaded = manager.hears_until("READY=1")?.concat();
    ensure!(until_ready.contains(MORE_TIME) && until_ready.contains("WATCHDOG=1"), "{until_ready}");
    ensure!(reloaded.contains(MORE_TIME), "{reloaded}");
    let log = lab.log()?;
    ensure!(log.matches("switched to it").count() == 2 * MANY && !log.contains("attached: "), "{log}");
    Ok(())
}

/// Nor does a stop wait for all the programs of a policy, of which none is in force by then.
#[test]
fn a_stop_ends_it_between_two_programs() -> anyhow::Result<()> {
    let mut lab = crowded()?;
    lab.save("edge", &MARK.replace("lan0", "\"dyn*\""))?;
    let manager = Manager::listen(lab.router.folder())?;
    lab.serve_by(manager.starts(&mut lab.command("run")?))?;
    lab.save("other", &OTHER.replace("lan0", "\"dyn*\""))?;
    lab.signal(Signal::SIGHUP)?;
    manager.hears("RELOADING=1")?;
    lab.stop()?;
    let log = lab.log()?;
    ensure!(log.contains("the service ends, and has changed nothing; policy edge"), "{log}");
    ensure!(!log.contains("switched to it") && !log.contains("in the midst"), "{log}");
    lab.ok("status")?.says(&["policy edge"]).map(drop)
}

/// Nothing is left but what is attached, and whoever keeps the deadline.
#[test]
fn a_stop_during_the_first_look_ends_it_as_later_ones_do() -> anyhow::Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut lab = crowded()?;
        lab.ok("attach lan0 --ingress")?;
        let trial = lab.router.policy("trial", &MARK.replace("lan0", "\"dyn*\""))?;
        lab.ok(&format!("policy apply {trial} --prune --confirm 10m"))?;
        timers::kill_all(&lab.router)?;
        let manager = Manager::listen(lab.router.folder())?;
        lab.start_by(manager.starts(&mut lab.command("run")?))?;
        lab.says(&["hook=\"dyn0:ingress\""])?;
        let status = lab.end_by(signal)?;
        let log = lab.log()?;
        ensure!(status.success() && log.ends_with("ended; what is attached goes on\n"), "{status}\n{log}");
        ensure!(!log.contains("ready") && log.matches("attached: ").count() < MANY, "{log}");
        manager.hears("STOPPING=1")?;
        let folder = lab.router.edge().run(control::folder)?;
        ensure!(!folder.exists(), "{} is left", folder.display());
        ensure!(timers::of(&lab.router)?.len() == 1, "nobody keeps the deadline: {log}");
        lab.ok("policy rollback")?;
        timers::wait_until_gone(&lab.router)?;
    }
    Ok(())
}

/// The journal takes the priority from the beginning of each line, also of mistakes with carets over several lines.
#[test]
fn lines_have_priorities_where_the_journal_reads_them() -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let mut lab = Lab::start()?;
    lab.save("broken", "[interface.lan0]\ningres = \"x\"\n")?;
    // The log file of the lab, under the name by which the journal would call it.
    let log = lab.router.folder().join("log");
    std::fs::write(&log, "")?;
    let (device, inode) = (log.metadata()?.dev(), log.metadata()?.ino());
    let mut command = lab.command("run")?;
    lab.serve_by(command.env("JOURNAL_STREAM", format!("{device}:{inode}")))?;
    let text = lab.log()?;
    assert!(text.lines().all(|line| line.starts_with('<') && line.get(2..3) == Some(">")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<3>ERROR the saved policy is not in force")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<3>") && line.contains("^^^")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("<6> INFO ready")), "{text}");
    Ok(())
}
