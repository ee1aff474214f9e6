//! `policy diff`: what would change, and how many packets a second that is.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use qos_common::{ds::DsField, locate::Family};
use qosbpf::lab::{capture::Capture, probe, topology::WAN_HOST};

use crate::edge::Edge;

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

/// At most 500 packets a second, of which the command looks at one: what it says is a rate.
#[test]
fn the_estimate_is_what_comes_now() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let _no_icmp_errors = Capture::start(edge.router.lab().wan())?;
    let probe = probe::Probe::new(&WAN_HOST, Family::V4, DsField::new(184), 1);
    let probe = probe::Probe { pace: Duration::from_millis(2), ..probe };
    let (lan, over) = (edge.router.lab().lan(), AtomicBool::new(false));
    let document = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                probe::send(lan, &[probe])?;
            }
            anyhow::Ok(())
        });
        let answer = edge.ask(&format!("policy diff {} --json", edge.mark));
        over.store(true, Ordering::Relaxed);
        sender.join().unwrap()?;
        answer?.expect(3)?.json()
    })?;
    assert_eq!(document["differs"], true);
    let hooks = document["hooks"].as_array().context("hooks")?;
    let lan = hooks.iter().find(|hook| hook["hook"] == "lan0:ingress").context("lan0:ingress")?;
    let entry = &lan["entries"][0];
    assert_eq!((&entry["entry"], &entry["new"], &entry["marks"][0]["from"]), (&"EF".into(), &34.into(), &46.into()));
    let rate = entry["packets_per_second"].as_f64().context("packets_per_second")?;
    // A sender that sleeps two milliseconds sends fewer than 500, and on a busy machine far fewer.
    assert!((5.0..=510.0).contains(&rate), "{rate}");
    Ok(())
}
