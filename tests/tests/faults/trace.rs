//! A command that is stopped at its system calls (ptrace(2)): to be killed there, or to have one of them fail.
//!
//! What a process leaves behind changes only by system calls, and of these only by those that change something which
//! outlives it: pins, links, filters, folders. Between two of them it does not matter where it is killed. With
//! `QOSBPF_KILL_EVERY=N` every system call counts as one, and the process is killed behind each Nth.

use std::{env, io, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// Behind how many system calls it is killed each time, if all of them count.
pub fn every() -> anyhow::Result<Option<usize>> {
    let Some(every) = env::var_os("QOSBPF_KILL_EVERY") else { return Ok(None) };
    let every = every.to_str().and_then(|every| every.parse().ok()).filter(|every| *every > 0);
    every.map(Some).context("QOSBPF_KILL_EVERY is a number from 1 on")
}

/// What became of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Killed behind the call that was meant; its name.
    Killed(String),
    /// It ended by itself before that.
    Ended(i32),
}

/// Kills the command as soon as it has made so many changes; with 0 at its first system call.
pub fn kill_after(command: &mut Command, changes: usize) -> anyhow::Result<End> {
    let every = every()?.is_some();
    let mut made = 0;
    Traced::start(command)?.run(|traced, call| {
        if changes > 0 {
            made += usize::from(call.done && call.result >= 0 && (every || call.changes()));
        }
        if made < changes {
            return Ok(false);
        }
        kill(traced, Signal::SIGKILL)?;
        Ok(true)
    })
}

/// Lets every call that `which` chooses fail with this error; the exit code of the command, and how many have failed.
pub fn fail(command: &mut Command, errno: i32, mut which: impl FnMut(&Call) -> bool) -> anyhow::Result<(i32, usize)> {
    let (mut failing, mut failed) = (false, 0);
    let end = Traced::start(command)?.run(|traced, call| {
        if call.done {
            if failing {
                let mut registers = ptrace::getregs(traced)?;
                registers.rax = i64::from(-errno).cast_unsigned();
                ptrace::setregs(traced, registers)?;
            }
            return Ok(false);
        }
        failing = which(call);
        if failing {
            failed += 1;
            // No system call has this number.
            let mut registers = ptrace::getregs(traced)?;
            registers.orig_rax = u64::MAX;
            ptrace::setregs(traced, registers)?;
        }
        Ok(false)
    })?;
    match end {
        End::Ended(code) => Ok((code, failed)),
        End::Killed(call) => bail!("killed at {call}"),
    }
}

/// Of the calls that `which` chooses one alone, by its number from 0.
pub fn nth(which: fn(&Call) -> bool, number: usize) -> impl FnMut(&Call) -> bool {
    let mut seen = 0;
    move |call| {
        let is_one = which(call);
        seen += usize::from(is_one);
        is_one && seen == number + 1
    }
}

/// A system call of the command.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    number: i64,
    argument: u64,
    /// What it returned, once it is done.
    result: i64,
    /// Whether it is done; else it is about to begin.
    done: bool,
}

/// The calls that change what outlives a process, and their names.
const CHANGES: [(i64, &str); 17] = [
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_chmod, "chmod"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_clone, "clone"),
    (libc::SYS_clone3, "clone3"),
];

/// The commands of bpf(2) that do, and their names: include/uapi/linux/bpf.h.
const BPF_CHANGES: [(u64, &str); 8] = [
    (2, "BPF_MAP_UPDATE_ELEM"),
    (6, "BPF_OBJ_PIN"),
    (8, "BPF_PROG_ATTACH"),
    (9, "BPF_PROG_DETACH"),
    (26, "BPF_MAP_UPDATE_BATCH"),
    (28, "BPF_LINK_CREATE"),
    (29, "BPF_LINK_UPDATE"),
    (34, "BPF_LINK_DETACH"),
];

impl Call {
    /// Whether it pins something.
    pub const fn is_pin(&self) -> bool {
        self.is_bpf(6)
    }

    /// Whether it attaches something by a link.
    pub const fn is_link(&self) -> bool {
        self.is_bpf(28)
    }

    /// Whether it makes a map.
    pub const fn is_map(&self) -> bool {
        self.is_bpf(0)
    }

    /// Whether it makes a folder.
    pub const fn is_folder(&self) -> bool {
        self.is(libc::SYS_mkdir) || self.is(libc::SYS_mkdirat)
    }

    const fn is_bpf(&self, command: u64) -> bool {
        self.is(libc::SYS_bpf) && self.argument == command
    }

    const fn is(&self, number: i64) -> bool {
        self.number == number
    }

    fn changes(&self) -> bool {
        self.known().is_some()
    }

    fn known(&self) -> Option<&'static str> {
        let name = |(_, name): &(_, &'static str)| *name;
        CHANGES
            .iter()
            .find(|(number, _)| self.is(*number))
            .map(name)
            .or_else(|| BPF_CHANGES.iter().find(|(command, _)| self.is_bpf(*command)).map(|(_, name)| *name))
    }

    fn name(&self) -> String {
        self.known().map_or_else(|| format!("system call {}", self.number), str::to_owned)
    }
}

struct Traced(Pid);

impl Traced {
    /// Starts the command, stopped before its first instruction.
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        // SAFETY: one system call, which is all that may happen between fork(2) and execve(2).
        let command = unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
        let child = command.spawn().context("start the command")?;
        let traced = Pid::from_raw(i32::try_from(child.id())?);
        ensure!(matches!(waitpid(traced, None)?, WaitStatus::Stopped(_, Signal::SIGTRAP)), "not stopped by execve");
        ptrace::setoptions(traced, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
        Ok(Self(traced))
    }

    /// Runs it; `at` is asked before and after each call, and says whether it has killed it.
    fn run(self, mut at: impl FnMut(Pid, &Call) -> anyhow::Result<bool>) -> anyhow::Result<End> {
        let (mut begun, mut killed, mut signal) = (None::<Call>, None, None);
        loop {
            ptrace::syscall(self.0, signal.take())
                .or_else(|error| if killed.is_some() { Ok(()) } else { Err(error) })?;
            match waitpid(self.0, None)? {
                WaitStatus::Exited(_, code) => return Ok(End::Ended(code)),
                WaitStatus::Signaled(_, Signal::SIGKILL, _) if killed.is_some() => {
                    return Ok(End::Killed(killed.unwrap_or_default()));
                }
                WaitStatus::PtraceSyscall(_) => {
                    let call = self.call(begun.take())?;
                    if at(self.0, &call)? {
                        killed = Some(call.name());
                    }
                    begun = (!call.done).then_some(call);
                }
                WaitStatus::Stopped(_, other) => signal = Some(other),
                other => bail!("{other:?}"),
            }
        }
    }

    /// The call at which it has stopped; `begun` is what it stopped at before it.
    fn call(&self, begun: Option<Call>) -> anyhow::Result<Call> {
        let registers = ptrace::getregs(self.0)?;
        Ok(match begun {
            Some(call) => Call { result: registers.rax.cast_signed(), done: true, ..call },
            None => {
                let number = registers.orig_rax.cast_signed();
                Call { number, argument: registers.rdi, result: 0, done: false }
            }
        })
    }
}
