//! What a program costs by itself: test runs, interleaved, in CPU time of the thread that makes them.
//!
//! XDP test runs call the program directly, TC test runs through an indirect call; only programs of the same hook are
//! compared. One frame, again and again, means warm caches and branches that are always right: these are lower bounds.

pub mod candidate;
mod contract;
pub mod rules;

use aya::programs::SchedClassifier;
use qosbpf::kernel::pins::{HookPins, Pin};

use self::candidate::{Candidate, Hook};
use crate::{
    Step,
    compile::Objects,
    effort::Effort,
    frames::{self, Sample},
    report::{Case, Gap, Ratio, Row},
    samples::{Samples, mean, noise, order},
};

/// What is judged against what.
const COMPARED: [(&str, &str); 6] = [
    (candidate::OURS, candidate::WHOLE),
    (candidate::OURS_COUNTING, candidate::WHOLE_COUNT),
    (candidate::OURS, candidate::LEAST),
    (candidate::OURS_COUNTING, candidate::LEAST_COUNT),
    (candidate::OURS, candidate::LEAN),
    (candidate::OURS_COUNTING, candidate::LEAN_COUNT),
];

/// Checks that the floors do what qosbpf does, and measures both; a hook that fails is a gap, and the others go on.
///
/// # Errors
///
/// That the run is to end.
pub fn measure(objects: &Objects, effort: &Effort, gaps: &mut Vec<Gap>, step: Step<'_>) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for hook in Hook::ALL {
        match at(hook, objects, effort, step) {
            Ok(measured) => cases.extend(measured),
            Err(error) => gaps.push(Gap::failed(format!("program, {}", hook.name()), &error)),
        }
        step(&format!("program: {} is done", hook.name()))?;
    }
    Ok(cases)
}

fn at(hook: Hook, objects: &Objects, effort: &Effort, step: Step<'_>) -> anyhow::Result<Vec<Case>> {
    let compared = contract::check(objects, hook)?;
    step(&format!("{}: floor and qosbpf did and counted the same on {compared} test runs", hook.name()))?;
    let mut loaded = loads(effort, || Candidate::load_all(objects, hook))?;
    let mut cases = Vec::new();
    for sample in frames::all().iter().filter(|sample| hook.takes(sample)) {
        step(&format!("program: {}, {}", hook.name(), sample.name))?;
        let taken = rounds(&mut loaded, sample, effort)?;
        let ratios = COMPARED.iter().filter_map(|(of, to)| ratio(&taken, of, to)).collect();
        cases.push(case(hook, sample, &taken, ratios)?);
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

/// Candidates by name, with a figure of each round.
type Taken = Vec<(&'static str, Samples)>;

/// All candidates, as often as they are to be loaded.
fn loads(
    effort: &Effort,
    load_all: impl Fn() -> anyhow::Result<Vec<Candidate>>,
) -> anyhow::Result<Vec<Vec<Candidate>>> {
    (0..effort.loads.max(1)).map(|_| load_all()).collect()
}

/// Each round has another load of all candidates.
fn rounds(loaded: &mut [Vec<Candidate>], sample: &Sample, effort: &Effort) -> anyhow::Result<Taken> {
    for candidate in loaded.iter_mut().flatten() {
        candidate.time(sample, effort.repeat / 10 + 1)?;
    }
    let names: Vec<&str> = loaded.first().into_iter().flatten().map(|candidate| candidate.name).collect();
    let mut samples = vec![Samples::default(); names.len()];
    let loads = loaded.len();
    for round in 0..effort.rounds {
        let candidates = &mut loaded[round % loads];
        for index in order(round, names.len()) {
            samples[index].push(candidates[index].time(sample, effort.repeat)?);
        }
    }
    Ok(names.into_iter().zip(samples).collect())
}

/// The first two candidates are the same, and what all are compared with is the middle of both.
fn case(hook: Hook, sample: &Sample, taken: &Taken, ratios: Vec<Ratio>) -> anyhow::Result<Case> {
    let [(_, first), (_, again), ..] = taken.as_slice() else { anyhow::bail!("no candidates") };
    let base = mean(first, again);
    let rows = taken.iter().map(|(name, samples)| row(name, samples, &base)).collect();
    Ok(Case { hook: hook.name(), frame: sample.name, rows, ratios, noise: noise(first, again) })
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

/// A row of figures, with what it costs above `base` in the same rounds.
pub fn row(name: &str, samples: &Samples, base: &Samples) -> Row {
    let above = samples.paired(base, |this, base| this - base).spread();
    Row { name: name.to_owned(), ns: samples.spread(), above, rounds: samples.rounds() }
}

fn find<'a>(taken: &'a Taken, wanted: &str) -> Option<&'a Samples> {
    taken.iter().find(|(name, _)| *name == wanted).map(|(_, samples)| samples)
}

fn ratio(taken: &Taken, of: &'static str, to: &'static str) -> Option<Ratio> {
    let (ours, floor) = (find(taken, of)?, find(taken, to)?);
    let (ratio, ns) = (ours.paired(floor, |a, b| a / b), ours.paired(floor, |a, b| a - b));
    Some(Ratio { of, to, ratio: ratio.spread(), ns: ns.spread() })
}
