//! `policy show --json`: the tables in force, with how often each entry was hit.

use serde::Serialize;
use serde_json::{Value, json};

use super::SCHEMA;
use crate::snapshot::{Counts, Hook, Snapshot, named::Entry};

/// The document.
#[must_use]
pub fn policy(snapshot: &Snapshot) -> impl Serialize + use<> {
    let policy = snapshot.policy.as_ref();
    json!({
        "schema": SCHEMA,
        "policy": policy.map(|policy| json!({ "name": policy.name, "hash": policy.hash, "saved": policy.saved })),
        "hooks": snapshot.hooks.iter().map(hook).collect::<Vec<_>>(),
    })
}

fn hook(hook: &Hook) -> Value {
    let counts = hook.counts.as_ref().ok();
    let entries = hook.table.iter().flat_map(|table| table.by_entry());
    json!({
        "interface": hook.interface,
        "direction": hook.direction,
        "state": hook.state.as_str(),
        "table": hook.table.as_ref().map(|table| &table.name),
        "protected": counts.map(|counts| counts.sums.protected.packets),
        "entries": entries.map(|found| entry(&found, counts)).collect::<Vec<_>>(),
    })
}

/// The hits of an entry are the packets that came with the codepoints it decides on.
fn entry(entry: &Entry<'_>, counts: Option<&Counts>) -> Value {
    let marks = entry.decides_on.iter().map(|(from, to)| json!({ "from": from.value(), "to": to.value() }));
    let hits = counts.map(|counts| entry.decides_on.iter().map(|(from, _)| counts.before(*from).packets).sum::<u64>());
    json!({ "entry": entry.key, "line": entry.line, "marks": marks.collect::<Vec<_>>(), "packets": hits })
}
