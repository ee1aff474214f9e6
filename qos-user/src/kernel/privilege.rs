//! Which capability is missing, said by name before the kernel says `EPERM`.

use std::fs;

use nix::unistd::geteuid;

use crate::error::{Exit, Failure};

/// A capability that changing the datapath needs, with its bit in `/proc/self/status`.
const NEEDED: [(&str, u32, &str); 3] = [
    ("CAP_NET_ADMIN", 12, "to attach to an interface"),
    ("CAP_PERFMON", 38, "for the verifier to accept programs that parse packets"),
    ("CAP_BPF", 39, "to load programs and make maps"),
];

const HINT: &str = "run it as root; a service may drop all but CAP_BPF CAP_NET_ADMIN CAP_PERFMON, and CAP_SYS_ADMIN if it \
                    is to put back pins that vanish";

/// `CAP_SYS_ADMIN` stands for CAP_BPF and CAP_PERFMON.
const SYS_ADMIN: u32 = 21;

/// The capabilities that this process lacks, each with what it is for.
#[must_use]
pub fn lacking() -> Vec<(&'static str, &'static str)> {
    out_of("CapEff:")
}

/// Whether some of them cannot be had by any program that this process starts.
#[must_use]
pub fn is_bounded() -> bool {
    !out_of("CapBnd:").is_empty()
}

/// The capabilities that are not in a set of this process, as `/proc/self/status` calls it.
fn out_of(set: &str) -> Vec<(&'static str, &'static str)> {
    let Some(set) = capabilities(set) else { return Vec::new() };
    let has = |bit: u32| set & (1 << bit) != 0;
    let lacks = |bit: u32| !(has(bit) || bit > 32 && has(SYS_ADMIN));
    NEEDED.iter().filter(|(_, bit, _)| lacks(*bit)).map(|(name, _, why)| (*name, *why)).collect()
}

/// The error that names what this process lacks, if it lacks anything.
#[must_use]
pub fn missing() -> Option<anyhow::Error> {
    let missing: Vec<_> = lacking().iter().map(|(name, why)| format!("{name} ({why})")).collect();
    (!missing.is_empty()).then(|| {
        Failure::new("privilege", format!("this process lacks {}", missing.join(", ")))
            .exit(Exit::Failed)
            .hint(HINT)
            .into()
    })
}

/// Refuses a change that this process may not make, before anything is made.
///
/// # Errors
///
/// `privilege`, for a capability that is missing, and for everybody but root: only root's pins are trusted.
pub fn demand() -> anyhow::Result<()> {
    if let Some(lacking) = missing() {
        return Err(lacking);
    }
    if geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("privilege", format!("the pins belong to root, and this process is uid {}", geteuid()))
        .hint(HINT)
        .into())
}

fn capabilities(set: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(set))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
