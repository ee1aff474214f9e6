//! A command that is followed from its start to its end (ptrace(2)): its system calls, and the most memory that it had.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::FileExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use aya::maps::MapInfo;
use nix::{
    libc,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// The commands of bpf(2) that are counted by map: `include/uapi/linux/bpf.h`.
const BPF_MAP_LOOKUP_ELEM: u64 = 1;

/// What a command did.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// System calls of all its threads.
    pub calls: u32,
    /// Those of them that are bpf(2).
    pub bpf: u32,
    /// Those of these that look up a value, by the name of the map.
    pub lookups: BTreeMap<String, u32>,
    /// The most memory that it was resident with, in MiB.
    pub peak: f64,
}

/// Runs a command to its end.
///
/// # Errors
///
/// That it fails, or what ptrace(2) says.
pub fn follow(command: &Command) -> anyhow::Result<Trace> {
    // It stops before it becomes the command, so that nothing is missed.
    let mut stopped = Command::new("sh");
    stopped.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => stopped.env(name, value),
            None => stopped.env_remove(name),
        };
    }
    let child = stopped.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("sh")?;
    let leader = Pid::from_raw(child.id().cast_signed());
    ensure!(matches!(waitpid(leader, Some(WaitPidFlag::WUNTRACED))?, WaitStatus::Stopped(..)), "sh did not stop");
    let options = [
        Options::PTRACE_O_TRACESYSGOOD,
        Options::PTRACE_O_TRACECLONE,
        Options::PTRACE_O_TRACEEXEC,
        Options::PTRACE_O_TRACEEXIT,
        Options::PTRACE_O_EXITKILL,
    ];
    ptrace::seize(leader, options.into_iter().collect())?;
    kill(leader, Signal::SIGCONT)?;
    Follower { leader, started: false, inside: BTreeSet::new(), trace: Trace::default() }.run()
}

struct Follower {
    leader: Pid,
    /// Whether it is the command already.
    started: bool,
    /// The threads that are in a system call.
    inside: BTreeSet<Pid>,
    trace: Trace,
}

impl Follower {
    fn run(mut self) -> anyhow::Result<Trace> {
        loop {
            let status = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL))?;
            let signal = match status {
                WaitStatus::Exited(pid, code) if pid == self.leader => {
                    ensure!(code == 0, "the command that was followed ended with {code}");
                    return Ok(self.trace);
                }
                WaitStatus::Signaled(pid, signal, _) if pid == self.leader => bail!("it was ended by {signal}"),
                WaitStatus::PtraceSyscall(pid) => {
                    self.call(pid)?;
                    None
                }
                WaitStatus::PtraceEvent(pid, _, event) => {
                    self.event(pid, event)?;
                    None
                }
                WaitStatus::Stopped(_, signal) => Some(signal),
                // A thread has ended.
                _ => continue,
            };
            let Some(pid) = status.pid() else { continue };
            match ptrace::syscall(pid, signal) {
                // A thread that another one ends.
                Err(nix::Error::ESRCH) => {}
                result => result?,
            }
        }
    }

    fn event(&mut self, pid: Pid, event: i32) -> anyhow::Result<()> {
        match event {
            libc::PTRACE_EVENT_EXEC => {
                self.started = true;
                // What comes next is the end of execve(2).
                self.inside.insert(pid);
            }
            libc::PTRACE_EVENT_EXIT if pid == self.leader => {
                self.trace.peak = super::peak(pid.as_raw().cast_unsigned())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// At the beginning or the end of a system call.
    fn call(&mut self, pid: Pid) -> anyhow::Result<()> {
        if self.inside.remove(&pid) {
            return Ok(());
        }
        self.inside.insert(pid);
        if !self.started {
            return Ok(());
        }
        self.trace.calls += 1;
        let text = fs::read_to_string(format!("/proc/{pid}/syscall"))?;
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.first().and_then(|number| number.parse().ok()) != Some(libc::SYS_bpf) {
            return Ok(());
        }
        self.trace.bpf += 1;
        let hexadecimal = |word: &&str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        let argument = |index: usize| words.get(index).and_then(hexadecimal);
        if argument(1) == Some(BPF_MAP_LOOKUP_ELEM) {
            let map = map_of(pid, argument(2).context("no argument")?)?;
            *self.trace.lookups.entry(map).or_default() += 1;
        }
        Ok(())
    }
}

/// The name of the map whose descriptor is the first word of `union bpf_attr`.
fn map_of(pid: Pid, attributes: u64) -> anyhow::Result<String> {
    let mut word = [0; 4];
    File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut word, attributes)?;
    let descriptor = u32::from_ne_bytes(word);
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}"))?;
    let id = info.lines().find_map(|line| line.strip_prefix("map_id:")).context("no map_id")?;
    let map = MapInfo::from_id(id.trim().parse()?)?;
    Ok(map.name_as_str().unwrap_or_default().to_owned())
}
