//! `policy diff --json`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{SCHEMA, explain};
use crate::snapshot::diff::{EntryDiff, HookDiff, NeverAsked, Outcome, OuterDiff, PolicyDiff, RuleDiff, Tests};

/// The document; rates are packets a second, null at a hook where nothing is counted.
#[must_use]
pub fn diff(found: &PolicyDiff) -> impl Serialize + use<> {
    let running = found.running.as_ref();
    let (tests, not_run) = match &found.tests {
        Tests::Run(runs) => (explain::of_tests(runs), None),
        Tests::Left(why) | Tests::Failed(why) => (Map::new(), Some(why)),
    };
    let mut document = json!({
        "schema": SCHEMA,
        "differs": found.differs(),
        "running": running.map(|policy| json!({ "name": policy.name, "hash": policy.hash, "saved": policy.saved })),
        "policy": { "name": found.next.name, "hash": found.next.hash, "saved": found.next.saved, "file": found.next.file },
        "prune": found.prune,
        "never_asked": found.never_asked.iter().map(never_asked).collect::<Vec<_>>(),
        "session": found.session,
        "tests_not_run": not_run,
        "hooks": found.hooks.iter().map(hook).collect::<Vec<_>>(),
    });
    if let Value::Object(fields) = &mut document {
        fields.extend(tests);
    }
    document
}

fn never_asked(NeverAsked { hook, rule, why }: &NeverAsked) -> Value {
    json!({ "hook": hook, "rule": rule, "why": why })
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
