//! Which codepoints a policy names at a hook: those that are listed even when none came.

use qos_common::ds::Dscp;

use super::{Hook, PolicyLabel, TableLabel};

/// The key of a table that stands for every codepoint without an entry of its own.
pub const OTHER: &str = "other";

impl TableLabel {
    /// Whether some codepoint becomes this one.
    #[must_use]
    pub fn leads_to(&self, to: Dscp) -> bool {
        self.entries.iter().any(|entry| entry.to == to)
    }

    /// The same as a table for outer headers, in words, with the entries by which something inside leads to this codepoint: which
    /// of several it was nobody has counted.
    #[must_use]
    pub fn as_outer(&self, to: Dscp, file: &str) -> String {
        let leads = |entry: &Entry<'_>| entry.decides_on.iter().any(|(_, result)| *result == to);
        let place = |entry: Entry<'_>| format!("entry {} ({file}:{})", entry.key, entry.line);
        let places: Vec<_> = self.by_entry().into_iter().filter(leads).map(place).collect();
        format!("outer table {}, {}", self.name, places.join(" or "))
    }

    /// The codepoints that an entry decides on, entry by entry: in the order of the file, `other` last.
    #[must_use]
    pub fn by_entry(&self) -> Vec<Entry<'_>> {
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for (from, label) in Dscp::all().zip(&self.entries) {
            match entries.iter_mut().find(|entry| entry.key == label.key && entry.line == label.line) {
                Some(entry) => entry.decides_on.push((from, label.to)),
                None => {
                    entries.push(Entry { key: &label.key, line: label.line, decides_on: vec![(from, label.to)] });
                }
            }
        }
        entries.sort_by_key(|entry| (entry.key == OTHER, entry.line));
        entries
    }
}

/// An entry of a remark table and what it decides on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key as written: a codepoint, a class, or `other`.
    pub key: &'a str,
    /// Its line in the file.
    pub line: usize,
    /// Codepoints and what they become.
    pub decides_on: Vec<(Dscp, Dscp)>,
}

impl Entry<'_> {
    /// What it makes of packets; `None` if it leaves every mark as it is.
    #[must_use]
    pub fn result(&self) -> Option<Dscp> {
        self.decides_on.iter().find(|(from, to)| from != to).map(|(_, to)| *to)
    }
}

/// The codepoints that the policy names for a hook, each once: those that it asks for, then what the tables make of them,
/// and what rules set.
#[must_use]
pub fn named(policy: Option<&PolicyLabel>, hook: &Hook) -> Vec<Dscp> {
    let results = tables(hook).filter_map(|entry| entry.result());
    let set = hook.rules.iter().flat_map(|count| count.rule.sets());
    once(asked_for(policy, hook).into_iter().chain(results).chain(set))
}

/// The codepoints that it expects to come there, each once: those of its classes, the keys of the hook's tables, and what rules
/// ask for.
#[must_use]
pub fn asked_for(policy: Option<&PolicyLabel>, hook: &Hook) -> Vec<Dscp> {
    let classes = policy.into_iter().flat_map(|policy| &policy.classes).flat_map(|(_, dscps)| dscps.iter().copied());
    let keys = tables(hook).filter(|entry| entry.key != OTHER);
    let keys = keys.flat_map(|entry| entry.decides_on.into_iter().map(|(from, _)| from));
    let rules = hook.rules.iter().flat_map(|count| count.rule.asks_for());
    once(classes.chain(keys).chain(rules))
}

fn tables(hook: &Hook) -> impl Iterator<Item = Entry<'_>> {
    [&hook.table, &hook.outer].into_iter().flatten().flat_map(TableLabel::by_entry)
}

fn once(dscps: impl Iterator<Item = Dscp>) -> Vec<Dscp> {
    let mut once = Vec::new();
    for dscp in dscps {
        if !once.contains(&dscp) {
            once.push(dscp);
        }
    }
    once
}
