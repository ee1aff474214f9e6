//! `apply --confirm`: kept if it is confirmed, taken back if not, by whoever is left to do it.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use qosbpf_tests::{
    binary,
    router::{Router, run_in},
    timers,
};

use crate::edge::{self, Edge, KEEP};

const AF41: u8 = 34;
const EF: u8 = 46;

#[test]
fn what_is_confirmed_in_time_stays() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let soon = edge.soon.as_secs();
    let words = ["mark", &format!("is in force for {soon}s")];
    edge.ok(&format!("policy apply {} --confirm {soon}s", edge.mark))?.says(&words)?;
    assert_eq!(edge.mark_of_ef()?, AF41);
    edge.ok("policy confirm")?.says(&["policy mark", "is confirmed"])?;
    edge.wait_for_timers()?;
    edge.sleep_past_it();
    assert!(edge.ok("status")?.stderr.is_empty());
    assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("mark", AF41));
    edge.ask("policy confirm")?.expect(3)?.complains(&["no policy waits to be confirmed"])?;
    Ok(())
}

#[test]
fn status_counts_down_and_says_who() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let mut command = edge.router.command(&format!("policy apply {} --confirm 1h", edge.mark))?;
    command.env("SUDO_USER", "rt").env("SSH_CONNECTION", "192.0.2.2 50000 192.0.2.1 22");
    binary::Answer::of(&mut command)?.expect(0)?;
    let confirm = &edge.status()?["confirm"];
    assert_eq!((&confirm["name"], &confirm["back"]["name"]), (&"mark".into(), &"keep".into()), "{confirm:#}");
    assert_eq!(confirm["by"], "rt (ssh 192.0.2.2)");
    let left = confirm["seconds_left"].as_f64().context("seconds_left")?;
    assert!(left > 3_500.0 && left <= 3_600.0, "{left}");
    edge.ok("status")?.says(&["! NOT CONFIRMED: mark", "by rt (ssh 192.0.2.2)", "back to keep", "59m"])?;
    edge.ok("policy confirm")?;
    assert!(edge.status()?["confirm"].is_null());
    Ok(())
}

/// No command of ours runs in between: the process that waits has done it, and has ended.
#[test]
fn what_nobody_confirms_is_taken_back_by_itself() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs()))?;
    assert_eq!(timers::of(&edge.router)?.len(), 1);
    edge.wait_for_timers()?;
    assert_eq!(edge.ok("status")?.stderr, "");
    assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("keep", EF));
    edge.ask("policy confirm")?.expect(3)?;
    Ok(())
}

#[test]
fn no_policy_comes_back_as_no_policy_and_what_was_attached_goes() -> anyhow::Result<()> {
    let router = Router::start()?;
    let (policy, start) = (router.policy("keep", KEEP)?, Instant::now());
    router.ok("attach lan0 --ingress")?;
    let soon = edge::soon(2 * start.elapsed());
    let apply = format!("policy apply {policy} --attach --confirm {}s", soon.as_secs());
    router.ok(&apply)?.says(&["lan0:ingress", "wan0:egress", "attached"])?;
    assert_eq!(router.ok("status --json")?.json()?["hooks"].as_array().map(Vec::len), Some(2));
    thread::sleep(soon + Duration::from_millis(100));
    let status = router.ok("status --json")?.json()?;
    assert!(status["policy"].is_null(), "{status:#}");
    let hooks = status["hooks"].as_array().context("hooks")?;
    assert_eq!(hooks.len(), 1, "{status:#}");
    assert_eq!((&hooks[0]["interface"], &hooks[0]["table"]), (&"lan0".into(), &serde_json::Value::Null));
    Ok(())
}

/// A hook whose filter is not there when its policy is taken back gets nothing of it when it is put back.
#[test]
fn what_was_removed_meanwhile_does_not_bring_the_policy_back() -> anyhow::Result<()> {
    const WASH: &str = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n";
    let router = Router::start()?;
    let (policy, start) = (router.policy("wash", WASH)?, Instant::now());
    router.ok("attach lan0 --ingress --hook clsact")?;
    let soon = edge::soon(start.elapsed());
    router.ok(&format!("policy apply {policy} --confirm {}s", soon.as_secs()))?.says(&["lan0:ingress", "changed"])?;
    run_in(router.edge(), "tc qdisc del dev lan0 clsact")?;
    thread::sleep(soon + Duration::from_millis(100));
    router.ok("attach lan0 --ingress")?.says(&["counting, no policy is bound to it", "its counters go on"])?;
    let status = router.ok("status --json")?.json()?;
    assert!(status["policy"].is_null() && status["hooks"][0]["table"].is_null(), "{status:#}");
    router.ping(false, 4 * EF, 5)?;
    assert!(router.counted("lan0:ingress")?.remarked.is_empty());
    Ok(())
}

/// The shell, and everything that it started, is killed as sshd's end would do it.
#[test]
fn the_end_of_the_session_changes_nothing() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let apply = format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs());
    let apply = edge.router.command(&apply)?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\"; echo done; sleep 100", "sh"]).arg(apply.get_program()).args(apply.get_args());
    let mut shell = shell.stdout(Stdio::piped()).process_group(0).spawn()?;
    let mut lines = BufReader::new(shell.stdout.take().context("stdout")?).lines();
    ensure!(lines.any(|line| line.is_ok_and(|line| line == "done")), "the apply did not end");
    for signal in [Signal::SIGHUP, Signal::SIGKILL] {
        killpg(Pid::from_raw(i32::try_from(shell.id())?), signal)?;
    }
    shell.wait()?;
    assert_eq!(timers::of(&edge.router)?.len(), 1);
    edge.wait_for_timers()?;
    assert_eq!(edge.ok("status")?.stderr, "");
    assert_eq!(edge.in_force()?, "keep");
    Ok(())
}

#[test]
fn the_next_command_does_it_if_the_timer_was_killed() -> anyhow::Result<()> {
    for next in ["stats", "status", "policy show", "dscp EF", "policy history"] {
        let edge = Edge::start()?;
        edge.ok(&format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs()))?;
        edge.kill_timers()?;
        edge.sleep_past_it();
        edge.ok(next)?.complains(&["policy mark", "was not confirmed in time", "back to keep"])?;
        assert_eq!(edge.ok("status")?.stderr, "", "{next}");
        assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("keep", EF), "{next}");
    }
    Ok(())
}

#[test]
fn who_may_not_do_it_says_that_it_is_due() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs()))?;
    edge.kill_timers()?;
    edge.sleep_past_it();
    let answer = edge.ask_without_capabilities("stats --json lan0:ingress")?.expect(0)?;
    answer.complains(&["a rollback is due"])?.json()?;
    edge.ok("stats")?.complains(&["back to keep"])?;
    Ok(())
}

#[test]
fn a_second_apply_is_refused_while_one_waits() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {} --confirm 10m", edge.mark))?;
    let lines = [&format!("policy apply {}", edge.keep), "policy rollback 1", "policy save"];
    for line in lines {
        let refused = edge.ask(&format!("{line} --json"))?.expect(1)?;
        let refused = refused.complains(&["policy mark", "by root waits to be confirmed", "left", "policy confirm"])?;
        assert_eq!(refused.json()?["error"]["code"], "pending", "{line}");
        assert_eq!(edge.in_force()?, "mark", "{line}");
    }
    edge.ok("policy rollback")?.says(&["policy mark", "is taken back: back to keep"])?;
    assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("keep", EF));
    edge.ok(&format!("policy apply {}", edge.mark))?;
    Ok(())
}

#[test]
fn a_policy_that_cannot_be_applied_leaves_nothing_to_confirm() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let partial = edge.router.policy("partial", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    edge.ask(&format!("policy apply {partial} --confirm 1m"))?.expect(1)?.complains(&["wan0:egress would lose"])?;
    assert!(edge.status()?["confirm"].is_null());
    assert!(timers::of(&edge.router)?.is_empty());
    for wrong in ["0s", "soon", "500ms"] {
        edge.ask(&format!("policy apply {partial} --confirm {wrong}"))?.expect(2)?;
    }
    Ok(())
}

/// Hooks that `--only` left alone keep what they had, not what the old policy says of them.
#[test]
fn each_hook_gets_back_its_own() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {} --only wan0", edge.mark))?;
    let earlier = hashes(&edge)?;
    assert_ne!(earlier[0], earlier[1]);
    let wash = edge.router.policy("wash", &KEEP.replace("keep", "DF"))?;
    edge.ok(&format!("policy apply {wash} --confirm {}s", edge.soon.as_secs()))?;
    let between = hashes(&edge)?;
    assert_eq!(between[0], between[1]);
    edge.wait_for_timers()?;
    assert_eq!(hashes(&edge)?, earlier);
    Ok(())
}

/// Whatever `status` ends with: a hook that runs another policy is not as wanted.
fn hashes(edge: &Edge) -> anyhow::Result<Vec<String>> {
    let status = edge.ask("status --json")?.json()?;
    let hooks = status["hooks"].as_array().context("hooks")?;
    hooks.iter().map(|hook| hook["policy_hash"].as_str().map(str::to_owned).context("policy_hash")).collect()
}
