//! Which capability is missing, said by name before the kernel says `EPERM`.

use std::fs;

use crate::error::{Exit, Failure};

/// A capability that changing the datapath needs, with its bit in `/proc/self/status`.
const NEEDED: [(&str, u32, &str); 3] = [
    ("CAP_NET_ADMIN", 12, "to attach to an interface"),
    ("CAP_PERFMON", 38, "for the verifier to accept programs that parse packets"),
    ("CAP_BPF", 39, "to load programs and make maps"),
];

/// `CAP_SYS_ADMIN` stands for CAP_BPF and CAP_PERFMON.
const SYS_ADMIN: u32 = 21;

/// The error that names what this process lacks, if it lacks anything.
#[must_use]
pub fn missing() -> Option<anyhow::Error> {
    let effective = effective()?;
    let has = |bit: u32| effective & (1 << bit) != 0;
    let lacks = |(_, bit, _): &&(&str, u32, &str)| !(has(*bit) || *bit > 32 && has(SYS_ADMIN));
    let missing: Vec<_> = NEEDED.iter().filter(lacks).map(|(name, _, why)| format!("{name} ({why})")).collect();
    (!missing.is_empty()).then(|| {
        Failure::new("privilege", format!("this process lacks {}", missing.join(", ")))
            .exit(Exit::Failed)
            .hint("run it as root, or give a service AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON")
            .into()
    })
}

fn effective() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
