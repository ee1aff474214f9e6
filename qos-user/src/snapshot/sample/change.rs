//! Changes of its policy: those of the past, and one that is compared.

use std::time::Duration;

use qos_common::ds::Dscp;

use super::{dscp, policy, since};
use crate::{
    snapshot::{
        PolicyLabel,
        diff::{EntryDiff, HookDiff, MarkDiff, Outcome, PolicyDiff, RuleChange, RuleDiff, Tests},
        rates::Rate,
    },
    status::PastPolicy,
};

pub fn history() -> Vec<PastPolicy> {
    let past = |number, name: &str, hash: &str, in_force| PastPolicy {
        number,
        when: since() + Duration::from_secs(number),
        by: "rt (ssh 192.0.2.7)".to_owned(),
        name: name.to_owned(),
        hash: hash.to_owned(),
        file: "/etc/qosbpf/policy.toml".to_owned(),
        in_force,
        taken_back: false,
    };
    let refused = PastPolicy { taken_back: true, ..past(13, "edge-new", "c0ffee01", false) };
    let (now, old) = (past(14, "edge-standard", "3f9a1c7d", true), past(11, "edge-old", "91be02aa", false));
    vec![now, refused, past(12, "edge-standard", "3f9a1c7d", false), old]
}

fn rule_diffs() -> Vec<RuleDiff> {
    let rule = |name: &str, change, words: [Option<&str>; 2], rate: Option<f64>| RuleDiff {
        name: name.to_owned(),
        change,
        line: words[1].map(|_| 40),
        old: words[0].map(str::to_owned),
        new: words[1].map(str::to_owned),
        rate: rate.map(|packets| Rate { packets, bits: packets * 8_000.0 }),
    };
    let meter = "dscp AF41: srtcm cir 8M cbs 64k ebs 0, green keep, yellow -> AF43, red";
    let meters = [format!("{meter} -> AF43"), format!("{meter} drop, log 1/s")];
    vec![
        rule("calls", RuleChange::Added, [None, Some("udp: -> EF")], None),
        rule("video", RuleChange::Changed, [Some(&meters[0]), Some(&meters[1])], Some(1_310.0)),
        rule("old phones", RuleChange::Removed, [Some("src 10.20.0.0/24: -> EF"), None], Some(0.0)),
    ]
}

pub fn diff() -> PolicyDiff {
    let hook = |name: &str, differs, entries| HookDiff {
        name: name.to_owned(),
        old_table: Some("to-isp".to_owned()),
        new_table: Some("to-isp".to_owned()),
        effect: if differs { "changed" } else { "same" },
        differs,
        live: differs,
        bypassed: false,
        needs_tc: None,
        local: None,
        inside: None,
        outer: None,
        from: Vec::new(),
        entries,
        rules: Vec::new(),
    };
    let mark = |from: &str, old: &str, new: &str, packets| MarkDiff {
        from: dscp(from),
        old: dscp(old),
        new: dscp(new),
        rate: Rate { packets, bits: packets * 8_000.0 },
    };
    let entry = |key: &str, line, old, new, marks| EntryDiff { key: key.to_owned(), line, old, new, marks };
    let entries = vec![
        entry("VA", Some(31), None, Some(Outcome::Mark(dscp("EF"))), vec![mark("VA", "VA", "EF", 0.0)]),
        entry(
            "other",
            Some(36),
            Some(Outcome::Keep),
            Some(Outcome::Mark(Dscp::DF)),
            vec![mark("AF31", "AF31", "DF", 1_298.0), mark("CS3", "CS3", "DF", 12.0), mark("CS4", "CS4", "DF", 0.0)],
        ),
        entry("bulk", None, Some(Outcome::Mark(Dscp::DF)), None, vec![mark("LE", "DF", "LE", 0.4)]),
    ];
    let next = PolicyLabel { hash: "91be02aa".to_owned(), file: "new.toml".to_owned(), saved: false, ..policy() };
    let changed = HookDiff { rules: rule_diffs(), ..hook("ppp0:egress", true, entries) };
    let hooks = vec![hook("lan0:ingress", false, Vec::new()), changed];
    let session = "your SSH session 192.0.2.7:51514 > 203.0.113.1:22: passes, mark CS2 -> DF at ppp0:egress";
    PolicyDiff {
        running: Some(policy()),
        next,
        hooks,
        prune: false,
        never_asked: Vec::new(),
        session: Some(session.to_owned()),
        tests: Tests::Run(Vec::new()),
    }
}
