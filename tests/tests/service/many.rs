//! Many interfaces to attach at once, and somebody who wants to change something meanwhile.

use std::{fmt::Write as _, fs, time::Instant};

use anyhow::Context as _;
use nix::sys::signal::Signal;
use qosbpf_tests::{
    router::run_in,
    service::{Lab, MARK, eventually},
};

/// Pairs of devices; both ends are bound, in both directions.
const PAIRS: usize = 24;
const HOOKS: usize = 4 * PAIRS;

const BOUND: &str =
    "[interface.wan0]\negress = \"mark\"\n[interface.\"many*\"]\ningress = \"mark\"\negress = \"mark\"\n";

/// A service that has just begun to attach all of them.
fn attaching() -> anyhow::Result<Lab> {
    let lab = Lab::serving(MARK)?;
    lab.becomes("lan0:ingress", "active")?;
    add_pairs(&lab, PAIRS)?;
    lab.save("edge", &format!("{MARK}{BOUND}"))?;
    lab.signal(Signal::SIGHUP)?;
    eventually(|| Ok(attached(&lab)? > 0)).with_context(|| lab.log().unwrap_or_default())?;
    Ok(lab)
}

/// Makes so many pairs of devices.
pub(super) fn add_pairs(lab: &Lab, pairs: usize) -> anyhow::Result<()> {
    let mut batch = String::new();
    for pair in 0..pairs {
        writeln!(batch, "link add many{pair} type veth peer name manyb{pair}")?;
        writeln!(batch, "link set many{pair} arp off up\nlink set manyb{pair} arp off up")?;
    }
    let lines = lab.router.folder().join("links");
    fs::write(&lines, batch)?;
    run_in(lab.router.edge(), &format!("ip -batch {}", lines.display())).map(drop)
}

/// How many of them have been attached.
fn attached(lab: &Lab) -> anyhow::Result<usize> {
    Ok(lab.log()?.lines().filter(|line| is_attached(line)).count())
}

fn is_attached(line: &str) -> bool {
    line.contains(" attached: ") && line.contains("many")
}

/// Waits until so many hooks are, as long as it goes on.
pub(super) fn end(lab: &Lab, hooks: usize) -> anyhow::Result<()> {
    loop {
        let before = attached(lab)?;
        if before == hooks {
            return Ok(());
        }
        eventually(|| Ok(attached(lab)? > before)).with_context(|| lab.log().unwrap_or_default())?;
    }
}

/// Longer than a command takes on a machine that is busy, and shorter than all of them.
const FOR: &str = "3s";

#[test]
fn changes_and_deadlines_do_not_wait_for_all_of_them() -> anyhow::Result<()> {
    let lab = attaching()?;
    for line in ["detach wan0", "policy bypass lan0:ingress", &format!("policy bypass lan0:ingress --for {FOR}")] {
        let (before, start) = (attached(&lab)?, Instant::now());
        lab.ok(line)?;
        let after = attached(&lab)?;
        eprintln!("{line}: {:?}, while {before} hooks of {HOOKS} became {after}", start.elapsed());
        assert!(after < HOOKS, "{line} waited for all of them\n{}", lab.log()?);
    }
    end(&lab, HOOKS)?;
    let log = lab.log()?;
    let lines: Vec<&str> = log.lines().collect();
    let over = lines.iter().position(|line| line.contains("lan0:ingress is in the policy's path again"));
    let last = lines.iter().rposition(|line| is_attached(line));
    assert!(over.is_some() && over < last, "the bypass ended behind all of them, or not at all:\n{log}");
    assert!(!log.contains("ERROR"), "{log}");
    Ok(())
}
