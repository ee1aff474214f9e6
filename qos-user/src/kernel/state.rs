//! What is remembered of a hook and of a policy, beside the counters.

use std::time::SystemTime;

use anyhow::Context as _;
use qos_common::{
    ds::Dscp,
    locate::Link,
    policy::{Local, Table},
};
use serde::{Deserialize, Serialize};

use super::{
    boottime::BootTime,
    object::{Program, Specialisation},
};
use crate::{
    hook::{Direction, Via},
    snapshot::{Device, EntryLabel, TableLabel},
};

/// One hook, as long as its program runs. Kept in the pin `state`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HookState {
    /// The program that this describes; another one that runs was started by a process that was killed.
    pub program_id: u32,
    /// How it is attached.
    pub via: Via,
    /// Whether it is the XDP program for packets in several pieces.
    pub frags: bool,
    /// Whether it logs its decisions.
    pub log: bool,
    /// Why not by a better mechanism, or why by this one.
    pub reason: String,
    /// When counting began.
    pub since: SystemTime,
    /// The version that attached it, and whose program runs.
    pub version: String,
    /// What precedes the IP header on the device.
    pub layer3: bool,
    /// What the policy makes it do.
    pub binding: Option<Binding>,
    /// Set while the policy is out of the path.
    pub bypass: Option<Bypass>,
    /// The device's own counters when counting began.
    pub device: Device,
    /// The root qdisc then.
    pub qdisc: QdiscBaseline,
    /// Whether we made the clsact qdisc.
    pub made_clsact: bool,
}

/// What a policy says of one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The policy's hash.
    pub policy: String,
    /// The table's name.
    pub table: String,
    /// For each of the 64 codepoints, the entry that decides on it.
    pub entries: Vec<Entry>,
    /// Which of this host's own packets it spares.
    pub local: LocalWord,
}

/// The entry of a table that decides on one codepoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The codepoint that it gives.
    pub to: u8,
    /// Its key as written.
    pub key: String,
    /// Its line in the file.
    pub line: usize,
}

/// [`Local`], as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the same as Local")]
pub enum LocalWord {
    Policy,
    KeepControl,
    Keep,
}

/// Who took the policy out of the path, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bypass {
    /// Since when.
    pub since: SystemTime,
    /// Who.
    pub by: String,
    /// When it ends by itself.
    #[serde(default)]
    pub until: Option<BootTime>,
}

/// The root qdisc at one moment; a qdisc with another handle or kind began at zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QdiscBaseline {
    /// Its kind.
    pub kind: String,
    /// Its handle.
    pub handle: u32,
    /// Its drops.
    pub drops: u64,
}

/// The policy in force in a network namespace. Kept in the pin `policy`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// The file's name as it was given.
    pub file: String,
    /// Its text.
    pub text: String,
    /// When it was applied.
    pub applied: SystemTime,
    /// By whom.
    pub by: String,
}

impl HookState {
    /// What precedes the IP header.
    #[must_use]
    pub const fn link(&self) -> Link {
        if self.layer3 { Link::Layer3 } else { Link::Ethernet }
    }

    /// The program that does what this state says.
    #[must_use]
    pub const fn program(&self, direction: Direction) -> Program {
        match (self.via.is_xdp(), self.frags) {
            (true, false) => Program::Xdp,
            (true, true) => Program::XdpFrags,
            (false, _) => Program::Tc(direction),
        }
    }

    /// What that program is built for.
    ///
    /// # Errors
    ///
    /// That the table in here is none.
    pub fn specialisation(&self) -> anyhow::Result<Specialisation> {
        let counting = Specialisation { log: self.log, ..Specialisation::counting(self.link()) };
        match &self.binding {
            Some(binding) if self.enforces() => Ok(Specialisation {
                table: Some(binding.table()?),
                rules: None,
                local: binding.local.into(),
                ..counting
            }),
            _ => Ok(counting),
        }
    }

    /// Whether the time of its bypass is over.
    #[must_use]
    pub fn bypass_expired(&self, now: BootTime) -> bool {
        self.bypass.as_ref().and_then(|bypass| bypass.until).is_some_and(|until| until <= now)
    }

    /// Whether the table is in the path.
    #[must_use]
    pub const fn enforces(&self) -> bool {
        self.binding.is_some() && self.bypass.is_none()
    }
}

impl Binding {
    /// What a policy's table says, as it is remembered.
    #[must_use]
    pub fn new(policy: &str, table: TableLabel, local: Local) -> Self {
        let entries = table.entries.into_iter();
        let entries = entries.map(|entry| Entry { to: entry.to.value(), key: entry.key, line: entry.line }).collect();
        Self { policy: policy.to_owned(), table: table.name, entries, local: local.into() }
    }

    /// Whether the same packets leave with the same marks.
    #[must_use]
    pub fn does_the_same_as(&self, other: &Self) -> bool {
        let targets = |binding: &Self| binding.entries.iter().map(|entry| entry.to).collect::<Vec<_>>();
        self.local == other.local && targets(self) == targets(other)
    }

    /// The table with its words.
    ///
    /// # Errors
    ///
    /// That it is no table of 64 codepoints.
    pub fn label(&self) -> anyhow::Result<TableLabel> {
        let entries = self.entries.iter().map(|entry| {
            let to = Dscp::new(entry.to).with_context(|| format!("{} is no codepoint", entry.to))?;
            Ok(EntryLabel { key: entry.key.clone(), to, line: entry.line })
        });
        Ok(TableLabel { name: self.table.clone(), entries: entries.collect::<anyhow::Result<_>>()? })
    }

    /// The compiled table.
    ///
    /// # Errors
    ///
    /// That it is no table of 64 codepoints.
    pub fn table(&self) -> anyhow::Result<Table> {
        let targets: Vec<u8> = self.entries.iter().map(|entry| entry.to).collect();
        Table::from_bytes(&targets).context("not a table of 64 codepoints")
    }
}

impl LocalWord {
    /// The word of the policy file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::KeepControl => "keep-control",
            Self::Keep => "keep",
        }
    }
}

impl From<LocalWord> for Local {
    fn from(word: LocalWord) -> Self {
        match word {
            LocalWord::Policy => Self::Policy,
            LocalWord::KeepControl => Self::KeepControl,
            LocalWord::Keep => Self::Keep,
        }
    }
}

impl From<Local> for LocalWord {
    fn from(local: Local) -> Self {
        match local {
            Local::Policy => Self::Policy,
            Local::KeepControl => Self::KeepControl,
            Local::Keep => Self::Keep,
        }
    }
}
