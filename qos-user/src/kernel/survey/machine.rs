//! This host: kernel, privileges, bpf file system.

use std::{fs, io, mem, path::Path};

use nix::unistd::geteuid;

use super::super::{bpffs, ghosts, netns, odd_names, pins, privilege, probe, sys, translation};
use crate::diagnosis::{
    facts::{Bpffs, BpffsState, Host, Lack},
    version,
};

/// Features by their version in Linux's history: what qosbpf does without them. ARCHITECTURE.md has the whole table.
const FEATURES: [Lack; 3] = [
    Lack {
        feature: "the interface a packet came in by, in a test run",
        since: (5, 15),
        without: "explain and tests at egress know origin local alone",
    },
    Lack { feature: "opening pins without privileges", since: (5, 19), without: "stats and status may need CAP_BPF" },
    Lack {
        feature: "a driver's word on XDP",
        since: (6, 3),
        without: "whether native XDP is possible shows when it is tried",
    },
];

const SWAP: Lack = Lack {
    feature: "compare-and-swap of 64 bits",
    since: (5, 12),
    without: "meters of two rates take a lock, some 50 ns more a packet",
};

const FRAGS: Lack =
    Lack { feature: "XDP with packets in pieces", since: (5, 18), without: "with a jumbo MTU attach takes TC" };

const TCX: Lack = Lack { feature: "TCX", since: (6, 6), without: "attach takes clsact, which costs more" };

const COOKIE: Lack = Lack {
    feature: "cookies of network namespaces",
    since: (5, 14),
    without: "pins are found by the namespace's inode, which a later namespace may get again",
};

const REALTIME: &str = "/sys/kernel/realtime";

/// Reads what there is to know of this host.
#[must_use]
pub fn host(bpf_fs: &Path) -> Host {
    let (release, machine) = names();
    Host {
        lacks: lacks(&release),
        release,
        machine,
        jit: translation::is_on(),
        jit_setting: translation::may_have_setting(),
        realtime: is_realtime(Path::new(REALTIME)),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        lockdown: lockdown(),
        missing: privilege::lacking(),
        root: geteuid().is_root(),
        bounded: privilege::is_bounded(),
        bpffs: file_system(bpf_fs),
        ghosts: ghosts::gone(bpf_fs).iter().map(|folder| folder.display().to_string()).collect(),
        odd_names: odd_names::names(),
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

/// What the kernel can be asked for in one call is asked: it may be built without, or have it from a later one. The rest goes
/// by its version, as does what this process may not ask.
fn lacks(release: &str) -> Vec<Lack> {
    let release = version(release);
    let older = |lack: &Lack| release.is_some_and(|version| version < lack.since);
    let lacks = |lack: Lack, asked: io::Result<bool>| (lack, asked.map_or_else(|_not_told| older(&lack), |has| !has));
    let asked = [
        lacks(SWAP, probe::swap()),
        lacks(FRAGS, probe::frags()),
        lacks(TCX, sys::has_tcx(1)),
        lacks(COOKIE, Ok(netns::has_cookies())),
    ];
    let by_version = FEATURES.into_iter().map(|lack| (lack, older(&lack)));
    let all = by_version.chain(asked).filter(|(_, lacks)| *lacks).map(|(lack, _)| lack);
    all.collect()
}

/// The file is there in kernels for real-time work alone.
fn is_realtime(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|said| said.trim() == "1")
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
        if bpffs::refuse_hidden(path).is_err() {
            return BpffsState::Hidden;
        }
        if bpffs::covers_another(path) {
            return BpffsState::Buried;
        }
        let base = bpffs::base_of(path).map(|base| base.display().to_string());
        return BpffsState::Absent { folder: path.is_dir(), base };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_for_real_time_work_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_realtime(file.path()));
        fs::write(file.path(), "1\n").unwrap();
        assert!(is_realtime(file.path()));
        assert!(!is_realtime(Path::new("/nonexistent/realtime")));
    }
}
