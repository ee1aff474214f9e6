//! Commands whose output goes nowhere, as at a terminal that is stopped (Ctrl-S): they wait, and nobody else does.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::ensure;
use qosbpf::kernel::pins::Store;
use qosbpf_tests::{service::eventually, unread::full_pipe};

use crate::edge::Edge;

/// Where nobody reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unread {
    Stdout = 1,
    Stderr = 2,
}

/// Starts a command, and waits until it waits for somebody to read what it says.
fn stopped(command: &mut Command, unread: Unread) -> anyhow::Result<Child> {
    let mut child = command.spawn()?;
    let waits = format!("{} {:#x} ", libc::SYS_write, unread as u8);
    let call = format!("/proc/{}/syscall", child.id());
    eventually(|| {
        ensure!(child.try_wait()?.is_none(), "{command:?} has ended");
        Ok(fs::read_to_string(&call)?.starts_with(&waits))
    })?;
    Ok(child)
}

impl Edge {
    /// A command of which nobody reads what it says there; it has to succeed once it need not be read.
    fn unread(&self, unread: Unread, line: &str, meanwhile: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let (reader, writer) = full_pipe()?;
        let mut child = {
            let mut command = self.router.command(&self.with_etc(line))?;
            match unread {
                Unread::Stdout => command.stdout(writer),
                Unread::Stderr => command.stdout(Stdio::null()).stderr(writer),
            };
            stopped(&mut command, unread)?
        };
        let done = meanwhile();
        drop(reader);
        ensure!(child.wait()?.success(), "{line}");
        done
    }

    fn is_busy(&self) -> anyhow::Result<bool> {
        self.router.edge().run(|| Store::open(&self.router.bpffs))?.is_busy()
    }
}

#[test]
fn a_command_that_nobody_reads_keeps_no_lock() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let (mark, keep) = (&edge.mark, &edge.keep);
    for line in [
        &*format!("policy apply {mark} --confirm 1h"),
        "policy confirm",
        "policy save",
        &*format!("policy apply {keep} --confirm 1h"),
        "policy rollback",
        "policy bypass",
        "policy resume",
        "stats clear",
        "attach lan0 --egress --hook tcx",
        "detach lan0:egress",
    ] {
        edge.unread(Unread::Stdout, line, || {
            ensure!(!edge.is_busy()?, "{line}");
            Ok(())
        })?;
    }
    edge.wait_for_timers()
}

#[test]
fn it_keeps_neither_a_bypass_nor_a_deadline_from_its_time() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.unread(Unread::Stdout, &format!("policy apply {}", edge.mark), || {
        edge.ok("policy bypass")?.says(&["out of the policy's path"])?;
        edge.ok("policy resume").map(drop)
    })?;
    edge.ok(&format!("policy apply {}", edge.keep))?;
    edge.unread(Unread::Stdout, &format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs()), || {
        edge.wait_for_timers()?;
        ensure!(edge.in_force()? == "keep", "not taken back");
        Ok(())
    })
}

/// What was taken back is said on stderr, by whatever command comes next.
#[test]
fn nor_does_what_is_said_beside_an_answer() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs()))?;
    edge.kill_timers()?;
    thread::sleep(edge.soon + Duration::from_millis(100));
    edge.unread(Unread::Stderr, "policy history", || {
        ensure!(!edge.is_busy()? && edge.in_force()? == "keep");
        Ok(())
    })
}

/// Most of what `-v` logs of an apply it logs under the lock.
#[test]
fn nor_do_log_lines() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.unread(Unread::Stderr, &format!("-v policy apply {}", edge.mark), || {
        ensure!(!edge.is_busy()?, "busy");
        edge.ok("policy bypass").map(drop)
    })
}
