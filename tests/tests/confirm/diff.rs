//! `policy diff`: what would change, and how many packets a second that is.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use qos_common::{ds::DsField, locate::Family};
use qosbpf::lab::{capture::Capture, probe, topology::WAN_HOST};
use qosbpf_tests::typed::shell;
use serde_json::Value;

use crate::edge::{Edge, KEEP, MARK};

#[test]
fn the_same_is_0_and_another_is_3() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy diff {}", edge.keep))?.says(&["no difference: the same marks leave at every hook"])?;
    let other = edge.ask(&format!("policy diff {}", edge.mark))?.expect(3)?;
    other.says(&["running policy keep", "lan0:ingress   table t   changed", "+ EF         AF41", "--confirm 60s"])?;
    assert_eq!(edge.in_force()?, "keep");
    edge.ask("policy diff /nowhere.toml")?.expect(2)?;
    Ok(())
}

/// `local` is about what leaves.
#[test]
fn another_local_makes_no_difference_at_ingress() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    let both = |local: &str| {
        let lan = format!("[interface.lan0]\ningress = \"t\"\negress = \"t\"\nlocal = \"{local}\"\n");
        edge.router.policy(local, &format!("{lan}[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n"))
    };
    edge.ok("attach lan0 --egress --hook tcx")?;
    let (now, next) = (both("keep")?, both("policy")?);
    edge.ok(&format!("policy apply {now}"))?;
    let differing = |document: &Value| {
        let hooks = document["hooks"].as_array().into_iter().flatten();
        let differing = hooks.filter(|hook| hook["result"] == "changed");
        differing.map(|hook| hook["hook"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let diff = edge.ask(&format!("policy diff {next} --json"))?.expect(3)?.json()?;
    assert_eq!(differing(&diff), ["lan0:egress"], "{diff:#}");
    let applied = edge.ok(&format!("policy apply {next} --json"))?.json()?;
    assert_eq!(differing(&applied), ["lan0:egress"], "{applied:#}");
    Ok(())
}

/// What is saved is said of what runs, and rules that no packet comes to are named.
#[test]
fn the_head_says_what_is_saved_and_what_is_shadowed() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    // Where it is too long, the line goes on in the next one.
    let head = |file: &str| {
        let screen = edge.ask(&format!("policy diff {file}"))?.stdout;
        anyhow::Ok(screen.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let told = head(&edge.mark)?;
    assert!(told.contains(" saved: no shadowed rules: none "), "{told}");
    edge.ok("policy save")?;
    let rule = |name: &str| format!("[[rule]]\nname = \"{name}\"\non = \"lan0:ingress\"\nset = \"DF\"\n");
    let shadowed = edge.router.policy("shadowed", &format!("{MARK}{}{}", rule("one"), rule("two")))?;
    let told = head(&shadowed)?;
    assert!(told.contains(" saved: yes shadowed rules: 1 ! rule \"two\" (line "), "{told}");
    let document = edge.ask(&format!("policy diff {shadowed} --json"))?.expect(3)?.json()?;
    let unasked = &document["never_asked"];
    assert!(unasked[0]["hook"] == "lan0:ingress" && unasked.as_array().map(Vec::len) == Some(1), "{document:#}");
    assert_eq!((&document["running"]["saved"], &document["policy"]["saved"]), (&true.into(), &false.into()));
    Ok(())
}

/// As `apply` would run them; where it would be refused, no command is given.
#[test]
fn its_tests_are_run() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let tested = |name: &str, expected: &str| {
        let test = |name, to| {
            format!(
                "[[test]]\nname = \"{name}\"\non = \"lan0:ingress\"\nexpect = \"{to}\"\n\
                 packet = \"udp 192.0.2.1:1 > 192.0.2.2:2 dscp EF\"\n"
            )
        };
        edge.router.policy(name, &format!("{MARK}{}{}", test("first", "AF41"), test("second", expected)))
    };
    let (right, wrong) = (tested("right", "AF41")?, tested("wrong", "CS1")?);
    let told = edge.ask(&format!("policy diff {right}"))?.expect(3)?;
    told.says(&["2 of 2 [[test]]s pass.\n", "apply: "])?;
    let unprivileged = edge.ask_without_capabilities(&format!("policy diff {right}"))?;
    unprivileged.says(&["its [[test]]s are not run: this process lacks"])?;
    let told = edge.ask(&format!("policy diff {wrong}"))?.expect(3)?;
    let told =
        told.says(&["! FAIL  second (", "expected    CS1", "got         AF41", "1 of 2 [[test]]s pass: policy apply"])?;
    assert!(!told.stdout.contains("apply: "), "{told:?}");
    let document = edge.ask(&format!("policy diff {wrong} --json"))?.expect(3)?.json()?;
    assert_eq!((&document["passed"], &document["failed"]), (&1.into(), &1.into()), "{document:#}");
    assert_eq!((&document["tests"][1]["test"], &document["tests"][1]["passes"]), (&"second".into(), &false.into()));
    // Whether it differs is another question.
    edge.ok(&format!("policy apply {} --json", edge.mark))?;
    edge.ask(&format!("policy diff {wrong}"))?.expect(0)?.says(&["! FAIL  second (", "no difference"])?;
    edge.ask(&format!("policy apply {wrong}"))?.expect(3)?.complains(&["test \"second\""])?;
    Ok(())
}

/// Marks at one of the two hooks.
const LAN: &str = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";

/// What the screen ends with can be typed in, and is not refused.
#[test]
fn the_command_that_applies_it_is_whole() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let lan = edge.router.policy("lan", LAN)?;
    let command = format!("{} policy apply {lan} --prune --confirm 60s", edge.typed());
    edge.ask(&format!("policy diff {lan}"))?.expect(3)?.says(&[&format!("apply: {command}")])?;
    shell(&command, None)?.expect(0)?;
    assert_eq!(edge.status()?["policy"]["name"], "lan");
    let shown = edge.ok("status")?;
    shown.says(&[&format!("{} policy confirm keeps it", edge.typed())])?;
    edge.ask(&format!("policy apply {}", edge.keep))?
        .expect(1)?
        .complains(&[&format!("{} policy confirm keeps it, {0} policy rollback", edge.typed())])?;
    edge.ok("policy history")?.says(&[&format!("{} policy rollback N", edge.typed())])?;
    edge.ok("policy rollback")?;
    Ok(())
}

/// XDP cannot do what the policy asks for: `apply` would be refused.
#[test]
fn what_needs_tc_at_an_xdp_hook_is_said() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok("detach lan0:ingress")?;
    edge.ok("attach lan0 --ingress --hook xdp-generic")?;
    let rule = "[[rule]]\nname = \"marked\"\non = \"lan0:ingress\"\nset = \"EF\"\nmark = \"1/1\"\n";
    let marked = edge.router.policy("marked", &format!("{KEEP}{rule}"))?;
    let told = edge.ask(&format!("policy diff {marked}"))?.expect(3)?;
    let told = told.says(&["! needs TC, and would be refused", "rule \"marked\" needs TC"])?;
    told.says(&[&format!("{} detach lan0:ingress &&", edge.typed())])?;
    let refused = edge.ask(&format!("policy apply {marked}"))?.expect(1)?.complains(&["needs TC"])?;
    assert_eq!(refused.stderr.matches("lan0:ingress is attached by").count(), 1, "{refused:?}");
    assert!(!refused.stderr.contains("lan0:ingress: lan0:ingress"), "{refused:?}");
    Ok(())
}

/// What `policy diff` says of `lan0:ingress` while EF comes to a port: at most 500 packets a second.
fn estimated(edge: &Edge, file: &str, port: u16) -> anyhow::Result<Value> {
    let _no_icmp_errors = Capture::start(edge.router.lab().wan())?;
    let probe = probe::Probe::new(&WAN_HOST, Family::V4, DsField::new(184), 1);
    let to = std::net::SocketAddr::new(probe.to.ip(), port);
    let probe = probe::Probe { to, pace: Duration::from_millis(2), ..probe };
    let (lan, over) = (edge.router.lab().lan(), AtomicBool::new(false));
    let document = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // Where nobody listens, an ICMP error is no reason to stop.
                let _refused = probe::send(lan, &[probe]);
            }
        });
        let answer = edge.ask(&format!("policy diff {file} --json"));
        over.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        answer?.expect(3)?.json()
    })?;
    assert_eq!(document["differs"], true);
    let hooks = document["hooks"].as_array().context("hooks")?;
    Ok(hooks.iter().find(|hook| hook["hook"] == "lan0:ingress").context("lan0:ingress")?.clone())
}

fn rate(entry: &Value) -> anyhow::Result<f64> {
    entry["packets_per_second"].as_f64().with_context(|| format!("{entry:#}"))
}

/// The command looks at one second, and what it says is a rate.
#[test]
fn the_estimate_is_what_comes_now() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let lan = estimated(&edge, &edge.mark, probe::PORT)?;
    let entry = &lan["entries"][0];
    assert_eq!((&entry["entry"], &entry["new"], &entry["marks"][0]["from"]), (&"EF".into(), &34.into(), &46.into()));
    // A sender that sleeps two milliseconds sends fewer than 500, and on a busy machine far fewer.
    let rate = rate(entry)?;
    assert!((5.0..=510.0).contains(&rate), "{rate}");
    Ok(())
}

/// A table decides on what no rule has decided on: only that would be changed by another table.
#[test]
fn what_a_rule_decides_is_no_part_of_the_estimate() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    let rule = format!(
        "[[rule]]\nname = \"probes\"\non = \"lan0:ingress\"\nmatch = {{ dst-port = {} }}\nset = \"keep\"\n",
        probe::PORT
    );
    edge.ok(&format!("policy apply {}", edge.router.policy("ruled", &format!("{KEEP}{rule}"))?))?;
    let next = edge.router.policy("next", &format!("{MARK}{rule}"))?;
    let ruled = estimated(&edge, &next, probe::PORT)?;
    assert_eq!(rate(&ruled["entries"][0])?, 0.0, "{ruled:#}");
    let beside = rate(&estimated(&edge, &next, probe::PORT + 1)?["entries"][0])?;
    assert!((5.0..=510.0).contains(&beside), "{beside}");
    Ok(())
}
