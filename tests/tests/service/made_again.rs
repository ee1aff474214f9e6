//! Devices that are made again under their number, of which the events may get lost.

use std::{fs, io::Write as _, process::Stdio, time::Instant};

use anyhow::Context as _;
use nix::sys::signal::Signal;
use qosbpf_tests::{
    numbered,
    router::words,
    service::{Lab, MARK, PATIENCE, eventually},
};

use crate::follow::look;

/// A device that is made again under its old number is another one, though nothing that a look compares has changed.
#[test]
fn a_device_made_again_under_its_number_is_attached_at_once_and_begins_at_zero() -> anyhow::Result<()> {
    let lab = Lab::serving("[interface.dyn0]\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n")?;
    const MAKE: &str =
        "link add dyn0 index 77 type veth peer name peer0 index 78\nlink set dyn0 up\nlink set peer0 up\n";
    batch(&lab, MAKE)?;
    lab.becomes("dyn0:egress", "active")?;
    let since = |lab: &Lab| anyhow::Ok(lab.hook("dyn0:egress")?.context("a hook")?["since"].clone());
    let first = since(&lab)?;
    let start = Instant::now();
    batch(&lab, &format!("link del dyn0\n{MAKE}"))?;
    // Missing, or still the old one's pins, until somebody has looked.
    eventually(|| {
        let hook = lab.hook("dyn0:egress")?;
        Ok(hook.is_some_and(|hook| hook["state"] == "active" && hook["since"] != first))
    })
    .with_context(|| lab.log().unwrap_or_default())?;
    assert!(start.elapsed() < PATIENCE, "only the look of every thirty seconds found it");
    Ok(())
}

/// A service whose socket has room for two or three events.
fn deaf(policy: &str) -> anyhow::Result<Lab> {
    let mut lab = Lab::start()?;
    lab.save("edge", policy)?;
    fs::write(lab.etc("qosbpf.toml"), "link-buffer = \"4kB\"\n")?;
    lab.serve()?;
    Ok(lab)
}

/// Changes links at once.
fn batch(lab: &Lab, lines: &str) -> anyhow::Result<()> {
    lab.router.edge().run(|| {
        let mut ip = words("ip -batch -").stdin(Stdio::piped()).spawn()?;
        ip.stdin.take().context("stdin")?.write_all(lines.as_bytes())?;
        anyhow::ensure!(ip.wait()?.success());
        Ok(())
    })
}

/// So many events.
fn noise() -> String {
    (0..150).map(|number| format!("link add noise{number} type veth peer name far{number}\n")).collect()
}

#[test]
fn lost_events_are_noticed_and_nothing_is_missed() -> anyhow::Result<()> {
    let lab = deaf("[interface.\"last*\"]\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n")?;
    batch(&lab, &format!("{}link add last0 type veth peer name end0\n", noise()))?;
    lab.says(&["events of links were lost: all links are read again"])?;
    lab.becomes("last0:egress", "active")
}

/// Nobody has detached it from the device of now, of whose coming and going nothing was heard.
#[test]
fn what_was_detached_by_hand_is_attached_to_the_next_device_though_its_event_was_lost() -> anyhow::Result<()> {
    let lab = deaf(&format!("{MARK}[interface.dyn0]\negress = \"mark\"\n"))?;
    numbered::make(lab.router.edge())?;
    lab.becomes("dyn0:egress", "active")?;
    lab.ok("detach dyn0")?;
    lab.says(&["detached by hand: not attached again until a reload hook=\"dyn0:egress\""])?;
    look(&lab)?;
    assert_eq!(lab.hook("dyn0:egress")?.context("bound")?["state"], "missing", "the same device");
    // What comes while nobody reads is lost but for the first of it.
    lab.signal(Signal::SIGSTOP)?;
    batch(&lab, &format!("{}link del dyn0\nlink add dyn0 index 77 type veth peer name peer0\n", noise()))?;
    lab.signal(Signal::SIGCONT)?;
    lab.says(&["events of links were lost: all links are read again"])?;
    lab.becomes("dyn0:egress", "active")
}
