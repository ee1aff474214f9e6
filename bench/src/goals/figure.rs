//! The figures that promises are of, and where they are in a report.

use super::gap;
use crate::{
    report::{Case, Gap, Job, Report, Routed},
    router::{
        afterwards::SWITCHED,
        candidate::{Candidate, Mechanism},
    },
};

/// The frames of which it is promised what a program costs.
const FRAMES: [&str; 3] = ["IPv4", "IPv6", "IPv4, one tag"];

/// Who marks in the router, and the floor at the same hook.
const FLOORS: [(&str, &str); 2] = [floor_of(Mechanism::Xdp), floor_of(Mechanism::Tcx)];

const fn floor_of(mechanism: Mechanism) -> (&'static str, &'static str) {
    (Candidate::Qosbpf(mechanism).name(), Candidate::Floor(mechanism).name())
}

/// A figure.
#[derive(Clone, Copy, Debug)]
pub(super) enum Figure {
    /// A program's whole by that of a floor, of the frame where it comes out worst.
    Program { hook: &'static str, of: &'static str, to: &'static str },
    /// What rules add to a table, in ns.
    Rules { family: &'static str, rules: &'static str },
    /// What rules add for an adversarial packet, by what they add for a typical one.
    Adversarial { family: &'static str, of: &'static str },
    /// The router's whole by that of the one that marks nothing.
    Total { job: &'static str, name: &'static str },
    /// How many times less qosbpf adds to the router than another one.
    Times { job: &'static str, other: &'static str, ours: &'static str },
    /// What a meter adds to a rule, in ns.
    Meter { name: &'static str, cpus: usize },
    /// Packets lost while policies were switched.
    Lost { hook: &'static str },
    /// What the program of a switch costs above one that was attached, in ns.
    Afterwards { hook: &'static str },
    /// Packets that were sent and not counted, or counted and not sent, of all programs on all CPUs.
    Miscounted,
    /// A figure of userspace.
    Fact { name: &'static str },
}

impl Figure {
    /// In words.
    pub(super) fn what(self) -> String {
        match self {
            Self::Program { hook, of, to } => format!("{hook}: {of} against {to}, worst of IPv4, IPv6, one tag"),
            Self::Rules { family, rules } => format!("XDP, {family}: {rules} above a table alone, in ns"),
            Self::Adversarial { family, of } => {
                format!("XDP, {family}: {of}, above a table, by a typical packet above a table")
            }
            Self::Total { job, name } => format!("router, {job}: {name}, total against no marking"),
            Self::Times { job, other, ours } => {
                format!("router, {job}: what {other} adds, divided by what {ours} adds")
            }
            Self::Meter { name, cpus } => format!("XDP, {cpus} CPUs: {name}, above no meter, in ns"),
            Self::Lost { hook } => format!("{hook}: packets lost while policies were switched under load"),
            Self::Afterwards { hook } => format!("{hook}: after a switch above the same policy attached, in ns"),
            Self::Miscounted => "packets sent and not counted on all CPUs at once".to_owned(),
            Self::Fact { name } => name.to_owned(),
        }
    }

    /// The two programs of which the instructions say why it is not kept: hook, base, name.
    pub(super) const fn ways(self) -> Option<[&'static str; 3]> {
        match self {
            Self::Program { hook, of, to } => Some([hook, to, of]),
            Self::Rules { rules, .. } => Some(["XDP", "a table alone", rules]),
            Self::Adversarial { of, .. } => Some(["XDP", "a table alone", of]),
            Self::Meter { name, .. } => Some(["XDP", "one rule", name]),
            _ => None,
        }
    }

    /// The same of the floor in C: what a program there cannot be without.
    pub(super) fn of_floor(self) -> Option<Self> {
        let floor = |ours| FLOORS.iter().find(|(name, _)| *name == ours).map(|(_, floor)| *floor);
        match self {
            Self::Total { job, name } => Some(Self::Total { job, name: floor(name)? }),
            Self::Times { job, other, ours } => Some(Self::Times { job, other, ours: floor(ours)? }),
            _ => None,
        }
    }

    /// What was measured, or why nothing was.
    pub(super) fn of(self, report: &Report, bound: f64) -> Result<f64, Gap> {
        let none = |names: &[&str]| gap(report, names);
        match self {
            Self::Program { hook, of, to } => {
                worst(report, hook, of, to).ok_or_else(|| none(&[&format!("program, {hook}"), "program"]))
            }
            Self::Rules { family, rules } => ruled(report, family, rules).ok_or_else(|| none(&["rules"])),
            Self::Adversarial { family, of } => {
                adversarial(report, family, of).unwrap_or_else(|| Err(none(&["rules"])))
            }
            Self::Total { job, name } => {
                let found = find(report, job, name).map(|(_, routed)| routed.ratio.median);
                found.ok_or_else(|| routed_gap(report, job, name))
            }
            Self::Times { job, other, ours } => times(report, job, other, ours, bound),
            Self::Meter { name, cpus } => metered(report, name, cpus)
                .ok_or_else(|| none(&[&format!("scaling, {cpus} CPUs"), &format!("scaling, {name}"), "scaling"])),
            Self::Lost { hook } => {
                let found = report.switch.iter().find(|switch| switch.hook == hook);
                found.map(|switch| switch.lost as f64).ok_or_else(|| switch_gap(report, hook))
            }
            Self::Afterwards { hook } => afterwards(report, hook).ok_or_else(|| switch_gap(report, hook)),
            Self::Miscounted => miscounted(report).ok_or_else(|| none(&["scaling"])),
            Self::Fact { name } => {
                let fact = report.user.iter().find(|fact| fact.name == name);
                fact.map(|fact| fact.value.median).ok_or_else(|| none(&[name, "user"]))
            }
        }
    }
}

/// `None` as long as one of the frames is missing.
fn worst(report: &Report, hook: &str, of: &str, to: &str) -> Option<f64> {
    let ratio = |frame: &&str| {
        let case = report.program.iter().find(|case| case.hook == hook && case.frame == *frame)?;
        case.ratios.iter().find(|ratio| ratio.of == of && ratio.to == to).map(|ratio| ratio.ratio.median)
    };
    let ratios: Option<Vec<f64>> = FRAMES.iter().map(ratio).collect();
    ratios?.into_iter().reduce(f64::max)
}

fn rules<'a>(report: &'a Report, family: &str) -> Option<&'a Case> {
    report.rules.iter().find(|case| case.frame == family)
}

fn ruled(report: &Report, family: &str, name: &str) -> Option<f64> {
    let row = rules(report, family)?.rows.iter().find(|row| row.name == name)?;
    Some(row.above.median)
}

fn adversarial(report: &Report, family: &str, of: &str) -> Option<Result<f64, Gap>> {
    let case = rules(report, family)?;
    let ratio = case.ratios.iter().find(|ratio| ratio.of == of)?;
    let typical = case.rows.iter().find(|row| row.name == ratio.to)?.above.median;
    if typical < case.noise {
        return Some(Err(in_noise(format!("rules, {family}: {of}"), typical, case.noise)));
    }
    Some(Ok(ratio.ratio.median))
}

fn find<'a>(report: &'a Report, job: &str, name: &str) -> Option<(&'a Job, &'a Routed)> {
    let job = report.router.iter().find(|measured| measured.name == job)?;
    Some((job, job.rows.iter().find(|routed| routed.row.name == name)?))
}

fn routed_gap(report: &Report, job: &str, name: &str) -> Gap {
    gap(report, &[&format!("router, {job}: {name}"), &format!("router, {job}"), "router"])
}

/// What another one adds by what qosbpf adds. Where that cannot be told from nothing, it is at most that and the noise:
/// if even so the promise is kept, it is kept; else nobody knows.
fn times(report: &Report, job: &str, other: &str, ours: &str, bound: f64) -> Result<f64, Gap> {
    let added = |name: &str| match find(report, job, name) {
        Some((job, routed)) => Ok((routed.row.above.median, job.noise)),
        None => Err(routed_gap(report, job, name)),
    };
    let ((us, noise), (them, _)) = (added(ours)?, added(other)?);
    if us >= noise {
        return Ok(them / us);
    }
    let least = them / (us.max(0.0) + noise);
    if least >= bound { Ok(least) } else { Err(in_noise(format!("router, {job}: {ours}"), us, noise)) }
}

fn in_noise(what: String, ns: f64, noise: f64) -> Gap {
    let why = format!("{ns:.1} ns is less than the {noise:.1} ns by which two that are alike differ");
    Gap { what, why, declared: false }
}

fn metered(report: &Report, name: &str, cpus: usize) -> Option<f64> {
    let wanted = format!("XDP, {name}, ");
    let named = report.scaling.iter().find(|scale| scale.cpus == cpus && scale.name.starts_with(&wanted));
    named?.above.map(|above| above.median)
}

fn afterwards(report: &Report, hook: &str) -> Option<f64> {
    let switch = report.switch.iter().find(|switch| switch.hook == hook)?;
    switch.afterwards.iter().find(|row| row.name == SWITCHED).map(|row| row.above.median)
}

fn switch_gap(report: &Report, hook: &str) -> Gap {
    gap(report, &[&format!("router, switch, {hook}"), "router"])
}

/// `None` where nothing was measured on several CPUs, or on the only one.
fn miscounted(report: &Report) -> Option<f64> {
    let apart = report.scaling.iter().map(|scale| scale.sent.abs_diff(scale.counted));
    let all = report.machine.cpus.max(1);
    report.scaling.iter().any(|scale| scale.cpus == all).then(|| apart.sum::<u64>() as f64)
}
