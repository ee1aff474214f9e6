//! What `status` knows: every hook that is wanted or there.

use core::fmt;
use std::time::{Duration, SystemTime};

use crate::{
    error::Exit,
    hook::{Direction, Layer, Via},
    snapshot::{Missing, PolicyLabel, State},
};

/// Everything that `status` says.
#[derive(Clone, Debug)]
pub struct StatusReport {
    /// When it was read.
    pub time: SystemTime,
    /// This host's name.
    pub host: String,
    /// The network namespace as it was named on the command line.
    pub netns: Option<String>,
    /// The policy in force there.
    pub policy: Option<PolicyLabel>,
    /// Whether a policy is saved, be it one that is of no use, and none is in force, as after a boot.
    pub unapplied: bool,
    /// Whether the saved policy is of no use, and the copy of the last good one is the policy in force.
    pub falls_back: bool,
    /// The hooks, by interface, ingress first.
    pub hooks: Vec<HookStatus>,
    /// Since when it is in force.
    pub applied: Option<Applied>,
    /// The policy that was taken back, if nothing has come into force since.
    pub taken_back: Option<UndonePolicy>,
    /// The policy that waits to be confirmed.
    pub confirm: Option<Confirm>,
    /// The service, if one serves this network namespace.
    pub service: Option<ServiceStatus>,
    /// What concerns no single hook.
    pub notes: Vec<Note>,
}

/// When the policy in force came into force; the same as in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// When.
    pub when: SystemTime,
    /// By whom.
    pub by: String,
    /// The file it came from.
    pub file: String,
}

/// A policy that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndonePolicy {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// When it was put in force.
    pub applied: SystemTime,
    /// When it was taken back, and why, if that was remembered.
    pub undone: Option<Undone>,
}

/// That a policy was taken back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Undone {
    /// When.
    pub at: SystemTime,
    /// Why.
    pub why: Why,
}

/// Why a policy was taken back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Nobody confirmed it in time.
    Late,
    /// Its process was killed.
    CutShort,
    /// The kernel did not take all of it.
    Failed,
    /// Somebody wanted it back.
    By(String),
}

/// What the service does.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServiceStatus {
    /// Its process.
    pub pid: u32,
    /// Since when it serves.
    pub since: SystemTime,
    /// Its version.
    pub version: String,
    /// Where it serves metrics.
    pub metrics: Vec<core::net::SocketAddr>,
    /// How it last read the saved policy.
    pub reload: Reload,
    /// When that last went well.
    pub success: Option<SystemTime>,
    /// Why its settings are not what their file says.
    pub settings_failure: Option<String>,
    /// How many events rules have told of today, as far as it was there.
    #[serde(default)]
    pub events_today: u64,
    /// Hooks that it does not attach again, since somebody detached them: interface and direction.
    pub released: Vec<(u32, Direction)>,
    /// Hooks that ran, whose pins somebody has removed, and that are not back.
    #[serde(default)]
    pub lost: Vec<Missing>,
}

/// A policy that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// When it was applied.
    pub since: SystemTime,
    /// By whom.
    pub by: String,
    /// How long until it is rolled back.
    pub left: Duration,
    /// Whether it is saved once it is confirmed.
    pub save: bool,
    /// The policy that then comes back, by name and hash.
    pub back: Option<(String, String)>,
}

/// The policy of a hook out of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BypassStatus {
    /// Since when.
    pub since: SystemTime,
    /// By whom.
    pub by: String,
    /// How long until it ends by itself.
    pub left: Option<Duration>,
}

/// How the service last read the saved policy.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reload {
    /// When.
    pub at: SystemTime,
    /// Why the saved policy is not in force, in one line; `None`: it is, or what is in force was put there since.
    pub failure: Option<String>,
    /// Whether it was refused as long as another policy waits to be confirmed.
    #[serde(default)]
    pub waits: bool,
}

impl Reload {
    /// It is in force, or what is in force stays.
    #[must_use]
    pub const fn succeeded(at: SystemTime) -> Self {
        Self { at, failure: None, waits: false }
    }

    /// It is not, for this reason.
    #[must_use]
    pub const fn failed(at: SystemTime, failure: String) -> Self {
        Self { at, failure: Some(failure), waits: false }
    }
}

/// A policy that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastPolicy {
    /// Its number, from 1; none is given twice.
    pub number: u64,
    /// When it was put in force.
    pub when: SystemTime,
    /// By whom.
    pub by: String,
    /// Its name.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// The file it came from.
    pub file: String,
    /// Whether it is in force now.
    pub in_force: bool,
    /// Whether it was taken back before anybody confirmed it.
    pub taken_back: bool,
}

/// One hook.
#[derive(Clone, Debug)]
pub struct HookStatus {
    /// The interface, or the glob that a policy binds and no interface matches.
    pub interface: String,
    /// Its index, if it exists.
    pub ifindex: Option<u32>,
    /// Which way.
    pub direction: Direction,
    /// By which mechanism, if it is attached.
    pub via: Option<Via>,
    /// What it is doing.
    pub state: State,
    /// The program's id in the kernel.
    pub program_id: Option<u32>,
    /// The link's id in the kernel; clsact has none.
    pub link_id: Option<u32>,
    /// Behind which headers it looks for IP.
    pub inside: Vec<Layer>,
    /// The remark table that is bound to it.
    pub table: Option<String>,
    /// How many rules are asked before it.
    pub rules: usize,
    /// The hash of the policy that its program was made from, eight hexadecimal digits.
    pub policy_hash: Option<String>,
    /// Whether the policy in force wants another table of it than the one that runs, or one where none runs.
    pub unmet: bool,
    /// Since when it counts.
    pub since: Option<SystemTime>,
    /// How long ago the last frame came; `None` if none ever did.
    pub last_packet: Option<Duration>,
    /// Why it is at this mechanism and not a better one, or why it is not there.
    pub reason: Option<String>,
    /// The policy out of the path, if it is.
    pub bypass: Option<BypassStatus>,
    /// The version of the program at the hook.
    pub datapath_version: Option<String>,
    /// What else is to be said of it.
    pub notes: Vec<Note>,
}

/// A line of text beside the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether a person has to do something.
    pub needs_human: bool,
    /// What is to be said; a command where there is one.
    pub text: String,
}

impl Why {
    /// In one word, for machines.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::CutShort => "cut-short",
            Self::Failed => "failed",
            Self::By(_) => "by",
        }
    }

    /// Who wanted it back, if somebody did.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        match self {
            Self::By(who) => Some(who),
            Self::Late | Self::CutShort | Self::Failed => None,
        }
    }
}

/// What became of it; the one wording, of which it is the subject.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("was not confirmed in time"),
            Self::CutShort => f.write_str("was cut short while it was being applied"),
            Self::Failed => f.write_str("could not be applied"),
            Self::By(who) => write!(f, "was taken back by {who}"),
        }
    }
}

impl Note {
    /// Something to know.
    pub fn info(text: impl Into<String>) -> Self {
        Self { needs_human: false, text: text.into() }
    }

    /// Something to do.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { needs_human: true, text: text.into() }
    }
}

impl StatusReport {
    /// 3 if something wanted is not there or not right, runs another policy than the one in force, or a policy is saved
    /// and none is in force, so that one command is enough to monitor it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let fault = |hook: &HookStatus| matches!(hook.state, State::Missing | State::Error) || hook.unmet;
        if self.unapplied || self.hooks.iter().any(fault) { Exit::No } else { Exit::Done }
    }
}

/// Since when the policy is in force, and which one was taken back; `clock` says a time.
pub fn about_the_policy(report: &StatusReport, clock: impl Fn(SystemTime) -> String) -> Vec<Note> {
    let applied = report
        .applied
        .iter()
        .map(|Applied { when, by, file }| Note::info(format!("policy from {file}, applied {} by {by}", clock(*when))));
    let taken_back = report.taken_back.iter().map(|taken| taken.note(&clock));
    applied.chain(taken_back).collect()
}

impl UndonePolicy {
    fn note(&self, clock: impl Fn(SystemTime) -> String) -> Note {
        let policy = format!("policy {} {} of {}", self.name, self.hash, clock(self.applied));
        let Some(Undone { at, why }) = &self.undone else { return Note::info(format!("{policy} was taken back")) };
        let back = format!("{policy} was taken back at {}", clock(*at));
        match why {
            Why::By(who) => Note::info(format!("{back} by {who}")),
            Why::Late | Why::CutShort | Why::Failed => Note::warning(format!("{back}: it {why}")),
        }
    }
}

impl HookStatus {
    /// Whether tcpdump on this host shows a packet as it was before this hook or after it.
    #[must_use]
    pub fn tcpdump_sees(&self) -> Option<&'static str> {
        self.via.map(|via| via.tcpdump_sees(self.direction))
    }
}
