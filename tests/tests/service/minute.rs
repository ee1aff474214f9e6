//! A whole minute of known traffic: the rates are those that were sent, and what the service holds stays as large as it is.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use qos_vectors::frame::{self, Ipv4, ether_type, protocol::UDP};
use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    lab::Injector,
    service::{Lab, MARK, eventually},
    udp,
};
use serde_json::Value;

use super::{many, rates::row};

/// Calls from the LAN, a second, and their bytes with the headers of Ethernet, IPv4 and UDP.
const CALLS: u32 = 20;
const BYTES: f64 = (14 + 20 + 8 + 100) as f64;

/// Before them, so that a mean of more than a minute is another one.
const BURST: usize = 4000;

/// Pairs of devices with a hook at both ends, and how often a packet of each DS byte leaves by every end.
const PAIRS: usize = 16;
const HOOKS: usize = 2 * PAIRS;
const EACH: Duration = Duration::from_secs(2);

/// When the minute is full, a sample a second; and when it has been so for long enough to see what more samples take.
const FULL: Duration = Duration::from_secs(63);
const END: Duration = Duration::from_secs(78);

/// Each hook has that many cells, and each of them this many bytes in a sample.
const CELLS: usize = 256 + 63;
const CELL: usize = 32;

const WASH: &str = "[interface.\"many*\"]\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n";

/// A service with all of the devices, that samples each second.
fn serving() -> anyhow::Result<Lab> {
    let mut lab = Lab::start()?;
    lab.save("edge", &format!("{MARK}{WASH}"))?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    lab.serve_frugally()?;
    many::add_pairs(&lab, PAIRS)?;
    many::end(&lab, HOOKS)?;
    Ok(lab)
}

fn document(lab: &Lab, hook: &str) -> anyhow::Result<Value> {
    lab.ok(&format!("stats --json {hook}"))?.json()
}

/// Does something again and again at moments that do not shift, however long it takes.
fn every(
    period: Duration,
    goes_on: impl Fn() -> bool,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut next = Instant::now();
    while goes_on() {
        work()?;
        next += period;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Calls at their steady rate, until it is over.
fn call(lab: &Lab, over: &AtomicBool) -> anyhow::Result<()> {
    let (from, to) = ((LAN_HOST.v4, 0).into(), (WAN_HOST.v4, 7302).into());
    let more = || !over.load(Ordering::Relaxed);
    every(Duration::from_secs(1) / CALLS, more, || udp::send(lab.router.lab().lan(), from, to, 184, 1))
}

/// A frame of each DS byte.
fn frames() -> Vec<Vec<u8>> {
    let packet = |ds| Ipv4 { ds, protocol: UDP, ..Ipv4::default() }.packet(&[0; 8]);
    (0..=255).map(|ds| frame::ethernet(&[], ether_type::IPV4, &packet(ds))).collect()
}

/// Every codepoint with every ECN field leaves by all of the devices; what the service holds, in kilobytes, when the minute
/// is full, and at the end.
fn all_codepoints(lab: &Lab) -> anyhow::Result<[usize; 2]> {
    let names = (0..PAIRS).flat_map(|pair| [format!("many{pair}"), format!("manyb{pair}")]);
    let injectors =
        lab.router.edge().run(|| names.map(|name| Injector::open(&name)).collect::<anyhow::Result<Vec<_>>>())?;
    let (frames, start) = (frames(), Instant::now());
    let send = || {
        let pairs = injectors.iter().flat_map(|injector| frames.iter().map(move |frame| (injector, frame)));
        pairs.into_iter().try_for_each(|(injector, frame)| Ok(injector.send(frame)?))
    };
    every(EACH, || start.elapsed() < FULL, send)?;
    let full = lab.resident()?;
    every(EACH, || start.elapsed() < END, send)?;
    Ok([full, lab.resident()?])
}

#[test]
fn a_full_minute_has_the_rates_that_were_sent_in_memory_that_stays() -> anyhow::Result<()> {
    let lab = serving()?;
    eventually(|| {
        Ok(row(&document(&lab, "lan0:ingress")?, "after", "dscp", 34).is_some_and(|row| row["rates"].is_object()))
    })?;
    let (from, to) = ((LAN_HOST.v4, 0).into(), (WAN_HOST.v4, 7302).into());
    udp::send(lab.router.lab().lan(), from, to, 184, BURST)?;
    let over = AtomicBool::new(false);
    let (held, read) = thread::scope(|scope| {
        let calls = scope.spawn(|| call(&lab, &over));
        let held = all_codepoints(&lab);
        let read = ["lan0:ingress", "many0:egress"].map(|hook| document(&lab, hook));
        over.store(true, Ordering::Relaxed);
        calls.join().ok().context("the calls")??;
        anyhow::Ok((held?, read))
    })?;
    let [calls, all] = read;
    is_steady(&calls?)?;
    all_have_moved(&all?)?;
    stays(held)
}

/// Twenty calls a second, within three of a hundred: on a busy machine counters are read a moment after the clock.
fn is_steady(document: &Value) -> anyhow::Result<()> {
    let sent = f64::from(CALLS);
    for (array, key, value) in [("before", "ds", 184), ("after", "dscp", 34), ("remarked", "from", 46)] {
        let row = row(document, array, key, value).with_context(|| format!("{array}: {document:#}"))?;
        let rate = |window: &str, unit: &str| row["rates"][window][unit].as_f64().with_context(|| row.to_string());
        let (packets, bits) = (rate("1m", "packets")?, rate("1m", "bits")?);
        println!("{array}: {packets} packets/s, {bits} bit/s, over five minutes {}", rate("5m", "packets")?);
        ensure!((packets - sent).abs() < sent * 0.03, "{CALLS} a second: {row}");
        ensure!((bits - packets * BYTES * 8.0).abs() < 1.0, "{BYTES} bytes each: {row}");
        ensure!(rate("5m", "packets")? > sent * 1.2, "that has the burst before them: {row}");
    }
    Ok(())
}

/// Each DS byte, once in [`EACH`].
fn all_have_moved(document: &Value) -> anyhow::Result<()> {
    for ds in 0..=255 {
        let row = row(document, "before", "ds", ds).with_context(|| format!("{ds}: {document:#}"))?;
        let packets = row["rates"]["1m"]["packets"].as_f64().with_context(|| row.to_string())?;
        let sent = EACH.as_secs_f64().recip();
        ensure!((packets - sent).abs() < sent * 0.1, "{sent} a second: {row}");
    }
    Ok(())
}

/// One sample in fifteen seconds is kept beyond the minute: less than a third of what all of them would take.
fn stays([full, end]: [usize; 2]) -> anyhow::Result<()> {
    let sample = HOOKS * CELLS * CELL / 1024;
    let samples = (END - FULL).as_secs() as usize;
    println!("{full} kB when the minute was full, {end} kB {samples} s later; a sample has {sample} kB");
    ensure!(end < full + samples * sample / 3, "{full} kB became {end} kB in {samples} s");
    // With what it has without any.
    ensure!(full < 60 * sample * 2 + 48 * 1024, "{full} kB for 60 samples of {sample} kB");
    Ok(())
}
