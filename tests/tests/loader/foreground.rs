//! `attach --foreground` detaches at its end what it attached, whatever became of it, and nothing else.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use qosbpf_tests::router::Router;

use qosbpf_tests::left::assert_nothing;

const WASH: &str = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n";

fn started(router: &Router) -> anyhow::Result<Child> {
    let line = "attach lan0 --foreground --hook clsact";
    let child = router.command(line)?.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let start = Instant::now();
    while !(router.ask("status")?.stdout.contains("lan0:egress") && catches_sigterm(&child)?) {
        anyhow::ensure!(start.elapsed() < Duration::from_secs(60), "not attached");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(child)
}

/// By the mask of proc_pid_status(5).
fn catches_sigterm(child: &Child) -> anyhow::Result<bool> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).context("SigCgt")?;
    Ok(u64::from_str_radix(mask.trim(), 16)? >> (Signal::SIGTERM as u32 - 1) & 1 == 1)
}

fn ended(child: Child) -> anyhow::Result<()> {
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{}: {said}", output.status);
    Ok(())
}

#[test]
fn its_hooks_go_with_the_policy_that_came_meanwhile() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("wash", WASH)?;
    let child = started(&router)?;
    router.ok(&format!("policy apply {policy}"))?;
    ended(child)?;
    assert_nothing(&router, "the end")
}

#[test]
fn what_others_attached_anew_stays() -> anyhow::Result<()> {
    let router = Router::start()?;
    let child = started(&router)?;
    router.ok("detach lan0")?;
    router.ok("attach lan0 --ingress")?;
    ended(child)?;
    router.ok("status")?.says(&["lan0:ingress"])?;
    router.ok("detach lan0")?;
    assert_nothing(&router, "detach")
}
