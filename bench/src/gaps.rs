//! What this command does not measure yet, said in every report.

use crate::report::Gap;

/// What there is no figure for, and why.
pub fn known(cpus: usize) -> Vec<Gap> {
    let mut gaps = vec![
        Gap::new("flows, RTP and capture", "not built: qosbpf has no such command yet"),
        Gap::new("what the reader of a log's events costs", "`log` is measured on the data path, with nobody reading"),
    ];
    gaps.push(Gap::new(format!("more than {cpus} CPUs"), "this machine gives no more"));
    gaps.push(Gap::new("a NIC and its driver", "the router's devices are veth pairs; a cable adds the same to all"));
    gaps
}
