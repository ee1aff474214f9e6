//! `stats --prometheus`: OpenMetrics text. The names and labels are in `docs/metrics.md`, and are kept.

use std::{fmt::Write as _, time::SystemTime};

use qos_common::{
    abi::Counter,
    ds::{DsField, Dscp},
};

use crate::{
    VERSION,
    snapshot::{
        COLORS, Counts, Hook, PolicyLabel, Snapshot, State,
        listed::{FAMILIES, Listed},
    },
};

/// The text, up to and with `# EOF`. `revision` is the source revision that the binary was built from.
///
/// The `_info` families are of type gauge: the older text format, which node_exporter's textfile collector reads, has
/// no type info, and so takes this text too.
///
/// Series that the policy names are there from the start, at zero, since `rate()` never sees the step from nothing to
/// the first packet.
#[must_use]
pub fn stats(snapshot: &Snapshot, revision: &str) -> String {
    whole(snapshot, None, revision)
}

/// The same from the service, which knows more.
#[must_use]
pub fn service(snapshot: &Snapshot, service: &Service, revision: &str) -> String {
    whole(snapshot, Some(service), revision)
}

/// What the service knows beside the counters.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Whether the files were right when they were last read.
    pub last_reload_successful: bool,
    /// When they last were.
    pub last_success: Option<SystemTime>,
}

fn whole(snapshot: &Snapshot, service: Option<&Service>, revision: &str) -> String {
    let mut text = Text(String::new());
    counters(&mut text, snapshot);
    hooks(&mut text, snapshot);
    policy(&mut text, snapshot);
    service.into_iter().for_each(|service| reloads(&mut text, service));
    text.family("build_info", "gauge", "The binary that wrote this.");
    text.sample("build_info", &[("version", VERSION), ("revision", revision)], 1);
    text.0.push_str("# EOF\n");
    text.0
}

/// The value of the label `dscp`: the codepoint's name, or its number where it has none.
#[must_use]
pub fn dscp_label(dscp: Dscp) -> String {
    dscp.to_string()
}

/// The labels and amounts of one counter at one hook.
type Series = Vec<(Vec<(&'static str, String)>, Counter)>;

/// What a counter has to say of a hook.
type Collect = fn(&Counts, &Hook, &Listed<'_>) -> Series;

/// The counters: name, what is counted, series.
const COUNTERS: [(&str, &str, Collect); 8] = [
    ("before", "As it came to the hook", before),
    ("after", "As it left the hook", after),
    ("remarked", "Changed from one DSCP to another", remarked),
    ("dropped", "Dropped by the policy's word", dropped),
    ("rule", "What a rule has matched, or decided if it decides", rules),
    ("protected", "Made by this host and kept from the policy", protected),
    ("uncounted", "Not IP, or malformed; not in before", uncounted),
    ("limited", "Of which a rule could not see all; a part of before", limited),
];

fn counters(text: &mut Text, snapshot: &Snapshot) {
    let hooks = snapshot.hooks.iter().filter_map(|hook| {
        let counts = hook.counts.as_ref().ok()?;
        Some((hook, counts, Listed::of(snapshot.policy.as_ref(), hook, counts)))
    });
    let hooks: Vec<_> = hooks.collect();
    for (name, help, collect) in COUNTERS {
        let series = hooks.iter().map(|(hook, counts, listed)| (*hook, collect(counts, hook, listed)));
        let series: Vec<(&Hook, Series)> = series.collect();
        text.counter(name, "packets", &format!("{help}: packets."), &series, |amount| amount.packets);
        text.counter(name, "bytes", &format!("{help}: bytes on the wire without FCS."), &series, |amount| amount.bytes);
    }
    let series: Vec<(&Hook, Series)> = snapshot.hooks.iter().map(|hook| (hook, meters(hook))).collect();
    text.counter("meter", "packets", "Metered by a rule, by color: packets.", &series, |amount| amount.packets);
    text.counter("meter", "ip_bytes", "Metered by a rule, by color: bytes of IP.", &series, |amount| amount.bytes);
}

fn meters(hook: &Hook) -> Series {
    let metered = hook.rules.iter().filter_map(|count| Some((&count.rule.name, count.colors?)));
    let series = metered.flat_map(|(rule, colors)| {
        let labels = COLORS.map(|color| vec![("rule", rule.clone()), ("color", color.to_owned())]);
        labels.into_iter().zip(colors)
    });
    series.collect()
}

fn before(_: &Counts, _: &Hook, listed: &Listed<'_>) -> Series {
    let labels = |family: usize, ds: DsField| {
        let (dscp, ecn) = (dscp_label(ds.dscp()), (ds.ecn() as u8).to_string());
        vec![("family", FAMILIES[family].to_owned()), ("dscp", dscp), ("ecn", ecn)]
    };
    listed.before().into_iter().map(|(family, ds, amount)| (labels(family, ds), amount)).collect()
}

fn after(_: &Counts, _: &Hook, listed: &Listed<'_>) -> Series {
    listed.after().map(|(dscp, amount)| (vec![("dscp", dscp_label(dscp))], amount)).collect()
}

fn remarked(_: &Counts, _: &Hook, listed: &Listed<'_>) -> Series {
    let labels = |from, to| vec![("from", dscp_label(from)), ("to", dscp_label(to))];
    listed.remarked().map(|(from, to, amount)| (labels(from, to), amount)).collect()
}

fn dropped(_: &Counts, _: &Hook, listed: &Listed<'_>) -> Series {
    listed.dropped().map(|(dscp, amount)| (vec![("dscp", dscp_label(dscp))], amount)).collect()
}

fn rules(_: &Counts, hook: &Hook, _: &Listed<'_>) -> Series {
    hook.rules.iter().map(|count| (vec![("rule", count.rule.name.clone())], count.counted)).collect()
}

fn protected(counts: &Counts, _: &Hook, _: &Listed<'_>) -> Series {
    vec![(Vec::new(), counts.sums.protected)]
}

fn uncounted(counts: &Counts, _: &Hook, _: &Listed<'_>) -> Series {
    reasons(["not_ip", "malformed"], counts.sums.uncounted)
}

fn limited(counts: &Counts, _: &Hook, _: &Listed<'_>) -> Series {
    reasons(["later_fragment", "header_chain_too_long"], counts.sums.limited)
}

fn reasons(reasons: [&str; 2], amounts: [Counter; 2]) -> Series {
    let rows = reasons.into_iter().zip(amounts);
    rows.map(|(reason, amount)| (vec![("reason", reason.to_owned())], amount)).collect()
}

fn hooks(text: &mut Text, snapshot: &Snapshot) {
    text.family(
        "hook_up",
        "gauge",
        "1 if the hook is attached and its counters can be read; 0 too if it is only wanted.",
    );
    for hook in &snapshot.hooks {
        let up = hook.counts.is_ok() && !matches!(hook.state, State::Missing | State::Error);
        text.sample("hook_up", &at(hook), up.into());
    }
    for missing in &snapshot.missing {
        let labels = [("device", missing.interface.as_str()), ("direction", missing.direction.as_str())];
        text.sample("hook_up", &labels, 0);
    }
    text.family("hook_info", "gauge", "By which mechanism a hook is attached, and its remark table.");
    for hook in snapshot.hooks.iter().filter(|hook| hook.is_known()) {
        let table = hook.table.as_ref().map_or("", |table| &table.name);
        let [device, direction] = at(hook);
        text.sample("hook_info", &[device, direction, ("hook", hook.via.as_str()), ("table", table)], 1);
    }
    text.family("policy_bypassed", "gauge", "1 if the hook's policy is out of the path.");
    for hook in &snapshot.hooks {
        text.sample("policy_bypassed", &at(hook), (hook.state == State::Bypassed).into());
    }
}

fn policy(text: &mut Text, snapshot: &Snapshot) {
    let name = "policy_confirm_deadline_timestamp_seconds";
    text.family(name, "gauge", "When the policy in force is taken back unless it is confirmed; 0: it stays.");
    text.sample(name, &[], seconds(snapshot.confirm_deadline));
    let in_force = snapshot.policy.as_ref();
    // Where none is in force and none is saved, nothing is amiss.
    if in_force.is_some() || snapshot.unapplied {
        text.family("policy_saved", "gauge", "1 if the saved policy is the one in force.");
        text.sample("policy_saved", &[], in_force.is_some_and(|policy| policy.saved).into());
    }
    let Some(PolicyLabel { name, hash, classes, .. }) = in_force else { return };
    text.family("policy_info", "gauge", "The policy in force.");
    text.sample("policy_info", &[("name", name), ("hash", hash)], 1);
    text.family("class_info", "gauge", "The codepoints of the policy's classes.");
    for (class, dscps) in classes {
        for dscp in dscps {
            text.sample("class_info", &[("class", class), ("dscp", &dscp_label(*dscp))], 1);
        }
    }
}

fn reloads(text: &mut Text, service: &Service) {
    text.family(
        "policy_last_reload_successful",
        "gauge",
        "1 if policy.toml and qosbpf.toml were right when last read.",
    );
    text.sample("policy_last_reload_successful", &[], service.last_reload_successful.into());
    let name = "policy_last_reload_success_timestamp_seconds";
    text.family(name, "gauge", "When policy.toml was last read without a mistake; 0: never.");
    text.sample(name, &[], seconds(service.last_success));
}

/// Seconds since 1970; 0 for no time.
fn seconds(time: Option<SystemTime>) -> u64 {
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

fn at(hook: &Hook) -> [(&'static str, &str); 2] {
    [("device", &hook.interface), ("direction", hook.direction.as_str())]
}

struct Text(String);

impl Text {
    fn counter(
        &mut self,
        name: &str,
        unit: &str,
        help: &str,
        series: &[(&Hook, Series)],
        value: impl Fn(Counter) -> u64,
    ) {
        let family = format!("{name}_{unit}");
        self.family(&family, "counter", help);
        for (hook, series) in series {
            for (labels, amount) in series {
                let own = labels.iter().map(|(label, value)| (*label, value.as_str()));
                let labels: Vec<_> = at(hook).into_iter().chain(own).collect();
                self.sample(&format!("{family}_total"), &labels, value(*amount));
            }
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# TYPE qosbpf_{name} {kind}\n# HELP qosbpf_{name} {help}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.write(format_args!("qosbpf_{name}{labels} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _infallible = self.0.write_fmt(text);
    }
}

/// The three characters that end or begin something within a label's value.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::render::sample;

    #[test]
    fn the_text_is_as_promised() {
        insta::assert_snapshot!(stats(&sample::snapshot(), "90f925d"));
    }

    #[test]
    fn every_series_is_there_once_and_belongs_to_the_family_above_it() {
        let (mut families, mut seen) = (HashSet::new(), HashSet::new());
        let mut family = String::new();
        for line in stats(&sample::long_names(), "x").lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, _) = rest.split_once(' ').unwrap();
                name.clone_into(&mut family);
                assert!(families.insert(name.to_owned()), "{name} twice");
            } else if !line.starts_with('#') {
                let (series, _) = line.rsplit_once(' ').unwrap();
                assert!(series.starts_with(&family), "{series} under {family}");
                // The two hooks of this sample have one name but two directions.
                assert!(seen.insert(series.to_owned()), "{series} twice");
            }
        }
    }

    #[test]
    fn labels_cannot_break_out() {
        let mut snapshot = sample::snapshot();
        snapshot.policy.as_mut().unwrap().name = "a\"b\\c\nd".to_owned();
        let text = stats(&snapshot, "x");
        assert!(text.contains(r#"qosbpf_policy_info{name="a\"b\\c\nd",hash="3f9a1c7d"} 1"#), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_hook_that_cannot_be_read_is_down_and_has_no_counters() {
        let mut snapshot = sample::snapshot();
        snapshot.hooks[1].counts = Err("gone".to_owned());
        let text = stats(&snapshot, "x");
        assert!(text.contains("qosbpf_hook_up{device=\"wan0\",direction=\"egress\"} 0\n"), "{text}");
        assert!(!text.contains("packets_total{device=\"wan0\""), "{text}");
    }

    #[test]
    fn a_hook_that_is_wanted_and_not_there_is_down() {
        let text = stats(&sample::with_missing(), "x");
        let ppp0: Vec<_> = text.lines().filter(|line| line.contains("ppp0")).collect();
        assert_eq!(ppp0, ["qosbpf_hook_up{device=\"ppp0\",direction=\"egress\"} 0"]);
    }

    #[test]
    fn a_saved_policy_that_is_not_in_force_is_told_from_none_at_all() {
        let none = Snapshot { policy: None, ..sample::with_missing() };
        let saved = |snapshot: &Snapshot| {
            let text = stats(snapshot, "x");
            text.lines().find(|line| line.starts_with("qosbpf_policy_saved ")).map(str::to_owned)
        };
        assert_eq!(saved(&none), None);
        assert_eq!(saved(&Snapshot { unapplied: true, ..none }).as_deref(), Some("qosbpf_policy_saved 0"));
    }

    #[test]
    fn the_labels_of_codepoints_are_those_of_the_docs() {
        let docs = include_str!("../../../docs/metrics.md");
        let rows = docs.lines().filter_map(|line| {
            let (dscp, label) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
            Some((dscp.parse().ok()?, label.trim_matches('`').to_owned()))
        });
        let documented: Vec<(u8, String)> = rows.collect();
        let named = Dscp::all().filter(|dscp| dscp.name().is_some());
        let in_code: Vec<(u8, String)> = named.map(|dscp| (dscp.value(), dscp_label(dscp))).collect();
        assert_eq!(documented, in_code);
        let unnamed = Dscp::all().filter(|dscp| dscp.name().is_none());
        assert!(unnamed.into_iter().all(|dscp| dscp_label(dscp) == dscp.value().to_string()));
    }

    fn of_service() -> String {
        let service = Service { last_reload_successful: false, last_success: Some(sample::since()) };
        let snapshot = Snapshot { confirm_deadline: Some(sample::now()), ..sample::snapshot() };
        super::service(&snapshot, &service, "x")
    }

    #[test]
    fn the_service_says_how_it_read_the_policy_and_what_waits() {
        let text = of_service();
        for line in [
            "qosbpf_policy_last_reload_successful 0",
            "qosbpf_policy_last_reload_success_timestamp_seconds 1795294803",
            "qosbpf_policy_confirm_deadline_timestamp_seconds 1795298400",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn every_family_is_in_the_docs() {
        let docs = include_str!("../../../docs/metrics.md");
        for line in of_service().lines() {
            let Some((series, _)) = line.split_once(['{', ' ']).filter(|_| line.starts_with("qosbpf_")) else {
                continue;
            };
            assert!(docs.contains(&format!("`{series}`")), "{series} is not in docs/metrics.md");
        }
    }
}
