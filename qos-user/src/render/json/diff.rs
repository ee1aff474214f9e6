//! `policy diff --json`.

use serde::Serialize;
use serde_json::{Value, json};

use super::SCHEMA;
use crate::snapshot::diff::{EntryDiff, HookDiff, Outcome, OuterDiff, PolicyDiff, RuleDiff};

/// The document; rates are packets a second, null at a hook where nothing is counted.
#[must_use]
pub fn diff(found: &PolicyDiff) -> impl Serialize + use<> {
    let running = found.running.as_ref();
    json!({
        "schema": SCHEMA,
        "differs": found.differs(),
        "running": running.map(|policy| json!({ "name": policy.name, "hash": policy.hash, "saved": policy.saved })),
        "policy": { "name": found.next.name, "hash": found.next.hash, "saved": found.next.saved, "file": found.next.file },
        "prune": found.prune,
        "session": found.session,
        "hooks": found.hooks.iter().map(hook).collect::<Vec<_>>(),
    })
}

fn hook(hook: &HookDiff) -> Value {
    json!({
        "hook": hook.name,
        "differs": hook.differs,
        "result": hook.effect,
        "bypassed": hook.bypassed,
        "needs_tc": hook.needs_tc.as_ref().map(|(why, _)| why),
        "table": { "old": hook.old_table, "new": hook.new_table },
        "local": hook.local.map(|(old, new)| json!({ "old": old, "new": new })),
        "inside": hook.inside.as_ref().map(|(old, new)| json!({ "old": old, "new": new })),
        "outer": hook.outer.as_ref().map(outer),
        "from": hook.from,
        "rules": hook.rules.iter().map(rule).collect::<Vec<_>>(),
        "entries": hook.entries.iter().map(|found| entry(found, hook.live)).collect::<Vec<_>>(),
    })
}

fn rule(rule: &RuleDiff) -> Value {
    json!({
        "rule": rule.name,
        "change": rule.change,
        "line": rule.line,
        "old": rule.old,
        "new": rule.new,
        "packets_per_second": rule.rate.map(|rate| rate.packets),
    })
}

fn outer(diff: &OuterDiff) -> Value {
    let inside = diff.inside.iter().map(|dscp| dscp.value()).collect::<Vec<_>>();
    json!({ "old": diff.old, "new": diff.new, "inside": inside })
}

fn entry(entry: &EntryDiff, live: bool) -> Value {
    let marks = entry.marks.iter().map(|mark| {
        json!({
            "from": mark.from.value(),
            "old": mark.old.value(),
            "new": mark.new.value(),
            "packets_per_second": live.then_some(mark.rate.packets),
        })
    });
    json!({
        "entry": entry.key,
        "line": entry.line,
        "old": entry.old.map(outcome),
        "new": entry.new.map(outcome),
        "packets_per_second": live.then(|| entry.rate().packets),
        "marks": marks.collect::<Vec<_>>(),
    })
}

/// A codepoint, or `keep`.
fn outcome(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Keep => json!("keep"),
        Outcome::Mark(to) => json!(to.value()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{
        json::{Layout, document},
        sample,
    };

    #[test]
    fn the_document_is_as_promised() {
        insta::assert_snapshot!(document(&diff(&sample::diff()), Layout::Pretty).unwrap());
    }
}
