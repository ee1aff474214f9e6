//! `stats --json`.

use qos_common::{
    abi::{Counter, Uncounted},
    ds::Dscp,
};
use serde::Serialize;

use super::{
    Amount, Policy, SCHEMA,
    trend::{TrendDocument, Trends},
};
use crate::{
    VERSION,
    hook::{Direction, Via},
    invocation::Invocation,
    render::text::rfc3339,
    snapshot::{
        Counts, Device, Hook, Missing, Qdisc, RuleCount, Snapshot, State,
        listed::{FAMILIES, Listed},
        made::Change,
        trend::Row,
    },
};

/// The document of `stats --json`.
///
/// Rows of `before`, `after`, `remarked` and `dropped` are those of [`Listed`]: what was counted, and what the policy names, also
/// at zero. A hook that the policy binds and where nothing is
/// attached has state `missing`, an `error` and no counters. Where the service serves, rows of `before`, `after`,
/// `remarked`, `dropped` and `rules`, and the colors of `meters`, have `rates`, `last_moved` and `peak`. Rows of `remarked` and `dropped` have `earlier`,
/// in packets, where it is known that an earlier policy has changed some of them.
#[must_use]
pub fn stats<'a>(snapshot: &'a Snapshot, here: &'a Invocation) -> impl Serialize + 'a {
    let there = snapshot.hooks.iter().map(|hook| hook_document(snapshot, hook, here));
    let missing = snapshot.missing.iter().map(|missing| missing_document(missing, here));
    Document {
        schema: SCHEMA,
        time: rfc3339(snapshot.time),
        host: &snapshot.host,
        netns: snapshot.netns.as_deref(),
        version: VERSION,
        policy: snapshot.policy.as_ref().map(Policy::from),
        hooks: there.chain(missing).collect(),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    time: String,
    host: &'a str,
    netns: Option<&'a str>,
    version: &'static str,
    policy: Option<Policy<'a>>,
    hooks: Vec<HookDocument<'a>>,
}

#[derive(Serialize)]
struct HookDocument<'a> {
    interface: &'a str,
    ifindex: Option<u32>,
    direction: Direction,
    hook: Option<Via>,
    state: State,
    since: Option<String>,
    table: Option<&'a str>,
    program_id: Option<u32>,
    #[serde(flatten)]
    counted: Counted<'a>,
    device: Option<Device>,
    qdisc: Option<&'a Qdisc>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Counted<'a> {
    Counters(Box<Counters<'a>>),
    Unreadable { error: String },
}

#[derive(Serialize)]
struct Counters<'a> {
    before: Vec<Before>,
    after: Vec<After>,
    remarked: Vec<Remarked>,
    dropped: Vec<After>,
    protected: Amount,
    rules: Vec<RuleDocument<'a>>,
    meters: Vec<MeterDocument<'a>>,
    uncounted: UncountedDocument,
    limited: Limited,
}

#[derive(Serialize)]
struct Before {
    family: &'static str,
    ds: u8,
    dscp: u8,
    name: Option<&'static str>,
    ecn: u8,
    #[serde(flatten)]
    amount: Amount,
    #[serde(flatten)]
    trend: Option<TrendDocument>,
}

#[derive(Serialize)]
struct After {
    dscp: u8,
    name: Option<&'static str>,
    #[serde(flatten)]
    amount: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier: Option<u64>,
    #[serde(flatten)]
    trend: Option<TrendDocument>,
}

#[derive(Serialize)]
struct Remarked {
    from: u8,
    to: u8,
    #[serde(flatten)]
    amount: Amount,
    /// Packets of it that an earlier policy has changed, if that is known, and any.
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier: Option<u64>,
    #[serde(flatten)]
    trend: Option<TrendDocument>,
}

/// What a rule has matched; for one that decides, what it has decided.
#[derive(Serialize)]
struct RuleDocument<'a> {
    rule: &'a str,
    line: usize,
    #[serde(flatten)]
    amount: Amount,
    #[serde(flatten)]
    trend: Option<TrendDocument>,
}

/// What the meter of a rule has given.
#[derive(Serialize)]
struct MeterDocument<'a> {
    rule: &'a str,
    green: ColorDocument,
    yellow: ColorDocument,
    red: ColorDocument,
}

#[derive(Serialize)]
struct ColorDocument {
    packets: u64,
    ip_bytes: u64,
    #[serde(flatten)]
    trend: Option<TrendDocument>,
}

#[derive(Serialize)]
struct UncountedDocument {
    not_ip: Amount,
    malformed: Amount,
}

#[derive(Serialize)]
struct Limited {
    later_fragment: Amount,
    header_chain_too_long: Amount,
}

fn hook_document<'a>(snapshot: &Snapshot, hook: &'a Hook, here: &Invocation) -> HookDocument<'a> {
    let counted = match &hook.counts {
        Ok(counts) => {
            let listed = Listed::of(snapshot.policy.as_ref(), hook, counts);
            let trends = Trends::of(hook, snapshot.time);
            Counted::Counters(Box::new(counters(hook, counts, &listed, &trends)))
        }
        Err(error) => Counted::Unreadable { error: here.completed(error) },
    };
    HookDocument {
        interface: &hook.interface,
        ifindex: Some(hook.ifindex),
        direction: hook.direction,
        hook: hook.is_known().then_some(hook.via),
        state: hook.state,
        since: hook.is_known().then(|| rfc3339(hook.since)),
        table: hook.table.as_ref().map(|table| table.name.as_str()),
        program_id: hook.is_known().then_some(hook.program_id),
        counted,
        device: hook.device,
        qdisc: hook.qdisc.as_ref(),
    }
}

/// What is wanted and not there has counted nothing, which is not the same as zero.
fn missing_document<'a>(missing: &'a Missing, here: &Invocation) -> HookDocument<'a> {
    HookDocument {
        interface: &missing.interface,
        ifindex: missing.ifindex,
        direction: missing.direction,
        hook: None,
        state: State::Missing,
        since: None,
        table: missing.table.as_deref(),
        program_id: None,
        counted: Counted::Unreadable { error: here.completed(&missing.reason) },
        device: None,
        qdisc: None,
    }
}

fn counters<'a>(hook: &'a Hook, counts: &Counts, listed: &Listed<'_>, trends: &Trends<'_>) -> Counters<'a> {
    let [later_fragment, header_chain_too_long] = counts.sums.limited.map(Amount::from);
    let uncounted = |reason: Uncounted| counts.sums.uncounted[reason as usize].into();
    Counters {
        before: before(listed, trends),
        after: after(listed, trends),
        remarked: remarked(hook, listed, trends),
        dropped: dropped(hook, listed, trends),
        protected: counts.sums.protected.into(),
        rules: hook.rules.iter().map(|count| rule(count, trends)).collect(),
        meters: hook.colored().map(|(rule, colors)| meter(rule, colors, trends)).collect(),
        uncounted: UncountedDocument {
            not_ip: uncounted(Uncounted::NotIp),
            malformed: uncounted(Uncounted::Malformed),
        },
        limited: Limited { later_fragment, header_chain_too_long },
    }
}

fn rule<'a>(count: &'a RuleCount, trends: &Trends<'_>) -> RuleDocument<'a> {
    let trend = trends.row(&Row::Rule(count.rule.name.clone()));
    RuleDocument { rule: &count.rule.name, line: count.rule.line, amount: count.counted.into(), trend }
}

fn meter<'a>(rule: &'a str, colors: [Counter; 3], trends: &Trends<'_>) -> MeterDocument<'a> {
    let color = |color: usize| ColorDocument {
        packets: colors[color].packets,
        ip_bytes: colors[color].bytes,
        trend: trends.row(&Row::Color(rule.to_owned(), color)),
    };
    MeterDocument { rule, green: color(0), yellow: color(1), red: color(2) }
}

fn before(listed: &Listed<'_>, trends: &Trends<'_>) -> Vec<Before> {
    let rows = listed.before().into_iter().map(|(family, ds, amount)| Before {
        family: FAMILIES[family],
        ds: ds.bits(),
        dscp: ds.dscp().value(),
        name: ds.dscp().name(),
        ecn: ds.ecn() as u8,
        amount: amount.into(),
        trend: trends.row(&Row::Before(family, ds.bits())),
    });
    rows.collect()
}

fn after(listed: &Listed<'_>, trends: &Trends<'_>) -> Vec<After> {
    listed.after().map(|(dscp, after)| row(dscp, after, trends.row(&Row::After(dscp.value())))).collect()
}

fn dropped(hook: &Hook, listed: &Listed<'_>, trends: &Trends<'_>) -> Vec<After> {
    let told = listed.dropped().map(|(dscp, dropped)| After {
        earlier: hook.made(Change::drop(dscp)).by_earlier(),
        ..row(dscp, dropped, trends.row(&Row::Dropped(dscp.value())))
    });
    told.collect()
}

fn remarked(hook: &Hook, listed: &Listed<'_>, trends: &Trends<'_>) -> Vec<Remarked> {
    let told = listed.remarked().map(|(from, to, amount)| Remarked {
        from: from.value(),
        to: to.value(),
        amount: amount.into(),
        earlier: hook.made(Change::remark(from, to)).by_earlier(),
        trend: trends.row(&Row::Remarked(from.value(), to.value())),
    });
    told.collect()
}

fn row(dscp: Dscp, amount: Counter, trend: Option<TrendDocument>) -> After {
    After { dscp: dscp.value(), name: dscp.name(), amount: amount.into(), earlier: None, trend }
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
        insta::assert_snapshot!(document(&stats(&sample::snapshot(), &Invocation::default()), Layout::Pretty).unwrap());
    }

    #[test]
    fn a_hook_that_cannot_be_read_has_an_error_and_no_counters() {
        let mut snapshot = sample::snapshot();
        snapshot.hooks[1].counts = Err("map counters: Permission denied".to_owned());
        snapshot.policy = None;
        let value = serde_json::to_value(stats(&snapshot, &Invocation::default())).unwrap();
        let hook = value["hooks"][1].as_object().unwrap();
        assert_eq!(hook["error"], "map counters: Permission denied");
        assert!(!hook.contains_key("before") && !hook.contains_key("after"));
        assert!(value["policy"].is_null());
    }

    #[test]
    fn rows_have_rates_where_the_service_keeps_them() {
        let value = serde_json::to_value(stats(&sample::with_trend(), &Invocation::default())).unwrap();
        let row = |array: &str, key: &str, wanted: u64| {
            let mut rows = value["hooks"][1][array].as_array().unwrap().iter();
            rows.find(|row| row[key] == wanted).unwrap().clone()
        };
        for ef in [row("before", "ds", 184), row("after", "dscp", 46)] {
            assert_eq!(ef["rates"]["1m"], serde_json::json!({ "packets": 5.0, "bits": 4_000.0 }), "{ef}");
            assert_eq!(ef["rates"]["5m"], ef["rates"]["1m"]);
            assert_eq!(ef["last_moved"], "2026-11-21T22:00:00.123456789Z");
        }
        let mut metered = sample::with_trend();
        let rule = sample::rule("video", Counter::default());
        metered.hooks[1].rules = vec![RuleCount { colors: Some([Counter { packets: 1, bytes: 84 }; 3]), ..rule }];
        let value_of = serde_json::to_value(stats(&metered, &Invocation::default())).unwrap();
        let green = &value_of["hooks"][1]["meters"][0]["green"];
        assert!(green["rates"]["1m"]["packets"].is_f64() && green["last_moved"].is_string(), "{green}");
        let quiet = row("after", "dscp", 1);
        assert_eq!((&quiet["rates"]["1m"]["packets"], &quiet["last_moved"]), (&0.0.into(), &serde_json::Value::Null));
        assert!(value["hooks"][0]["after"][0].get("rates").is_none(), "of another hook nothing is kept");
    }

    #[test]
    fn a_hook_that_is_wanted_and_not_there_is_missing() {
        let value = serde_json::to_value(stats(&sample::with_missing(), &Invocation::default())).unwrap();
        let hook = value["hooks"][2].as_object().unwrap();
        assert_eq!((&hook["interface"], &hook["state"]), (&"ppp0".into(), &"missing".into()));
        assert_eq!(hook["error"], "bound by the policy, and there is no such interface");
        assert!(!hook.contains_key("before") && hook["ifindex"].is_null() && hook["since"].is_null());
    }

    #[test]
    fn a_stream_has_one_line_a_document() {
        let line = document(&stats(&sample::snapshot(), &Invocation::default()), Layout::Line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with('\n'));
    }
}
