//! `policy show --json`: the tables in force, with how often each entry was hit.

use std::time::{Duration, SystemTime};

use qos_common::abi::Counter;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{SCHEMA, trend::Trends};
use crate::{
    render::text::rfc3339,
    rules::model::Verdict,
    snapshot::{COLORS, Counts, Hook, RuleCount, Snapshot, TableLabel, named::Entry, trend::Row},
};

/// The document.
#[must_use]
pub fn policy(snapshot: &Snapshot) -> impl Serialize + use<> {
    let policy = snapshot.policy.as_ref();
    json!({
        "schema": SCHEMA,
        "policy": policy.map(|policy| json!({ "name": policy.name, "hash": policy.hash, "saved": policy.saved })),
        "hooks": snapshot.hooks.iter().map(|shown| hook(shown, snapshot.time)).collect::<Vec<_>>(),
    })
}

fn hook(hook: &Hook, now: SystemTime) -> Value {
    let (counts, trends) = (hook.counts.as_ref().ok(), Trends::of(hook, now));
    let last = |entry: &Entry<'_>| {
        let dscps: Vec<_> = entry.decides_on.iter().map(|(from, _)| *from).collect();
        hook.trend.as_ref()?.table_quiet(hook, &dscps, now)
    };
    let entries = hook.table.iter().flat_map(|table| table.by_entry());
    json!({
        "interface": hook.interface,
        "direction": hook.direction,
        "state": hook.state.as_str(),
        "policy": hook.policy.as_ref().map(|policy| json!({ "name": policy.name, "hash": policy.hash, "file": policy.file })),
        "table": hook.table.as_ref().map(|table| &table.name),
        "table_since": hook.began.filter(|_| hook.table.is_some()).map(|began| rfc3339(began.at.max(hook.since))),
        "rules": hook.rules.iter().map(|count| rule(count, hook, &trends)).collect::<Vec<_>>(),
        "local": hook.local,
        "protected": counts.map(|counts| counts.sums.protected.packets),
        "entries": entries.map(|found| entry(&found, counts, last(&found))).collect::<Vec<_>>(),
        "qdisc": hook.qdisc,
        "outer": hook.outer.as_ref().map(outer),
    })
}

/// Its entries are asked with the codepoint inside, and have no hits.
fn outer(table: &TableLabel) -> Value {
    let entries = table.by_entry().iter().map(|found| entry(found, None, None)).collect::<Vec<_>>();
    json!({ "table": table.name, "entries": entries })
}

fn rule(count: &RuleCount, hook: &Hook, trends: &Trends<'_>) -> Value {
    let RuleCount { rule, counted, since, last, suppressed, colors } = count;
    let colors = colors.map(|colors| {
        let named =
            COLORS.into_iter().zip(colors).zip(rule.meter().map_or([None; 3], |meter| meter.verdicts().map(Some)));
        let color = |amount: Counter, verdict: Option<Verdict>| {
            let result = verdict.map(|verdict| verdict.to_string());
            json!({ "packets": amount.packets, "ip_bytes": amount.bytes, "result": result })
        };
        named.map(|((name, amount), verdict)| (name.to_owned(), color(amount, verdict))).collect::<Map<_, _>>()
    });
    let mut document = json!({
        "rule": rule.name,
        "line": rule.line,
        "match": rule.matches(),
        "result": rule.result(),
        "since": rfc3339(since.unwrap_or(hook.since)),
        "packets": counted.packets,
        "bytes": counted.bytes,
        "last": last.map(|last| last.as_secs_f64()),
        "events_suppressed": rule.log.map(|_| suppressed),
        "colors": colors,
    });
    trends.add(&Row::Rule(rule.name.clone()), &mut document);
    document
}

/// `marks` has what changes; `keep` says that the entry leaves codepoints as they are. The hits of an entry are the packets that
/// came with the codepoints it decides on, and that no rule decided; `last` is how many seconds ago the last one was, if the
/// service knows.
fn entry(entry: &Entry<'_>, counts: Option<&Counts>, last: Option<Duration>) -> Value {
    let (kept, changed): (Vec<_>, Vec<_>) = entry.decides_on.iter().partition(|(from, to)| from == to);
    let marks = changed.iter().map(|(from, to)| json!({ "from": from.value(), "to": to.value() }));
    let hits = counts.map(|counts| entry.decides_on.iter().map(|(from, _)| counts.tabled(*from).packets).sum::<u64>());
    let mut document =
        json!({ "entry": entry.key, "line": entry.line, "marks": marks.collect::<Vec<_>>(), "packets": hits });
    if hits.is_some_and(|hits| hits > 0)
        && let Some(last) = last
    {
        document["last"] = last.as_secs_f64().into();
    }
    if !kept.is_empty() {
        document["keep"] = true.into();
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    #[test]
    fn a_service_knows_how_fast_rules_go_and_when_entries_were_hit() {
        let mut snapshot = sample::with_trend();
        let of = |snapshot: &_| serde_json::to_value(policy(snapshot)).unwrap()["hooks"][1].clone();
        let rule = sample::rule("calls", Counter { packets: 1, bytes: 100 });
        snapshot.hooks[1].rules.push(rule);
        let hook = of(&snapshot);
        assert_eq!((&hook["local"], &hook["qdisc"]["drops"]), (&"keep-control".into(), &83.into()));
        assert!(hook["rules"][0]["rates"]["1m"].is_object() && hook["rules"][0]["last_moved"].is_string(), "{hook:#}");
        let entry = |key: &str| hook["entries"].as_array().unwrap().iter().find(|entry| entry["entry"] == key).unwrap();
        assert_eq!((entry("EF")["last"].as_f64(), entry("bulk").get("last")), (Some(0.0), None));
        snapshot.hooks[1].trend = None;
        let hook = of(&snapshot);
        assert!(hook["rules"][0].get("rates").is_none(), "{hook:#}");
    }

    #[test]
    fn only_marks_that_change_are_listed() {
        let document = serde_json::to_value(policy(&sample::snapshot())).unwrap();
        let entries = document["hooks"][1]["entries"].as_array().unwrap();
        let of = |key: &str| entries.iter().find(|entry| entry["entry"] == key).unwrap();
        assert_eq!(of("EF")["marks"], json!([{ "from": 46, "to": 0 }]));
        assert!(of("EF").get("keep").is_none());
        assert_eq!((&of("other")["marks"], &of("other")["keep"]), (&json!([]), &true.into()));
        let video = json!([{ "from": 34, "to": 36 }, { "from": 38, "to": 36 }]);
        assert_eq!((&of("video")["marks"], &of("video")["keep"]), (&video, &true.into()));
    }
}
