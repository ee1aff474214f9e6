//! What a program costs by itself: test runs, interleaved, in CPU time of the thread that makes them.
//!
//! XDP test runs call the program directly, TC test runs through an indirect call; only programs of the same hook are
//! compared. One frame, again and again, means warm caches and branches that are always right: these are lower bounds.

pub mod candidate;
mod contract;
pub mod rules;

use anyhow::Context as _;
use aya::programs::SchedClassifier;
use qosbpf::kernel::pins::{HookPins, Pin};

use self::candidate::{Candidate, Hook};
use crate::{
    Step,
    compile::Objects,
    effort::Effort,
    frames::{self, Sample},
    report::{Case, Ratio, Row},
    samples::{Samples, order},
};

/// What is judged against what.
const COMPARED: [(&str, &str); 4] = [
    (candidate::OURS, candidate::WHOLE),
    (candidate::OURS_COUNTING, candidate::WHOLE_COUNT),
    (candidate::OURS, candidate::LEAN),
    (candidate::OURS_COUNTING, candidate::LEAN_COUNT),
];

/// Checks that the floors do what qosbpf does, and measures both.
///
/// # Errors
///
/// Where they differ; or what bpf(2) says.
pub fn measure(objects: &Objects, effort: &Effort, step: Step<'_>) -> anyhow::Result<Vec<Case>> {
    let compared = contract::check(objects)?;
    step(&format!("floors and qosbpf did and counted the same on {compared} test runs"))?;
    let mut cases = Vec::new();
    for hook in Hook::ALL {
        let mut candidates = Candidate::load_all(objects, hook)?;
        for sample in frames::all().iter().filter(|sample| hook.takes(sample)) {
            step(&format!("program: {}, {}", hook.name(), sample.name))?;
            cases.push(case(hook, &mut candidates, sample, effort)?);
        }
    }
    Ok(cases)
}

/// Measures MF rules.
///
/// # Errors
///
/// What bpf(2) says.
pub fn measure_rules(effort: &Effort, step: Step<'_>) -> anyhow::Result<Vec<Case>> {
    rules::measure(effort, step)
}

fn case(hook: Hook, candidates: &mut [Candidate], sample: &Sample, effort: &Effort) -> anyhow::Result<Case> {
    let mut samples = vec![Samples::default(); candidates.len()];
    for candidate in &mut *candidates {
        candidate.time(sample, effort.repeat / 10 + 1)?;
    }
    for round in 0..effort.rounds {
        for index in order(round, candidates.len()) {
            samples[index].push(candidates[index].time(sample, effort.repeat)?);
        }
    }
    let named: Vec<(&'static str, Samples)> = candidates.iter().map(|candidate| candidate.name).zip(samples).collect();
    let first = &named.first().context("no candidates")?.1;
    let rows = named.iter().map(|(name, samples)| row(name, samples, first)).collect();
    let ratios = COMPARED.iter().filter_map(|(of, to)| ratio(&named, of, to)).collect();
    Ok(Case { hook: hook.name(), frame: sample.name, rows, ratios })
}

/// The program of a hook, for test runs: for these it does not matter of which type the handle is, and that of XDP asks
/// for what nobody outside of aya can name.
///
/// # Errors
///
/// What bpf(2) says.
pub fn attached(hook: &HookPins) -> anyhow::Result<SchedClassifier> {
    Ok(SchedClassifier::from_pin(hook.path(Pin::Program))?)
}

/// A row of figures, with what it costs above `first` in the same rounds.
pub fn row(name: &str, samples: &Samples, first: &Samples) -> Row {
    let above = samples.paired(first, |this, first| this - first).spread();
    Row { name: name.to_owned(), ns: samples.spread(), above }
}

fn ratio(named: &[(&'static str, Samples)], of: &'static str, to: &'static str) -> Option<Ratio> {
    let find = |wanted: &str| named.iter().find(|(name, _)| *name == wanted).map(|(_, samples)| samples);
    let (ours, floor) = (find(of)?, find(to)?);
    let (ratio, ns) = (ours.paired(floor, |a, b| a / b), ours.paired(floor, |a, b| a - b));
    Some(Ratio { of, to, ratio: ratio.spread(), ns: ns.spread() })
}
