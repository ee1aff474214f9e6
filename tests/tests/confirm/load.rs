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
    probe::{Probe, send},
    topology::WAN_HOST,
};

use crate::edge::Edge;

/// `QOSBPF_PACKETS` sends more: 1,500,000 are enough for a thousand applies.
fn packets() -> u32 {
    env::var("QOSBPF_PACKETS").ok().and_then(|value| value.parse().ok()).unwrap_or(20_000)
}

#[test]
fn nothing_is_lost_and_nothing_is_half() -> anyhow::Result<()> {
    let (edge, packets) = (Edge::start()?, packets());
    let capture = Capture::start(edge.router.lab().wan())?;
    let probe = Probe::new(&WAN_HOST, Family::V4, DsField::new(46 << 2), 1);
    let probe = Probe { count: packets, pace: Duration::from_micros(100), ..probe };
    let over = AtomicBool::new(false);
    let rounds = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = send(edge.router.lab().lan(), &[probe]);
            over.store(true, Ordering::Relaxed);
            sent
        });
        let mut rounds = 0;
        while !over.load(Ordering::Relaxed) {
            edge.ok(&format!("policy apply {} --confirm 1h", edge.mark))?;
            edge.ok("policy rollback")?;
            rounds += 1;
        }
        sender.join().unwrap()?;
        anyhow::Ok(rounds)
    })?;
    assert!(rounds >= 2, "{rounds}: the packets were over too soon");
    println!("{} applies, {packets} packets", 2 * rounds);
    let mut marks = BTreeMap::new();
    for arrival in capture.take(packets as usize, Duration::from_secs(10))? {
        *marks.entry(arrival.ds.dscp().value()).or_insert(0) += 1;
    }
    assert_eq!(marks.values().sum::<u32>(), packets, "{marks:?}");
    assert_eq!(marks.keys().copied().collect::<Vec<_>>(), [34, 46], "{marks:?}");
    edge.ok("detach --all")?;
    Ok(())
}
