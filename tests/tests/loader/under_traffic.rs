//! A policy is switched while packets flow: none is lost, each has the mark of the one policy or the other.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use qos_common::{ds::DsField, locate::Family};
use qosbpf::lab::{
    capture::Capture,
    probe::{Probe, send},
    topology::WAN_HOST,
};
use qosbpf_tests::router::Router;

const EF: u8 = 0xb8;
const FIRST: &str = "[interface.wan0]\negress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"CS1\"\n";
const SECOND: &str = "[interface.wan0]\negress = \"t\"\n[remark.t]\nEF = \"AF31\"\nother = \"CS1\"\n";

/// Probes until it is told to stop; how many.
fn flow(router: &Router, stop: &AtomicBool) -> anyhow::Result<u32> {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let probe = Probe::new(&WAN_HOST, Family::V4, DsField::new(EF), sent);
        let burst = Probe { count: 20, pace: Duration::from_micros(200), ..probe };
        send(router.lab().lan(), &[burst])?;
        sent += burst.count;
    }
    Ok(sent)
}

fn switched(hook: &str, times: usize) -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
    let policies = [router.policy("first", FIRST)?, router.policy("second", SECOND)?];
    router.ok(&format!("policy apply {}", policies[1]))?;
    let capture = Capture::start(router.lab().wan())?;
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let flow = scope.spawn(|| flow(&router, &stop));
        let applied: anyhow::Result<()> =
            (0..times).try_for_each(|number| router.ok(&format!("policy apply {}", policies[number % 2])).map(drop));
        stop.store(true, Ordering::Relaxed);
        let sent = flow.join().unwrap();
        applied.and(sent)
    })?;
    let arrived = capture.take(sent as usize, Duration::from_secs(30))?;
    let mut marks = BTreeMap::new();
    for arrival in &arrived {
        assert_eq!(arrival.header_checksum, Some(true), "{arrival:?}");
        *marks.entry(arrival.ds.dscp().value()).or_insert(0) += 1;
    }
    assert_eq!(arrived.len(), sent as usize, "lost, or sent twice: {marks:?}");
    assert!(sent > 20 * u32::try_from(times)? / 10, "hardly any traffic: {sent}");
    assert_eq!(marks.keys().copied().collect::<Vec<u8>>(), [26, 34], "{marks:?}");
    let counted = router.counted("wan0:egress")?;
    assert_eq!(counted.packets(), [(EF, u64::from(sent))].into());
    assert_eq!(counted.packets_after(), marks);
    Ok(())
}

#[test]
fn a_hundred_and_fifty_times_by_tcx() -> anyhow::Result<()> {
    switched("tcx", 150)
}

#[test]
fn fifty_times_by_clsact() -> anyhow::Result<()> {
    switched("clsact", 50)
}
