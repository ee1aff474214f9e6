//! Each way to attach, on the kernel that is here: it remarks, and a policy is switched while packets flow. Then what
//! `auto` takes.
//!
//! One line of standard error says how each went: the matrix of kernels prints them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use qos_common::{ds::DsField, locate::Family};
use qosbpf::lab::{
    capture::Capture,
    probe::{Probe, send},
    topology::WAN_HOST,
};
use qosbpf_tests::{features::Feature, router::Router};

const EF: u8 = 0xb8;
const AF41: u8 = 34;
const AF31: u8 = 26;

/// How often a policy is switched.
const SWITCHES: usize = 6;

/// Where marks are changed on the way from the LAN to the WAN.
#[derive(Clone, Copy)]
enum Side {
    Ingress,
    Egress,
}

impl Side {
    const fn hook(self) -> [&'static str; 2] {
        match self {
            Self::Ingress => ["lan0", "ingress"],
            Self::Egress => ["wan0", "egress"],
        }
    }

    fn policy(self, ef: &str) -> String {
        let [interface, direction] = self.hook();
        format!("[interface.{interface}]\n{direction} = \"t\"\n[remark.t]\nEF = \"{ef}\"\nother = \"keep\"\n")
    }
}

/// Attaches by one mechanism and changes EF to AF41 and AF31 in turn, while EF is sent: each probe arrives, with the one
/// mark or the other, and is counted so.
fn remarks(mechanism: &str, side: Side) -> anyhow::Result<()> {
    let router = Router::start()?;
    let [interface, direction] = side.hook();
    router.ok(&format!("attach {interface} --{direction} --hook {mechanism}"))?;
    let policies = [router.policy("a", &side.policy("AF31"))?, router.policy("b", &side.policy("AF41"))?];
    router.ok(&format!("policy apply {}", policies[1]))?;
    let capture = Capture::start(router.lab().wan())?;
    let sent = switch_under_traffic(&router, &policies)?;
    let mut marks = BTreeMap::new();
    for arrival in capture.take(sent as usize, Duration::from_secs(60))? {
        assert_eq!(arrival.header_checksum, Some(true), "{arrival:?}");
        *marks.entry(arrival.ds.dscp().value()).or_insert(0_u64) += 1;
    }
    assert_eq!(marks.keys().copied().collect::<Vec<u8>>(), [AF31, AF41], "{marks:?}");
    assert_eq!(marks.values().sum::<u64>(), u64::from(sent), "lost, or sent twice: {marks:?}");
    let counted = router.counted(&format!("{interface}:{direction}"))?;
    assert_eq!(counted.packets(), [(EF, u64::from(sent))].into());
    assert_eq!(counted.packets_after(), marks);
    eprintln!("mechanism: {mechanism} {direction}: remarked {sent} of {sent}, {SWITCHES} switches under traffic");
    Ok(())
}

fn switch_under_traffic(router: &Router, policies: &[String; 2]) -> anyhow::Result<u32> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flow = scope.spawn(|| flow(router, &stop));
        let applied: anyhow::Result<()> =
            (0..SWITCHES).try_for_each(|number| router.ok(&format!("policy apply {}", policies[number % 2])).map(drop));
        stop.store(true, Ordering::Relaxed);
        let sent = flow.join().unwrap();
        applied.and(sent)
    })
}

/// Probes until it is told to stop; how many.
fn flow(router: &Router, stop: &AtomicBool) -> anyhow::Result<u32> {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let probe = Probe::new(&WAN_HOST, Family::V4, DsField::new(EF), sent);
        let burst = Probe { count: 5, pace: Duration::from_millis(5), ..probe };
        send(router.lab().lan(), &[burst])?;
        sent += burst.count;
    }
    Ok(sent)
}

#[test]
fn native_xdp() -> anyhow::Result<()> {
    remarks("xdp", Side::Ingress)
}

#[test]
fn generic_xdp() -> anyhow::Result<()> {
    remarks("xdp-generic", Side::Ingress)
}

#[test]
fn clsact_ingress() -> anyhow::Result<()> {
    remarks("clsact", Side::Ingress)
}

#[test]
fn clsact_egress() -> anyhow::Result<()> {
    remarks("clsact", Side::Egress)
}

#[test]
fn tcx_ingress() -> anyhow::Result<()> {
    tcx(Side::Ingress)
}

#[test]
fn tcx_egress() -> anyhow::Result<()> {
    tcx(Side::Egress)
}

/// Where there is none, that is what is said, and nothing is left behind.
fn tcx(side: Side) -> anyhow::Result<()> {
    let [interface, direction] = side.hook();
    if !Feature::Tcx.leaves_out(&format!("TCX {direction}"))? {
        return remarks("tcx", side);
    }
    let router = Router::start()?;
    router.ask(&format!("attach {interface} --{direction} --hook tcx"))?.expect(1)?.complains(&["TCX", "6.6"])?;
    router.ok("status")?.says(&["nothing is attached"])?;
    Ok(())
}

/// The best that the kernel has; what it has not is the reason, in words that do not need the kernel's source.
#[test]
fn auto_takes_the_best_and_says_why() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    router.ok("attach wan0 --egress")?;
    let status = router.ok("status --json")?.json()?;
    let hooks = status["hooks"].as_array().context("hooks")?;
    let via = |place: &str| -> anyhow::Result<(String, String)> {
        let hook =
            hooks.iter().find(|hook| format!("{}:{}", hook["interface"], hook["direction"]).replace('"', "") == place);
        let hook = hook.with_context(|| format!("{place} in {status:#}"))?;
        let word = |key: &str| hook[key].as_str().map(str::to_owned).with_context(|| format!("{key} in {hook:#}"));
        Ok((word("hook")?, word("reason")?))
    };
    let (ingress, egress) = (via("lan0:ingress")?, via("wan0:egress")?);
    eprintln!("auto: ingress: {}", ingress.1);
    eprintln!("auto: egress: {}", egress.1);
    assert_eq!(ingress.0, "xdp-native", "{ingress:?}");
    let tcx = Feature::Tcx.is_here()?;
    assert_eq!(egress.0, if tcx { "tcx" } else { "clsact" }, "{egress:?}");
    assert!(tcx || egress.1.contains("TCX"), "{egress:?}");
    Ok(())
}
