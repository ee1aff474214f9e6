//! What tests read and render: a router with a LAN and a WAN.

mod change;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use qos_common::{abi::Counter, ds::Dscp};

pub use self::change::{diff, history};
use crate::{
    hook::{Direction, Layer, Via},
    rules::model::{Action, Rule},
    snapshot::{
        Counts, Device, EntryLabel, Hook, HookPolicy, Missing, PolicyLabel, Qdisc, RuleCount, Snapshot, State,
        TableLabel,
        asked::Asked,
        keeper::{Instant, Keeper},
        tabled::Began,
    },
    status::{Applied, BypassStatus, Confirm, HookStatus, Note, Reload, ServiceStatus, StatusReport},
};

pub fn dscp(word: &str) -> Dscp {
    word.parse().unwrap()
}

/// 2026-11-21T22:00:00.123456789Z.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_795_298_400, 123_456_789)
}

pub fn since() -> SystemTime {
    now() - Duration::from_secs(3_597)
}

pub fn policy() -> PolicyLabel {
    let class = |name: &str, words: &[&str]| (name.to_owned(), words.iter().map(|word| dscp(word)).collect());
    PolicyLabel {
        name: "edge-standard".to_owned(),
        hash: "3f9a1c7d".to_owned(),
        saved: true,
        file: "/etc/qosbpf/policy.toml".to_owned(),
        classes: vec![
            class("voice", &["EF", "VA"]),
            class("video", &["AF41", "AF42", "AF43"]),
            class("control", &["CS6", "CS7"]),
            class("bulk", &["LE", "CS1"]),
        ],
    }
}

/// One that counts.
pub fn rule(name: &str, counted: Counter) -> RuleCount {
    let rule = Rule {
        name: name.to_owned(),
        line: 1,
        on: Vec::new(),
        conditions: Vec::new(),
        action: Action::None,
        count: true,
        log: None,
        priority: None,
        mark: None,
    };
    RuleCount { rule, counted, since: None, last: None, suppressed: 0, colors: None }
}

fn hook_policy() -> HookPolicy {
    let PolicyLabel { name, hash, file, .. } = policy();
    HookPolicy { name, hash, file }
}

/// `EF = "DF"`, `video = "AF42"`, `control = "DF"`, `bulk = "DF"`, `VA = "keep"`, `other = "keep"`.
pub fn table() -> TableLabel {
    let entry = |from: Dscp| {
        let (key, to, line) = match from.name() {
            Some("EF") => ("EF", Dscp::DF, 32),
            Some("AF41" | "AF42" | "AF43") => ("video", dscp("AF42"), 33),
            Some("CS6" | "CS7") => ("control", Dscp::DF, 34),
            Some("LE" | "CS1") => ("bulk", Dscp::DF, 35),
            Some("VA") => ("VA", from, 31),
            _ => ("other", from, 36),
        };
        EntryLabel { key: key.to_owned(), to, line }
    };
    TableLabel { name: "to-isp".to_owned(), entries: Dscp::all().map(entry).collect() }
}

fn amount(packets: u64, bytes: u64) -> Counter {
    Counter { packets, bytes: packets * bytes }
}

fn wan_counts() -> Counts {
    let mut counts = Counts::zero();
    let before = &mut counts.sums.kept;
    before[0][184] = amount(184_000 - 13_220, 100);
    before[1][186] = amount(520, 120);
    before[0][136] = amount(92_113 - 12_112, 1_200);
    before[0][192] = amount(1_204, 90);
    before[0][0] = amount(9_000_000, 900);
    before[1][0] = amount(120_331, 1_100);
    before[0][216] = amount(17, 110);
    counts.sums.changed[0][184] = amount(13_220, 100);
    counts.remarked[46][0] = amount(13_220, 100);
    counts.sums.changed[0][136] = amount(12_112, 1_200);
    counts.remarked[34][36] = amount(12_112, 1_200);
    counts.sums.protected = amount(1_204, 90);
    counts.sums.uncounted = [amount(312, 60), amount(0, 0)];
    counts.sums.limited = [amount(41, 1_500), amount(0, 0)];
    counts
}

fn lan_counts() -> Counts {
    let mut counts = Counts::zero();
    counts.sums.kept[0][184] = amount(1_204, 100);
    counts.sums.kept[0][0] = amount(311_000, 80);
    counts.sums.kept[1][8] = amount(5, 80);
    counts
}

fn hook(interface: &str, ifindex: u32, direction: Direction, counts: Counts) -> Hook {
    Hook {
        interface: interface.to_owned(),
        ifindex,
        direction,
        via: Via::Tcx,
        state: State::Counting,
        since: since(),
        cleared: false,
        began: Some(Began { at: since(), protected: 0 }),
        asked: Some(Asked::first(since())),
        table: None,
        outer: None,
        policy: None,
        local: None,
        rules: Vec::new(),
        resting: Vec::new(),
        program_id: 70,
        counts: Ok(counts),
        device: None,
        qdisc: None,
        trend: None,
    }
}

pub fn snapshot() -> Snapshot {
    let lan = hook("lan0", 3, Direction::Ingress, lan_counts());
    let mut wan = hook("wan0", 4, Direction::Egress, wan_counts());
    wan.state = State::Active;
    wan.table = Some(table());
    wan.policy = Some(hook_policy());
    wan.local = Some("keep-control");
    wan.device = Some(Device { packets: 9_398_414, bytes: 8_500_000_000, drops: 0 });
    wan.qdisc = Some(Qdisc { kind: "htb".to_owned(), drops: 83 });
    Snapshot {
        time: now(),
        host: "edge1".to_owned(),
        netns: None,
        policy: Some(policy()),
        hooks: vec![lan, wan],
        missing: Vec::new(),
        unapplied: false,
        confirm_deadline: None,
    }
}

/// A second later: what the rates of the screens come from.
pub fn later() -> Snapshot {
    let mut later = snapshot();
    let counts = later.hooks[1].counts.as_mut().unwrap();
    counts.sums.kept[0][184].add(amount(50, 100));
    counts.sums.kept[0][136].add(amount(712 - 88, 1_200));
    counts.sums.changed[0][136].add(amount(88, 1_200));
    counts.remarked[34][36].add(amount(88, 1_200));
    counts.sums.kept[0][0].add(amount(7_320, 900));
    later.hooks[1].device = Some(Device { packets: 9_398_414 + 50 + 712 + 7_320, bytes: 8_508_000_000, drops: 0 });
    later
}

/// Twenty seconds after the service began to look: EF came at five packets a second.
pub fn with_trend() -> Snapshot {
    let mut keeper = Keeper::default();
    let at =
        |seconds| Instant { steady: Duration::from_secs(seconds), wall: now() - Duration::from_secs(20 - seconds) };
    let after = |seconds: u64| {
        let mut snapshot = snapshot();
        if let Ok(counts) = &mut snapshot.hooks[1].counts {
            counts.sums.kept[0][184].add(amount(5 * seconds, 100));
        }
        snapshot
    };
    (0..=15).step_by(5).for_each(|seconds| keeper.take(&after(seconds).hooks[1..], at(seconds)));
    let mut last = after(20);
    last.hooks[1].trend = keeper.trends(at(20).steady).pop().map(Arc::new);
    last
}

/// The same with names as long as they may be.
pub fn long_names() -> Snapshot {
    let mut snapshot = later();
    snapshot.policy.as_mut().unwrap().name = "p".repeat(64);
    snapshot.policy.as_mut().unwrap().classes[0].0 =
        "voice-of-the-house-and-all-its-neighbours-on-both-sides-of-them".to_owned();
    for hook in &mut snapshot.hooks {
        hook.interface = "enp101s0f1np1.8".to_owned();
        hook.since -= Duration::from_secs(86_400);
        let mut table = table();
        table.name = "t".repeat(64);
        table.entries.iter_mut().for_each(|entry| entry.key = format!("{:k<64}", entry.key));
        hook.table = Some(table);
        if let Ok(counts) = &mut hook.counts {
            counts.sums.kept[1][184] = amount(1 << 44, 1_500);
            counts.remarked[46] = [amount(1_234_567, 100); 64];
        }
    }
    snapshot
}

pub fn status() -> StatusReport {
    let hook = |interface: &str, direction, state, via: Option<Via>| HookStatus {
        interface: interface.to_owned(),
        ifindex: via.map(|_| 4),
        direction,
        via,
        state,
        program_id: via.map(|_| 71),
        link_id: via.map(|_| 12),
        inside: Vec::new(),
        table: None,
        rules: 0,
        policy_hash: None,
        unmet: false,
        since: via.map(|_| since()),
        last_packet: via.map(|_| Duration::from_secs(7)),
        reason: None,
        bypass: None,
        datapath_version: via.map(|_| "0.1.0".to_owned()),
        notes: Vec::new(),
    };
    let mut lan = hook("lan0", Direction::Ingress, State::Counting, Some(Via::Tcx));
    lan.reason = Some("tcx, not XDP: the driver of lan0 has no native XDP".to_owned());
    lan.last_packet = None;
    let mut wan = hook("wan0", Direction::Egress, State::Active, Some(Via::Tcx));
    wan.table = Some("to-isp".to_owned());
    wan.inside = Layer::ALL.to_vec();
    wan.notes.push(Note::info("looks inside pppoe, mpls"));
    wan.policy_hash = Some("3f9a1c7d".to_owned());
    let mut bypassed = hook("ppp0", Direction::Egress, State::Bypassed, Some(Via::Clsact));
    bypassed.table = Some("to-isp".to_owned());
    bypassed.notes.push(Note::warning("bypassed since 21:20:11: qosbpf policy resume ppp0:egress"));
    let left = Some(Duration::from_secs(362));
    bypassed.bypass = Some(BypassStatus { since: since(), by: "rt (ssh 192.0.2.7)".to_owned(), left });
    let mut missing = hook("ppp1", Direction::Egress, State::Missing, None);
    missing.table = Some("to-isp".to_owned());
    missing.reason = Some("bound by \"ppp*\", not attached: qosbpf attach ppp1 --egress".to_owned());
    let mut broken = hook("wan1", Direction::Ingress, State::Error, Some(Via::XdpNative));
    broken.reason = Some("the link is there, its program's maps are not".to_owned());
    StatusReport {
        time: now(),
        host: "edge1".to_owned(),
        netns: None,
        policy: Some(policy()),
        unapplied: false,
        falls_back: false,
        applied: Some(Applied { when: since(), by: "rt".to_owned(), file: policy().file }),
        taken_back: None,
        hooks: vec![lan, wan, bypassed, missing, broken],
        confirm: Some(Confirm {
            name: "edge-standard".to_owned(),
            hash: "3f9a1c7d".to_owned(),
            since: since(),
            by: "rt (ssh 192.0.2.7)".to_owned(),
            left: Duration::from_millis(42_000),
            save: true,
            back: Some(("edge-old".to_owned(), "91be02aa".to_owned())),
        }),
        service: None,
        notes: vec![Note::info("the saved policy binds ppp2:egress, where nothing is attached")],
    }
}

/// The same while the service runs, and has read a broken policy.
pub fn status_of_service() -> StatusReport {
    let service = ServiceStatus {
        pid: 1_234,
        since: now() - Duration::from_secs(3 * 86_400 + 4 * 3_600),
        version: "0.1.0".to_owned(),
        metrics: vec!["127.0.0.1:9776".parse().unwrap()],
        reload: Reload::failed(since(), "/etc/qosbpf/policy.toml:3:1: unknown key `remarks`".to_owned()),
        success: Some(since() - Duration::from_secs(600)),
        settings_failure: None,
        events_today: 12,
        released: vec![(7, Direction::Egress)],
        lost: Vec::new(),
    };
    StatusReport { service: Some(service), ..status() }
}

/// The same with a hook that the policy binds and where nothing is attached.
pub fn with_missing() -> Snapshot {
    let missing = Missing {
        interface: "ppp0".to_owned(),
        ifindex: None,
        direction: Direction::Egress,
        table: Some("to-isp".to_owned()),
        reason: "bound by the policy, and there is no such interface".to_owned(),
    };
    Snapshot { missing: vec![missing], ..snapshot() }
}
