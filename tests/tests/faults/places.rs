//! Where a command is killed.
//!
//! What a process leaves behind changes only by system calls, and of these only by those that change something which
//! outlives it: pins, links, filters, folders, files. Between two of them it does not matter where it is killed. With
//! `QOSBPF_KILL_EVERY=N` every system call counts as one, and the process is killed behind each Nth.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    process::Command,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::trace::{Call, End, Traced};

/// The places at which a command has been killed. A place is a change by its kind and how many of that kind it comes as: what
/// an earlier one has left may make a command do more than the last time, or less.
pub struct Places {
    /// Behind how many system calls it is killed each time, if all of them count.
    every: Option<usize>,
    tried: BTreeSet<(&'static str, usize)>,
    turn: usize,
}

impl Places {
    pub fn none() -> anyhow::Result<Self> {
        let every = env::var_os("QOSBPF_KILL_EVERY").map(|every| {
            let every = every.to_str().and_then(|every| every.parse().ok()).filter(|every| *every > 0);
            every.context("QOSBPF_KILL_EVERY is a number from 1 on")
        });
        Ok(Self { every: every.transpose()?, tried: BTreeSet::new(), turn: 0 })
    }

    /// How often it was killed.
    pub const fn count(&self) -> usize {
        self.turn
    }

    /// Whether it was killed behind a change of this kind.
    pub fn has(&self, kind: &str) -> bool {
        self.every.is_some() || self.tried.iter().any(|(tried, _)| *tried == kind)
    }

    /// Kills a command at the next place: the first time at its first system call, then behind the first change behind which it
    /// has not been killed yet. Says what it was killed behind.
    pub fn kill(&mut self, command: &mut Command) -> anyhow::Result<Result<String, i32>> {
        let (mut made, mut seen) = (0, BTreeMap::new());
        let end = Traced::start(command)?.run(|traced, call| {
            let is_here = match self.every {
                _ if self.turn == 0 => true,
                _ if !call.done || call.result < 0 => false,
                Some(every) => {
                    made += 1;
                    made == self.turn * every
                }
                None => changes(call, traced).is_some_and(|kind| self.is_new(kind, &mut seen)),
            };
            if is_here {
                kill(traced, Signal::SIGKILL)?;
            }
            Ok(is_here)
        })?;
        Ok(match end {
            End::Ended(code) => Err(code),
            End::Killed(call) => {
                self.turn += 1;
                Ok(kind(&call).map_or_else(|| format!("system call {}", call.number), str::to_owned))
            }
        })
    }

    fn is_new(&mut self, kind: &'static str, seen: &mut BTreeMap<&'static str, usize>) -> bool {
        let number = seen.entry(kind).or_default();
        *number += 1;
        self.tried.insert((kind, *number))
    }
}

/// The calls that change what outlives a process, and their names.
const CHANGES: [(i64, &str); 23] = [
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
    (libc::SYS_chown, "chown"),
    (libc::SYS_fchown, "fchown"),
    (libc::SYS_fchownat, "fchownat"),
    (libc::SYS_link, "link"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_truncate, "truncate"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_clone, "clone"),
    (libc::SYS_clone3, "clone3"),
];

/// The calls that do if their first argument is a file, and not a pipe, a terminal or a device.
const FILE_CHANGES: [(i64, &str); 8] = [
    (libc::SYS_write, "write"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_fallocate, "fallocate"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_copy_file_range, "copy_file_range"),
];

/// The commands of bpf(2) that do, and their names: include/uapi/linux/bpf.h.
const BPF_CHANGES: [(u64, &str); 9] = [
    (2, "BPF_MAP_UPDATE_ELEM"),
    (3, "BPF_MAP_DELETE_ELEM"),
    (6, "BPF_OBJ_PIN"),
    (8, "BPF_PROG_ATTACH"),
    (9, "BPF_PROG_DETACH"),
    (26, "BPF_MAP_UPDATE_BATCH"),
    (28, "BPF_LINK_CREATE"),
    (29, "BPF_LINK_UPDATE"),
    (34, "BPF_LINK_DETACH"),
];

/// What a call has changed that outlives the process, which is stopped behind it.
fn changes(call: &Call, traced: Pid) -> Option<&'static str> {
    let kind = kind(call)?;
    let file = match call.number {
        _ if opens_to_write(call) => call.result,
        number if FILE_CHANGES.iter().any(|(of_file, _)| *of_file == number) => call.arguments[0].cast_signed(),
        _ => return Some(kind),
    };
    let open = fs::metadata(format!("/proc/{traced}/fd/{file}")).ok()?;
    (open.is_file() || open.is_dir()).then_some(kind)
}

fn kind(call: &Call) -> Option<&'static str> {
    if opens_to_write(call) {
        return Some("open to write");
    }
    let named = CHANGES.iter().chain(&FILE_CHANGES).find(|(number, _)| call.is(*number)).map(|(_, name)| *name);
    named.or_else(|| BPF_CHANGES.iter().find(|(command, _)| call.is_bpf(*command)).map(|(_, name)| *name))
}

fn opens_to_write(call: &Call) -> bool {
    let flags = match call.number {
        libc::SYS_open => call.arguments[1],
        libc::SYS_openat => call.arguments[2],
        _ => return false,
    };
    flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64 != 0
}
