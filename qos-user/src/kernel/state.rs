//! What is remembered of a hook and of a policy, beside the counters.

use std::{sync::Arc, time::SystemTime};

use anyhow::{Context as _, ensure};
use qos_common::{ds::Dscp, locate::Link, policy::Table};
use serde::{Deserialize, Serialize};

pub use super::local::LocalWord;
use super::{
    boottime::BootTime,
    object::{self, Program, Specialisation},
    sets,
    slots::Slots,
};
use crate::{
    hook::{Direction, Layer, Via},
    rules::{RuleTables, from::Named, model::Rule},
    snapshot::{
        Device, EntryLabel, HookPolicy, TableLabel,
        asked::Asked,
        made::{Change, Earlier},
        tabled::Tabled,
    },
};

/// One hook, as long as its program runs. Kept in the pin `state`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HookState {
    /// The program that this describes; another one that runs was started by a process that was killed.
    pub program_id: u32,
    /// What the interface was called when this was written; empty if that is not known.
    #[serde(default)]
    pub interface: String,
    /// What it was called when it was asked what the policy binds to it, if that is not [`interface`](Self::interface).
    #[serde(default)]
    pub bound_as: Option<String>,
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
    /// The kernel object that its program is from, which two builds of a version may not have in common; 0 if that is
    /// not known.
    #[serde(default)]
    pub object: u64,
    /// What precedes the IP header on the device.
    pub layer3: bool,
    /// Behind which headers `attach` was told to look for IP; a policy that says so too is asked first.
    #[serde(default)]
    pub inside: Option<Vec<Layer>>,
    /// What the policy makes it do.
    pub binding: Option<Binding>,
    /// The counters that rules have here, also those of earlier policies.
    #[serde(default)]
    pub slots: Slots,
    /// The buckets and counters that meters have.
    #[serde(default)]
    pub meters: Slots,
    /// How often its table was asked.
    #[serde(default)]
    pub tabled: Tabled,
    /// How many of the changes here an earlier policy has made; `None` if that is not known.
    #[serde(default)]
    pub earlier: Option<Earlier>,
    /// Since when its rules are asked as they are; `None` if that is not known.
    #[serde(default)]
    pub asked: Option<Asked>,
    /// The interfaces that its rules name by `from`, as they were when they were compiled; `None` if that is not known.
    #[serde(default)]
    pub named: Option<Vec<Named>>,
    /// Set while the policy is out of the path.
    pub bypass: Option<Bypass>,
    /// When the change of policy began for which it was attached, if for one: it is detached if that is taken back.
    #[serde(default)]
    pub attached_for: Option<SystemTime>,
    /// The device's own counters when counting began.
    pub device: Device,
    /// The root qdisc then.
    pub qdisc: QdiscBaseline,
    /// Whether we made the clsact qdisc.
    pub made_clsact: bool,
}

/// What a policy says of one hook: all of it, since another hook may have another policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Which policy.
    pub policy: HookPolicy,
    /// Its remark table for this hook.
    pub table: Option<TableRecord>,
    /// Which of this host's own packets table and rules spare.
    pub local: LocalWord,
    /// The rules that are asked before the table, in order.
    #[serde(flatten, with = "sets")]
    pub rules: Vec<Rule>,
    /// Behind which headers it looks for IP, if it says so.
    #[serde(default)]
    pub inside: Option<Vec<Layer>>,
    /// Its table for outer headers that this host has made, asked with the codepoint inside.
    #[serde(default)]
    pub outer: Option<TableRecord>,
}

/// A remark table, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Its name.
    pub name: String,
    /// For each of the 64 codepoints, the entry that decides on it.
    pub entries: Vec<Entry>,
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
    /// The hash of the saved policy at that time: if the file has another one later, somebody has changed it since.
    #[serde(default)]
    pub saved_then: Option<String>,
}

impl HookState {
    /// For which name it was last asked what the policy binds; empty if that is not known.
    #[must_use]
    pub fn asked_for(&self) -> &str {
        self.bound_as.as_deref().unwrap_or(&self.interface)
    }

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

    /// What that program is built for; `rules` are the compiled rules of its binding, if it enforces any.
    ///
    /// # Errors
    ///
    /// That the table in here is none, or that rules were not compiled.
    pub fn specialisation(&self, rules: Option<Arc<RuleTables>>) -> anyhow::Result<Specialisation> {
        let inside = Layer::together(self.inside());
        let counting = Specialisation { log: self.log, inside, ..Specialisation::counting(self.link()) };
        let Some(binding) = self.enforced() else { return Ok(counting) };
        ensure!(rules.is_some() || binding.rules.is_empty(), "rules that nobody has compiled");
        let table = binding.table.as_ref().map(TableRecord::compiled).transpose()?;
        let outer = binding.outer.as_ref().map(TableRecord::compiled).transpose()?;
        Ok(Specialisation { table, outer, rules, local: binding.local.into(), ..counting })
    }

    /// Behind which headers it looks for IP, also while the policy is out of the path.
    #[must_use]
    pub fn inside(&self) -> &[Layer] {
        let by_policy = self.binding.as_ref().and_then(|binding| binding.inside.as_deref());
        by_policy.or(self.inside.as_deref()).unwrap_or_default()
    }

    /// Whether its program is the one that this binary would load.
    #[must_use]
    pub fn is_of_this_build(&self) -> bool {
        self.version == crate::VERSION && self.object == object::fingerprint()
    }

    /// What the policy makes it do, if that is in the path.
    #[must_use]
    pub fn enforced(&self) -> Option<&Binding> {
        self.binding.as_ref().filter(|_| self.bypass.is_none())
    }

    /// What it is there for, in words.
    #[must_use]
    pub fn words(&self) -> String {
        self.binding.as_ref().map_or_else(|| "counting, no policy is bound to it".to_owned(), Binding::words)
    }

    /// Whether the policy says of it more than where to look.
    #[must_use]
    pub const fn decides(&self) -> bool {
        match &self.binding {
            Some(binding) => binding.decides(),
            None => false,
        }
    }

    /// Whether the time of its bypass is over.
    #[must_use]
    pub fn bypass_expired(&self, now: BootTime) -> bool {
        self.bypass.as_ref().is_some_and(|bypass| bypass.has_expired(now))
    }
}

impl Bypass {
    /// Whether its time is over.
    #[must_use]
    pub fn has_expired(&self, now: BootTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Binding {
    /// Whether the same packets leave with the same marks, and the same rules count them.
    #[must_use]
    pub fn does_the_same_as(&self, other: &Self) -> bool {
        let anywhere = |rule: &Rule| Rule { line: 0, on: Vec::new(), ..rule.clone() };
        self.local == other.local
            && self.inside == other.inside
            && Self::marks_alike(self.table.as_ref(), other.table.as_ref())
            && Self::marks_alike(self.outer.as_ref(), other.outer.as_ref())
            && self.rules.iter().map(anywhere).eq(other.rules.iter().map(anywhere))
    }

    /// Whether the table is the same, whatever became of the rules.
    #[must_use]
    pub fn has_the_table_of(&self, other: &Self) -> bool {
        let key = |binding: &Self| {
            let table = binding.table.as_ref()?;
            Some((
                table.name.clone(),
                table.entries.iter().map(|entry| (entry.to, entry.key.clone())).collect::<Vec<_>>(),
            ))
        };
        key(self) == key(other)
    }

    /// Whether all that may make a change here may make it there too, by name: counters follow names. What makes it here is
    /// not disowned because of an order, or of what makes it there beside.
    #[must_use]
    pub fn makes_as(&self, other: &Self, change: Change) -> bool {
        let there: Vec<_> = other.makers(change).collect();
        let mut here = self.makers(change).peekable();
        here.peek().is_some() && here.all(|maker| there.contains(&maker))
    }

    fn makers(&self, change: Change) -> impl Iterator<Item = (&str, Option<&str>)> {
        let rules = self.rules.iter().filter(move |rule| change.may_be_by(rule));
        let to = change.to.map(Dscp::value);
        let outer = self.outer.as_ref().filter(move |table| table.targets().any(|target| Some(target) == to));
        let entry = self.table.as_ref().and_then(move |table| {
            let entry = table.entries.get(change.from.index()).filter(|entry| Some(entry.to) == to)?;
            Some((table.name.as_str(), Some(entry.key.as_str())))
        });
        rules.map(|rule| (rule.name.as_str(), None)).chain(outer.map(|table| (table.name.as_str(), None))).chain(entry)
    }

    /// The table's name.
    #[must_use]
    pub fn table_name(&self) -> Option<&str> {
        self.table.as_ref().map(|table| table.name.as_str())
    }

    /// The name of its table for outer headers.
    #[must_use]
    pub fn outer_name(&self) -> Option<&str> {
        self.outer.as_ref().map(|table| table.name.as_str())
    }

    /// Whether two tables, which may be none, give the same marks.
    #[must_use]
    pub fn marks_alike(one: Option<&TableRecord>, other: Option<&TableRecord>) -> bool {
        let targets = |table: Option<&TableRecord>| table.map(|table| table.targets().collect::<Vec<_>>());
        targets(one) == targets(other)
    }

    /// Whether it is more than where to look.
    #[must_use]
    pub const fn decides(&self) -> bool {
        self.table.is_some() || !self.rules.is_empty() || self.outer.is_some()
    }

    /// Table and rules in a few words.
    #[must_use]
    pub fn words(&self) -> String {
        let table = self.table_name().map(|table| format!("table {table}"));
        let rules = match self.rules.len() {
            0 => None,
            1 => Some("1 rule".to_owned()),
            more => Some(format!("{more} rules")),
        };
        let inside = self.inside.as_deref().filter(|layers| !layers.is_empty());
        let inside = inside.map(|layers| format!("inside {}", Layer::words(layers)));
        let outer = self.outer_name().map(|table| format!("outer {table}"));
        let words: Vec<String> = [table, outer, rules, inside].into_iter().flatten().collect();
        if words.is_empty() { "counting".to_owned() } else { words.join(", ") }
    }

    /// The same of one that there may be.
    #[must_use]
    pub fn words_of(binding: Option<&Self>) -> String {
        binding.map_or_else(|| "nothing".to_owned(), Self::words)
    }

    /// Those of some interfaces that its rules name by `from`.
    #[must_use]
    pub fn named(&self, interfaces: &[Named]) -> Vec<Named> {
        let is_named = |(_, name): &&Named| self.rules.iter().any(|rule| rule.names_as_from(name));
        interfaces.iter().filter(is_named).cloned().collect()
    }

    /// Whether what its rules match depends on which interfaces there are.
    #[must_use]
    pub fn names_interfaces(&self) -> bool {
        self.rules.iter().any(Rule::names_interfaces)
    }

    /// The table with its words.
    ///
    /// # Errors
    ///
    /// That it is no table of 64 codepoints.
    pub fn label(&self) -> anyhow::Result<Option<TableLabel>> {
        self.table.as_ref().map(TableRecord::label).transpose()
    }
}

impl From<TableLabel> for TableRecord {
    fn from(label: TableLabel) -> Self {
        let entries = label.entries.into_iter();
        let entries = entries.map(|entry| Entry { to: entry.to.value(), key: entry.key, line: entry.line }).collect();
        Self { name: label.name, entries }
    }
}

impl TableRecord {
    pub(super) fn targets(&self) -> impl Iterator<Item = u8> {
        self.entries.iter().map(|entry| entry.to)
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
        Ok(TableLabel { name: self.name.clone(), entries: entries.collect::<anyhow::Result<_>>()? })
    }

    /// The table of the kernel program.
    ///
    /// # Errors
    ///
    /// That it is no table of 64 codepoints.
    pub fn compiled(&self) -> anyhow::Result<Table> {
        Table::from_bytes(&self.targets().collect::<Vec<_>>()).context("not a table of 64 codepoints")
    }
}
