//! What this command does not measure yet, said in every report.

use crate::report::Gap;

/// What there is no figure for, and why.
pub fn known(cpus: usize) -> Vec<Gap> {
    let later = [
        ("what a log of packets costs", "this command has no candidate for it yet"),
        ("flows, capture and RTP", "they do not exist yet"),
        ("scrape, and `run` idle", "this command has no candidate for it yet"),
    ];
    let mut gaps: Vec<Gap> = later.into_iter().map(|(what, why)| Gap::new(what, why)).collect();
    gaps.push(Gap::new(format!("more than {cpus} CPUs"), "this machine gives no more"));
    gaps.push(Gap::new("a NIC and its driver", "the router's devices are veth pairs; a cable adds the same to all"));
    gaps
}
