//! A command that is stopped at its system calls (ptrace(2)): to be killed there, or to have one of them fail.

use std::{io, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::{
        ptrace::{self, Options},
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// What became of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Killed at the call that was meant.
    Killed(Call),
    /// It ended by itself before that.
    Ended(i32),
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
        End::Killed(call) => bail!("killed at {call:?}"),
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub number: i64,
    pub arguments: [u64; 3],
    /// What it returned, once it is done.
    pub result: i64,
    /// Whether it is done; else it is about to begin.
    pub done: bool,
}

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

    pub const fn is_bpf(&self, command: u64) -> bool {
        self.is(libc::SYS_bpf) && self.arguments[0] == command
    }

    pub const fn is(&self, number: i64) -> bool {
        self.number == number
    }
}

/// A command that runs from stop to stop.
pub struct Traced(Pid);

impl Traced {
    /// Starts the command, stopped before its first instruction.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        // SAFETY: one system call, which is all that may happen between fork(2) and execve(2).
        let command = unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
        let child = command.spawn().context("start the command")?;
        let traced = Pid::from_raw(i32::try_from(child.id())?);
        ensure!(matches!(waitpid(traced, None)?, WaitStatus::Stopped(_, Signal::SIGTRAP)), "not stopped by execve");
        ptrace::setoptions(traced, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
        Ok(Self(traced))
    }

    /// Runs it; `at` is asked before and after each call, and says whether it has killed it.
    pub fn run(self, mut at: impl FnMut(Pid, &Call) -> anyhow::Result<bool>) -> anyhow::Result<End> {
        let (mut begun, mut killed, mut signal) = (None::<Call>, None::<Call>, None);
        loop {
            ptrace::syscall(self.0, signal.take())
                .or_else(|error| if killed.is_some() { Ok(()) } else { Err(error) })?;
            match (waitpid(self.0, None)?, killed) {
                (WaitStatus::Exited(_, code), _) => return Ok(End::Ended(code)),
                (WaitStatus::Signaled(_, Signal::SIGKILL, _), Some(call)) => return Ok(End::Killed(call)),
                (WaitStatus::PtraceSyscall(_), _) => {
                    let call = self.call(begun.take())?;
                    if at(self.0, &call)? {
                        killed = Some(call);
                    }
                    begun = (!call.done).then_some(call);
                }
                (WaitStatus::Stopped(_, other), _) => signal = Some(other),
                (other, _) => bail!("{other:?}"),
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
                let arguments = [registers.rdi, registers.rsi, registers.rdx];
                Call { number, arguments, result: 0, done: false }
            }
        })
    }
}
