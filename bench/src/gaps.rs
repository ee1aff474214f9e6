//! What this command does not measure, said in every report.

use clap::ValueEnum as _;

use crate::{Part, report::Gap};

/// What there is no figure for, and why; parts that were not asked for are among them.
pub fn known(cpus: usize, wants: impl Fn(Part) -> bool) -> Vec<Gap> {
    let left_out = Part::value_variants().iter().filter(|part| !wants(**part));
    let mut gaps: Vec<Gap> = left_out.map(|part| Gap::new(part.name(), "this part was not asked for")).collect();
    gaps.extend(NEVER.map(|(what, why)| Gap::new(what, why)));
    gaps.push(Gap::new(format!("more than {cpus} CPUs"), "this machine gives no more"));
    gaps
}

const NEVER: [(&str, &str); 8] = [
    ("flows, RTP and capture", "not built: qosbpf has no such command yet"),
    ("what the reader of a log's events costs", "`log` is measured on the data path, with nobody reading"),
    ("a NIC and its driver", "the router's devices are veth pairs; a cable adds the same to all"),
    ("a router on several CPUs", "generator, router and sink are priced on one, so that nothing waits for another"),
    ("a router that marks on the way out", "every candidate marks on the way in, where all of them can"),
    ("a router with one value or rules in IPv6", "the table job is measured in both families, the others in IPv4"),
    ("super-packets in the router", "the generator sends single frames; programs by test run have them"),
    ("qosify, LibreQoS and other programs of eBPF", "they are not packaged, and do other jobs beside this one"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_was_not_asked_for_is_named() {
        let gaps = known(2, |part| part == Part::Router);
        assert!(gaps.iter().all(|gap| gap.declared));
        let named = |name: &str| gaps.iter().any(|gap| gap.what == name);
        assert!(named("program") && named("scaling") && !named("router"));
    }
}
