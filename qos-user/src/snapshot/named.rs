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

/// The codepoints that the policy names for a hook, each once: those of its classes, then the keys of the hook's
/// table, what the table makes of them, and what rules set.
#[must_use]
pub fn named(policy: Option<&PolicyLabel>, hook: &Hook) -> Vec<Dscp> {
    let tables = [&hook.table, &hook.outer].into_iter().flatten();
    let entries: Vec<Entry<'_>> = tables.flat_map(TableLabel::by_entry).collect();
    let classes = policy.into_iter().flat_map(|policy| &policy.classes).flat_map(|(_, dscps)| dscps.iter().copied());
    let keys = entries.iter().filter(|entry| entry.key != OTHER);
    let keys = keys.flat_map(|entry| entry.decides_on.iter().map(|(from, _)| *from));
    let results = entries.iter().filter_map(Entry::result);
    let set = hook.rules.iter().flat_map(|count| count.rule.sets());
    let mut named = Vec::new();
    for dscp in classes.chain(keys).chain(results).chain(set) {
        if !named.contains(&dscp) {
            named.push(dscp);
        }
    }
    named
}
