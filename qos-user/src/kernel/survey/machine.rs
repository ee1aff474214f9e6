//! This host: kernel, privileges, bpf file system.

use std::{fs, mem, path::Path};

use nix::unistd::geteuid;

use super::super::{bpffs, ghosts, netns, pins, privilege, sys, translation};
use crate::diagnosis::{
    facts::{Bpffs, BpffsState, Host, Lack},
    version,
};

/// Features by their version in Linux's history: what qosbpf does without them. ARCHITECTURE.md has the whole table.
const FEATURES: [Lack; 5] = [
    Lack {
        feature: "compare-and-swap of 64 bits",
        since: (5, 12),
        without: "meters of two rates take a lock, some 50 ns more a packet",
    },
    Lack {
        feature: "the interface a packet came in by, in a test run",
        since: (5, 15),
        without: "explain and tests at egress know origin local alone",
    },
    Lack { feature: "XDP with packets in pieces", since: (5, 18), without: "with a jumbo MTU attach takes TC" },
    Lack { feature: "opening pins without privileges", since: (5, 19), without: "stats and status may need CAP_BPF" },
    Lack {
        feature: "a driver's word on XDP",
        since: (6, 3),
        without: "whether native XDP is possible shows when it is tried",
    },
];

const TCX: Lack = Lack { feature: "TCX", since: (6, 6), without: "attach takes clsact, which costs more" };

const COOKIE: Lack = Lack {
    feature: "cookies of network namespaces",
    since: (5, 14),
    without: "pins are found by the namespace's inode, which a later namespace may get again",
};

/// Reads what there is to know of this host.
#[must_use]
pub fn host(bpf_fs: &Path) -> Host {
    let (release, machine) = names();
    Host {
        lacks: lacks(&release),
        release,
        machine,
        jit: translation::is_on(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        lockdown: lockdown(),
        missing: privilege::lacking(),
        root: geteuid().is_root(),
        bounded: privilege::is_bounded(),
        bpffs: file_system(bpf_fs),
        ghosts: ghosts::gone(bpf_fs).iter().map(|folder| folder.display().to_string()).collect(),
    }
}

fn names() -> (String, String) {
    // SAFETY: arrays of integers, for which all zero is valid.
    let mut names: libc::utsname = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes the whole structure.
    let result = unsafe { libc::uname(&raw mut names) };
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    if result == 0 { (text(&names.release), text(&names.machine)) } else { Default::default() }
}

/// What can be asked is asked: a kernel may be built without it, or have it from a later one.
fn lacks(release: &str) -> Vec<Lack> {
    let release = version(release);
    let older = |lack: &Lack| release.is_some_and(|version| version < lack.since);
    let asked =
        [(TCX, sys::has_tcx(1).map_or_else(|_not_told| older(&TCX), |has| !has)), (COOKIE, !netns::has_cookies())];
    let by_version = FEATURES.into_iter().map(|lack| (lack, older(&lack)));
    let all = by_version.chain(asked).filter(|(_, lacks)| *lacks).map(|(lack, _)| lack);
    all.collect()
}

/// `[none] integrity confidentiality`: the word in brackets.
fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, from) = modes.split_once('[')?;
    from.split_once(']').map(|(mode, _)| mode.to_owned())
}

fn file_system(path: &Path) -> Bpffs {
    Bpffs { state: state(path), path: path.display().to_string() }
}

fn state(path: &Path) -> BpffsState {
    if !bpffs::is_mounted(path) {
        let hidden = bpffs::refuse_hidden(path).is_err();
        return if hidden { BpffsState::Hidden } else { BpffsState::Absent { folder: path.is_dir() } };
    }
    if let Some((folder, error)) = pins::refused(path) {
        let (why, shown) = (format!("{error:#}"), folder.display().to_string());
        return if bpffs::is_only_open(&folder) {
            BpffsState::Open(why, shown)
        } else {
            BpffsState::Foreign(why, shown)
        };
    }
    if bpffs::covers_another(path) {
        return BpffsState::Covering;
    }
    if bpffs::is_read_only(path) { BpffsState::ReadOnly } else { BpffsState::Mounted }
}
