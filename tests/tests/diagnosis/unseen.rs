//! Packets that pass a device and not our hook: how much, and by which ways that may be.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    binary::Answer,
    lab::Injector,
    router::Router,
    typed::{find, type_in},
};
use serde_json::Value;

/// An EtherType that nobody looks into.
const FRAME: [u8; 64] = {
    let mut frame = [0; 64];
    (frame[0], frame[12], frame[13]) = (2, 0x88, 0xb5);
    frame
};

/// Until `done` a frame and as many as `past` that go past the qdisc, and so past our hook, and so on.
fn send(done: &AtomicBool, past: usize) -> anyhow::Result<()> {
    let (plain, passing) = (Injector::open("lan0")?, Injector::open("lan0")?.past_the_qdisc()?);
    while !done.load(Ordering::SeqCst) {
        plain.send(&FRAME)?;
        (0..past).try_for_each(|_| passing.send(&FRAME))?;
        // Of few a reader that is kept from the second counter misses none.
        thread::sleep(Duration::from_millis(if past > 0 { 5 } else { 50 }));
    }
    Ok(())
}

fn while_sending(router: &Router, past: usize, ask: impl FnOnce() -> anyhow::Result<Answer>) -> anyhow::Result<Answer> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| router.edge().run(|| send(&done, past)));
        // So many that the device's count says something.
        thread::sleep(Duration::from_millis(500));
        let answer = ask();
        done.store(true, Ordering::SeqCst);
        sender.join().map_err(|_panic| anyhow::anyhow!("the sender panicked"))??;
        answer
    })
}

/// The ways are named, and the command that shows who has such a socket works; `other` is the command that knows no more.
fn names_the_ways(found: &Value, other: &str) -> anyhow::Result<()> {
    let text = found["text"].as_str().context("text")?;
    let percent = text.split_once(" % of the packets").and_then(|(before, _)| before.rsplit_once(' '));
    let percent: f64 = percent.with_context(|| text.to_owned())?.1.parse()?;
    ensure!((60.0..90.0).contains(&percent) && found["level"] == "warn", "{found:#}");
    let ways = found["details"].to_string();
    for way in ["PACKET_QDISC_BYPASS", "AF_XDP", "offload", "in front of us"] {
        ensure!(ways.contains(way), "{way}: {found:#}");
    }
    ensure!(!found["look"].to_string().contains(other), "a circle: {found:#}");
    type_in(found, None)?.says(&["Netid"])?;
    Ok(())
}

#[test]
fn frames_past_the_qdisc_are_missed_and_the_ways_are_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --egress")?;
    let doctor = while_sending(&router, 3, || router.ask("doctor lan0 --sample 1 --json"))?.expect(3)?;
    names_the_ways(&find(&doctor, "lan0", "unseen")?, "qosbpf why")?;
    let why = router.ask("why lan0:egress --sample 0 --json")?.expect(3)?;
    names_the_ways(&find(&why, "lan0:egress", "unseen")?, "qosbpf doctor")
}

#[test]
fn what_passes_us_by_no_more_is_no_fault_of_now() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --egress")?;
    while_sending(&router, 3, || router.ask("why lan0:egress --sample 0 --json"))?.expect(3)?;
    let answer = while_sending(&router, 0, || router.ask("why lan0:egress --sample 3 --json"))?.expect(0)?;
    let earlier = find(&answer, "lan0:egress", "share-earlier")?;
    let text = earlier["text"].as_str().context("text")?;
    ensure!(text.starts_with("the device agrees: while we looked we saw "), "{earlier:#}");
    ensure!(text.contains(" % of the packets, but ") && text.ends_with(": not so now"), "{earlier:#}");
    Ok(())
}
