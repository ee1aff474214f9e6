//! Rates of a minute and of five, peaks, and when something last moved.

use std::{fs, thread, time::Duration};

use anyhow::Context as _;
use serde_json::Value;

use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    service::{Lab, MARK, eventually},
    udp,
};

/// The row of an array of the one hook of a document.
pub(super) fn row<'a>(document: &'a Value, array: &str, key: &str, wanted: u64) -> Option<&'a Value> {
    document["hooks"][0][array].as_array()?.iter().find(|row| row[key] == wanted)
}

#[test]
fn rows_carry_their_rates_and_when_they_moved() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    lab.serve()?;
    lab.ok("stats lan0:ingress --rate 0")?;
    thread::sleep(Duration::from_secs(1));
    lab.router.ping(false, 184, 20)?;
    let document = || lab.ok("stats --json lan0:ingress")?.json();
    eventually(|| Ok(row(&document()?, "after", "dscp", 34).is_some_and(|row| !row["peak"].is_null())))?;
    let now = document()?;
    for (array, key, value) in [("before", "ds", 184), ("after", "dscp", 34), ("remarked", "from", 46)] {
        let row = row(&now, array, key, value).with_context(|| format!("{array}: {now:#}"))?;
        let rates = &row["rates"];
        for window in ["1m", "5m"] {
            let packets = rates[window]["packets"].as_f64().with_context(|| row.to_string())?;
            assert!(packets > 0.3 && packets <= 25.0, "20 packets in some seconds: {row}");
            assert!(rates[window]["bits"].as_f64() > Some(0.0), "{row}");
        }
        assert!(row["last_moved"].as_str() <= now["time"].as_str() && row["last_moved"].is_string(), "{row}");
    }
    // A name that the policy has and that never came.
    let never = row(&now, "after", "dscp", 46).with_context(|| now.to_string())?;
    assert!(never["last_moved"].is_null() && never["rates"]["1m"]["packets"] == 0.0, "{never}");

    let moved = row(&now, "after", "dscp", 34).map(|row| row["last_moved"].clone());
    thread::sleep(Duration::from_secs(2));
    let later = document()?;
    assert_eq!(row(&later, "after", "dscp", 34).map(|row| row["last_moved"].clone()), moved, "nothing came since");

    let screen = lab.ok("stats lan0:ingress")?.stdout;
    assert!(screen.contains("rates: ") && screen.contains("bit/s"), "{screen}");
    lab.stop()?;
    let without = lab.ok("stats --json lan0:ingress")?.json()?;
    assert!(row(&without, "after", "dscp", 34).is_some_and(|row| row.get("rates").is_none()));
    Ok(())
}

const METERED: &str = "[[rule]]\nname = \"video\"\non = \"lan0:ingress\"\nmatch = { dscp = \"AF31\" }\n\
    meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\n\
    green = \"keep\"\nyellow = \"AF32\"\nred = \"drop\"\n";

/// Also where they are told of by `policy show`.
#[test]
fn rules_meters_and_entries_say_when_they_were_hit() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", &format!("{MARK}{METERED}"))?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    lab.serve()?;
    lab.ok("stats lan0:ingress --rate 0")?;
    thread::sleep(Duration::from_secs(1));
    lab.router.ping(false, 104, 20)?;
    lab.router.ping(false, 184, 5)?;
    let meter = || anyhow::Ok(lab.ok("stats --json lan0:ingress")?.json()?["hooks"][0]["meters"][0].clone());
    eventually(|| Ok(!meter()?["green"]["peak"].is_null()))?;
    let colors = meter()?;
    let packets = |color: &str| colors[color]["rates"]["1m"]["packets"].as_f64();
    assert!(packets("green") > Some(0.0) && packets("red") == Some(0.0), "{colors}");
    assert!(colors["green"]["last_moved"].is_string() && colors["red"]["last_moved"].is_null(), "{colors}");
    let show = |lab: &Lab| anyhow::Ok(lab.ok("policy show --json lan0:ingress")?.json()?["hooks"][0].clone());
    let now = show(&lab)?;
    let (rule, entry) = (&now["rules"][0], &now["entries"][0]);
    assert!(rule["rates"]["1m"]["packets"].as_f64() > Some(0.0) && rule["last_moved"].is_string(), "{rule}");
    assert!(entry["entry"] == "EF" && entry["last"].as_f64() < Some(30.0) && entry["last"].is_f64(), "{entry}");
    lab.ok("policy show lan0:ingress")?.says(&["TABLE DSCP FILE:LINE HITS bit/s LAST RESULT", "on average over"])?;
    lab.stop()?;
    let now = show(&lab)?;
    assert!(now["rules"][0].get("rates").is_none() && now["entries"][0].get("last").is_none(), "{now:#}");
    Ok(())
}

/// What rules that log have told of, whoever reads it.
#[test]
fn status_says_how_many_events_there_were_today() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    let rule =
        "[[rule]]\nname = \"seen\"\non = \"lan0:ingress\"\nmatch = { dscp = \"EF\" }\nset = \"AF41\"\nlog = \"3/h\"\n";
    lab.save("edge", &format!("{MARK}{rule}"))?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    lab.serve()?;
    lab.ok("status")?.says(&["events 0 today"])?;
    // The hook has been looked at, so that what it counts from now on is of today.
    let document = || lab.ok("stats --json lan0:ingress")?.json();
    eventually(|| Ok(row(&document()?, "after", "dscp", 34).is_some_and(|row| row["rates"].is_object())))?;
    lab.router.ping(false, 184, 10)?;
    let today = || anyhow::Ok(lab.ok("status --json")?.json()?["run"]["events_today"].as_u64());
    eventually(|| Ok(today()? == Some(3)))?;
    lab.ok("status")?.says(&["events 3 today"])?;
    Ok(())
}

/// What a rule had matched before it logged was not told; of two that log the same packet one tells; a super-packet is one event.
#[test]
fn nothing_but_what_was_told_counts_as_events_of_today() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    let policy = |log: &str| {
        let on = "on = \"lan0:ingress\"";
        let burst = format!("[[rule]]\nname = \"burst\"\n{on}\nmatch = {{ dst-port = 7301 }}\nset = \"CS1\"\n{log}");
        let both = ["first", "second"]
            .map(|name| format!("[[rule]]\nname = \"{name}\"\n{on}\nmatch = {{ dscp = \"EF\" }}\ncount = true\n{log}"));
        format!("{}{burst}{}", MARK.replace("ingress =", "hook = \"tcx\"\ningress ="), both.concat())
    };
    lab.save("edge", &policy(""))?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    lab.serve()?;
    lab.router.ping(false, 184, 10)?;
    let document = || lab.ok("stats --json lan0:ingress")?.json();
    eventually(|| Ok(row(&document()?, "after", "dscp", 34).is_some_and(|row| row["last_moved"].is_string())))?;
    lab.save("edge", &policy("log = \"3/h\"\n"))?;
    lab.ok("run --reload")?;
    let today = || anyhow::Ok(lab.ok("status --json")?.json()?["run"]["events_today"].as_u64());
    thread::sleep(Duration::from_secs(3));
    assert_eq!(today()?, Some(0), "they have told nothing");
    lab.router.ping(false, 184, 10)?;
    let (from, to) = ((LAN_HOST.v4, 0).into(), (WAN_HOST.v4, 7301).into());
    udp::send_burst(lab.router.lab().lan(), from, to, 0, 10)?;
    eventually(|| Ok(today()? == Some(7)))?;
    assert_eq!(lab.ok("events --once --json")?.stdout.lines().count(), 7, "three of each, and the burst");
    thread::sleep(Duration::from_secs(2));
    assert_eq!(today()?, Some(7), "whoever reads them");
    Ok(())
}

#[test]
fn a_watch_shows_what_the_service_remembers() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    lab.router.ping(false, 184, 20)?;
    thread::sleep(Duration::from_secs(6));
    let mut watch = lab.command("stats lan0:ingress --watch 0.5 --no-tty")?;
    let watch = watch.stdout(std::process::Stdio::piped()).spawn()?;
    thread::sleep(Duration::from_secs(3));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(watch.id())?), nix::sys::signal::Signal::SIGINT)?;
    let text = String::from_utf8(watch.wait_with_output()?.stdout)?;
    for word in ["1 m", "5 m", "peak", "last moved"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(text.lines().any(|line| line.starts_with("EF") && !line.contains(" - ")), "{text}");
    Ok(())
}

/// No busy polling: a service with nothing to do hardly runs.
#[test]
fn an_idle_service_does_nothing() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    thread::sleep(Duration::from_secs(1));
    let before = lab.ticks()?;
    thread::sleep(Duration::from_secs(11));
    // Two samples, in a build without optimisation.
    let ticks = lab.ticks()? - before;
    println!("{ticks} ticks in 11 s");
    assert!(ticks <= 11, "{ticks} ticks in 11 s are more than one hundredth");
    Ok(())
}
