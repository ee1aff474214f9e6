//! Policies come and go while packets pass: none is lost, and none has a mark that neither policy gives.

use std::{
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use qos_common::{ds::DsField, locate::Family};
use qosbpf::lab::{
    capture::Capture,
    namespace::Namespace,
    probe::{Probe, send},
    topology::WAN_HOST,
};

use crate::edge::{Edge, PATIENCE};

/// How often it is applied and taken back; `QOSBPF_ROUNDS=500` makes a thousand changes.
fn rounds() -> u32 {
    env::var("QOSBPF_ROUNDS").ok().and_then(|value| value.parse().ok()).unwrap_or(4)
}

/// Sends EF until it is told to stop; how many packets.
fn flow(lan: &Namespace, over: &AtomicBool) -> anyhow::Result<u32> {
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        let probe = Probe::new(&WAN_HOST, Family::V4, DsField::new(46 << 2), sent);
        let burst = Probe { count: 100, pace: Duration::from_micros(100), ..probe };
        send(lan, &[burst])?;
        sent += burst.count;
    }
    Ok(sent)
}

#[test]
fn nothing_is_lost_and_nothing_is_half() -> anyhow::Result<()> {
    let (edge, rounds, over) = (Edge::start()?, rounds(), AtomicBool::new(false));
    let capture = Capture::start(edge.router.lab().wan())?;
    let packets = thread::scope(|scope| {
        let flow = scope.spawn(|| flow(edge.router.lab().lan(), &over));
        let changed = (0..rounds).try_for_each(|_| {
            edge.ok(&format!("policy apply {} --confirm 1h", edge.mark))?;
            edge.ok("policy rollback").map(drop)
        });
        over.store(true, Ordering::Relaxed);
        let sent = flow.join().unwrap();
        changed.and(sent)
    })?;
    println!("{} changes, {packets} packets", 2 * rounds);
    let mut marks = BTreeMap::new();
    for arrival in capture.take(packets as usize, PATIENCE)? {
        *marks.entry(arrival.ds.dscp().value()).or_insert(0) += 1;
    }
    assert_eq!(marks.values().sum::<u32>(), packets, "{marks:?}");
    assert_eq!(marks.keys().copied().collect::<Vec<_>>(), [34, 46], "{marks:?}");
    edge.ok("detach --all")?;
    Ok(())
}
