//! The gate of program measurements: a floor is one only if it does the whole job.
//!
//! What a test run cannot be told, it cannot compare either: a tag that the device took off (`vlan_present`), a packet of
//! which a part is out of reach, and at TC, since Linux 6.18, a frame without room for the header that its EtherType
//! promises. The floors have these ways nevertheless.

use anyhow::ensure;
use qos_common::{ds::Dscp, locate::Link};
use qos_vectors::frame::{Ipv4, Ipv6, ether_type, ethernet, udp};
use qosbpf::{
    hook::Direction,
    kernel::{counters, testrun::accepts},
    snapshot::Counts,
};

use super::candidate::{Candidate, Hook};
use crate::{
    compile::{Objects, involution},
    frames::{self, Gso, Sample},
};

/// Runs qosbpf and the floors of the same contract at a hook on every vector that a test run takes, on every DS byte of
/// both families, and on what came in and what this host made; compares the bytes that come out, the verdicts, and then
/// all counters. Says how many runs were compared.
///
/// # Errors
///
/// The frame or the counters in which they differ.
pub fn check(objects: &Objects, hook: Hook) -> anyhow::Result<usize> {
    let samples = samples();
    let mut compared = 0;
    for table in [None, Some(involution())] {
        let (mut ours, mut floor) = Candidate::pair(objects, hook, table)?;
        for sample in samples.iter().filter(|sample| hook.takes(sample) && accepts(hook.ours(), &sample.frame)) {
            compare(&mut ours, &mut floor, sample)?;
            compared += 1;
        }
        let (mine, other) = (counts(&mut ours)?, counts(&mut floor)?);
        ensure!(mine == other, "{} and {} counted differently", ours.name, floor.name);
        let spares = table.is_some() && hook == Hook::Tc(Direction::Egress);
        let spared = mine.sums.protected.packets;
        ensure!((spared > 0) == spares, "{} spared {spared} packets of this host's own", ours.name);
    }
    Ok(compared)
}

fn compare(ours: &mut Candidate, floor: &mut Candidate, sample: &Sample) -> anyhow::Result<()> {
    let once = |candidate: &mut Candidate| {
        let mut output = vec![0; sample.frame.len()];
        candidate.run(sample, 1, Some(&mut output)).map(|verdict| (verdict, output))
    };
    let Sample { name, frame, gso, ingress } = sample;
    ensure!(
        once(ours)? == once(floor)?,
        "{} and {} differ on: {name}, by interface {ingress}, {gso:?}: {frame:02x?}",
        ours.name,
        floor.name
    );
    Ok(())
}

/// Without the time of the last frame, which differs.
fn counts(candidate: &mut Candidate) -> anyhow::Result<Counts> {
    let mut counts = counters::read_maps(candidate.ebpf())?;
    ensure!(counts.sums.last != 0, "{} did not note the time", candidate.name);
    counts.sums.last = 0;
    Ok(counts)
}

/// The vectors, the frames that are measured and all DS bytes; each also as a super-packet of which the kernel does not
/// know all, and as one that came in.
fn samples() -> Vec<Sample> {
    let vectors = qos_vectors::essential().into_iter();
    let vectors = vectors.filter(|vector| vector.link == Link::Ethernet && vector.stripped_tags == 0);
    let vectors = vectors.map(|vector| Sample { name: "a vector", frame: vector.frame, gso: None, ingress: 0 });
    let mut samples: Vec<Sample> = vectors.chain(frames::all()).collect();
    for sample in samples.clone() {
        for segments in [0, 1, 3] {
            let wire = sample.frame.len() as u32 + 100;
            samples.push(Sample { gso: Some(Gso { size: 40, segments, wire }), ..sample.clone() });
        }
    }
    samples.extend(all_ds());
    let came_in: Vec<Sample> = samples.iter().map(|sample| Sample { ingress: LOOPBACK, ..sample.clone() }).collect();
    samples.extend(came_in);
    samples
}

/// An interface that there is everywhere.
const LOOPBACK: u32 = 1;

/// Each codepoint with each ECN field, in both families.
fn all_ds() -> impl Iterator<Item = Sample> {
    let bytes = Dscp::all().flat_map(|dscp| (0..4).map(move |ecn| dscp.value() << 2 | ecn));
    bytes.flat_map(|ds| {
        let payload = udp(&[0; 18]);
        let v4 = ethernet(&[], ether_type::IPV4, &Ipv4 { ds, ..Ipv4::default() }.packet(&payload));
        let v6 = ethernet(&[], ether_type::IPV6, &Ipv6 { ds, ..Ipv6::default() }.packet(&payload));
        [v4, v6].map(|frame| Sample { name: "a DS byte", frame, gso: None, ingress: 0 })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The gate alone. What a packet counts as is written twice, here and in the floors: a change of the one is a change of
    /// the other.
    #[test]
    fn floors_do_and_count_what_qosbpf_does() {
        assert!(nix::unistd::geteuid().is_root(), "programs are loaded here: run it as root");
        let objects = Objects::build().expect("cargo xtask test installs clang, which compiles the floors");
        for hook in Hook::ALL {
            let compared = check(&objects, hook).unwrap_or_else(|error| panic!("{}: {error:#}", hook.name()));
            assert!(compared > 1_000, "{}: only {compared} test runs", hook.name());
        }
    }

    #[test]
    fn all_ds_bytes_of_both_families_are_compared_whoever_made_them() {
        let named = samples().into_iter().filter(|sample| sample.name == "a DS byte");
        let distinct: BTreeSet<(u32, Vec<u8>)> = named.map(|sample| (sample.ingress, sample.frame)).collect();
        assert_eq!(distinct.len(), 64 * 4 * 2 * 2);
    }
}
