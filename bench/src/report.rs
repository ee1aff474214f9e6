//! What has been measured, as it is in the JSON document.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::samples::Spread;

/// A whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The version of this document.
    pub schema: u32,
    /// Where it was measured.
    pub machine: Machine,
    /// How much was measured.
    pub effort: &'static str,
    /// Programs by test run.
    pub program: Vec<Case>,
    /// The instructions that one packet takes.
    pub walks: Vec<Walked>,
    /// MF rules at XDP by test run, above a table alone.
    pub rules: Vec<Case>,
    /// Figures of a forwarding router, a set for each job.
    pub router: Vec<Job>,
    /// Policies switched under load, by hook.
    pub switch: Vec<Switch>,
    /// Commands, memory, size.
    pub user: Vec<Fact>,
    /// Several CPUs.
    pub scaling: Vec<Scale>,
    /// What was not measured, and why.
    pub not_measured: Vec<Gap>,
    /// Promises on figures and how they came out.
    pub goals: Vec<Goal>,
}

/// The machine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// When the run began, RFC 3339.
    pub date: String,
    /// Version and commit of qosbpf.
    pub version: String,
    /// Release and architecture of the kernel.
    pub kernel: String,
    /// The model of the CPU.
    pub cpu: String,
    /// How many CPUs this process may use.
    pub cpus: usize,
    /// The load of the last minute when the run began.
    pub load: String,
    /// The compiler of the floors.
    pub clang: String,
    /// How the kernel guards indirect calls, which TC test runs and the kernel's own hooks make.
    pub spectre_v2: String,
    /// Versions of the tools that are compared.
    pub tools: Vec<String>,
}

/// One frame at one hook.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The hook.
    pub hook: &'static str,
    /// The frame.
    pub frame: &'static str,
    /// Programs, the empty one and its twin first.
    pub rows: Vec<Row>,
    /// qosbpf against floors; of rules, an adversarial packet against a typical one.
    pub ratios: Vec<Ratio>,
    /// How far the first two rows lie apart, which are the same, in ns.
    pub noise: f64,
}

/// A figure in ns for each packet.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// The whole, in ns.
    pub ns: Spread,
    /// What it costs above the middle of the first two rows, in ns: of the differences of each round.
    pub above: Spread,
    /// The whole in each round, in ns.
    pub rounds: Vec<f64>,
}

/// A ratio, and the difference in ns, both in the same round: of wholes, or of what rules add.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// What is judged.
    pub of: &'static str,
    /// Against what.
    pub to: &'static str,
    /// One divided by the other.
    pub ratio: Spread,
    /// One less the other, in ns.
    pub ns: Spread,
}

/// A packet's ways through two programs.
#[derive(Clone, Debug, Serialize)]
pub struct Walked {
    /// The hook.
    pub hook: &'static str,
    /// The frame.
    pub frame: &'static str,
    /// The program that is the floor, or has less to do.
    pub base: &'static str,
    /// The other program.
    pub name: &'static str,
    /// What the one takes.
    pub of_base: Count,
    /// What the other one takes.
    pub of_name: Count,
}

/// Instructions of the object, as far as the verifier leaves them in the program.
#[derive(Clone, Debug, Serialize)]
pub struct Count {
    /// All of them.
    pub instructions: usize,
    /// By kind.
    pub kinds: BTreeMap<&'static str, u32>,
}

/// What a router did with a job.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// The job.
    pub name: &'static str,
    /// In one sentence.
    pub what: &'static str,
    /// Candidates, the unmarked router and its twin first; all have passed the gates.
    pub rows: Vec<Routed>,
    /// How far the first two rows lie apart, which are the same, in ns.
    pub noise: f64,
}

/// A candidate of the router.
#[derive(Clone, Debug, Serialize)]
pub struct Routed {
    /// Cost for each packet.
    #[serde(flatten)]
    pub row: Row,
    /// The whole divided by the middle of the first two rows, by rounds.
    pub ratio: Spread,
    /// Packets sent, all of which arrived with the mark that they had to have and a right checksum, and were counted by
    /// whoever marked.
    pub packets: u64,
}

/// Policies switched while packets came.
#[derive(Clone, Debug, Serialize)]
pub struct Switch {
    /// The hook.
    pub hook: &'static str,
    /// How often.
    pub switches: usize,
    /// Bursts of packets meanwhile.
    pub bursts: Bursts,
    /// Packets meanwhile; of those that arrived each was marked by one policy or the other.
    pub packets: u64,
    /// Packets that did not arrive.
    pub lost: u64,
    /// What the program costs that a switch leaves, by test run; first the one that was attached with the policy, twice.
    pub afterwards: Vec<Row>,
}

/// Bursts by the policies that they met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bursts {
    /// The one that marks alone.
    pub marked: usize,
    /// The one that keeps alone.
    pub kept: usize,
    /// Both: a switch came in between.
    pub both: usize,
}

/// A figure of userspace.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    /// What was measured.
    pub name: String,
    /// The unit of `value`.
    pub unit: &'static str,
    /// Middle and spread; all three alike where it was measured once.
    pub value: Spread,
}

/// One program on several CPUs at once.
#[derive(Clone, Debug, Serialize)]
pub struct Scale {
    /// What did the work.
    pub name: String,
    /// How many CPUs.
    pub cpus: usize,
    /// CPU time for each packet, in ns.
    pub ns: Spread,
    /// What it takes above the same program without a meter or a log, on as many CPUs, in ns.
    pub above: Option<Spread>,
    /// CPU time for each packet in each round, in ns.
    pub rounds: Vec<f64>,
    /// Packets handed over, all rounds.
    pub sent: u64,
    /// Packets counted.
    pub counted: u64,
}

/// Something that was not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
    /// Whether it is known: not built, not asked for, not to be had here. Else something failed.
    pub declared: bool,
}

/// A promise.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// What is promised.
    pub what: String,
    /// The most, or with `at_least` the least, that keeps the promise.
    pub bound: f64,
    /// Whether `bound` is the least.
    pub at_least: bool,
    /// How it came out.
    pub outcome: Outcome,
    /// What was measured.
    pub measured: Option<f64>,
    /// The same of the floor in C, where it ran too.
    pub floor: Option<f64>,
    /// Why nothing was measured, and whether that is a declared gap.
    pub gap: Option<Gap>,
    /// The two programs whose ways say why it is not kept: hook, base, name.
    #[serde(skip)]
    pub ways: Option<[&'static str; 3]>,
}

/// How a promise came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is kept.
    Kept,
    /// It is not.
    NotKept,
    /// Nobody knows.
    NotMeasured,
}

impl Count {
    /// How many of a kind.
    pub fn of(&self, kind: &str) -> i64 {
        self.kinds.get(kind).copied().map_or(0, i64::from)
    }
}

impl Gap {
    /// Something that is known not to be measured, and why.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), declared: true }
    }

    /// Something that should have been measured, and failed.
    pub fn failed(what: impl Into<String>, error: &anyhow::Error) -> Self {
        let why = format!("{error:#}").lines().next().unwrap_or_default().to_owned();
        Self { what: what.into(), why, declared: false }
    }
}
