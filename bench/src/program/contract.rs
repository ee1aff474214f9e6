//! The gate of program measurements: a floor is one only if it does the whole job.

use anyhow::{Context as _, ensure};
use qos_common::locate::Link;
use qosbpf::{kernel::counters, snapshot::Counts};

use super::candidate::{Candidate, Hook};
use crate::{
    compile::{Objects, involution},
    frames::{self, Gso, Sample},
};

/// Runs qosbpf and the floors of the same contract on every vector that a test run takes, and compares the bytes that
/// come out, the verdicts, and then all counters. Says how many runs were compared.
///
/// # Errors
///
/// The frame or the counters in which they differ.
pub fn check(objects: &Objects) -> anyhow::Result<usize> {
    let samples = samples();
    let mut compared = 0;
    for hook in Hook::ALL {
        for table in [None, Some(involution())] {
            let (mut ours, mut floor) = Candidate::pair(objects, hook, table)?;
            for sample in samples.iter().filter(|sample| hook.takes(sample) && accepts(hook, &sample.frame)) {
                compare(&mut ours, &mut floor, sample).with_context(|| hook.name())?;
                compared += 1;
            }
            let (mine, other) = (counts(&mut ours)?, counts(&mut floor)?);
            ensure!(mine == other, "{} and {} counted differently at {}", ours.name, floor.name, hook.name());
        }
    }
    Ok(compared)
}

fn compare(ours: &mut Candidate, floor: &mut Candidate, sample: &Sample) -> anyhow::Result<()> {
    let once = |candidate: &mut Candidate| {
        let mut output = vec![0; sample.frame.len()];
        candidate.run(sample, 1, Some(&mut output)).map(|verdict| (verdict, output))
    };
    ensure!(once(ours)? == once(floor)?, "{} and {} differ on: {}", ours.name, floor.name, sample.name);
    Ok(())
}

/// Without the time of the last frame, which differs.
fn counts(candidate: &mut Candidate) -> anyhow::Result<Counts> {
    let mut counts = counters::read_maps(candidate.ebpf())?;
    ensure!(counts.sums.last != 0, "{} did not note the time", candidate.name);
    counts.sums.last = 0;
    Ok(counts)
}

/// The vectors, the frames that are measured, and super-packets of which the kernel does not know all.
fn samples() -> Vec<Sample> {
    let vectors = qos_vectors::essential().into_iter();
    let vectors = vectors.filter(|vector| vector.link == Link::Ethernet && vector.stripped_tags == 0);
    let vectors = vectors.map(|vector| Sample { name: "a vector", frame: vector.frame, gso: None });
    let mut samples: Vec<Sample> = vectors.chain(frames::all()).collect();
    for sample in samples.clone() {
        for segments in [0, 1, 3] {
            let wire = sample.frame.len() as u32 + 100;
            samples.push(Sample { gso: Some(Gso { size: 40, segments, wire }), ..sample.clone() });
        }
    }
    samples
}

/// What a test run takes: see the same question in the tests.
fn accepts(hook: Hook, frame: &[u8]) -> bool {
    let least = match (hook, frame.get(12..14)) {
        (Hook::Tc(_), Some([0x08, 0x00])) => 34,
        (Hook::Tc(_), Some([0x86, 0xdd])) => 54,
        _ => 14,
    };
    (least..=3500).contains(&frame.len())
}
