//! Rules that log: who, from where to where, with which mark before and after, and not too often.

use std::{net::IpAddr, os::unix::net::UnixDatagram, time::Duration};

use anyhow::Context as _;
use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use serde_json::Value;

use crate::masquerade::Masquerade;

const RULES: &str = "\
    [[rule]]\nname = \"seen\"\non = \"lan0:ingress\"\nmatch = { dst-port = 7201 }\nlog = \"5/h\"\n\
    [[rule]]\nname = \"who\"\non = \"lan0:ingress\"\nmatch = { dscp = \"EF\", dst-port = 7202 }\nset = \"DF\"\nlog = \"1/h\"\n\
    [[rule]]\nname = \"no\"\non = \"lan0:ingress\"\nmatch = { dst-port = 7203 }\ndrop = true\nlog = \"1/h\"\n";

fn start() -> anyhow::Result<Masquerade> {
    let lab = Masquerade::start()?;
    let policy = lab.router.policy("log", RULES)?;
    lab.router.ok("attach lan0 --ingress")?;
    lab.router.ok(&format!("policy apply {policy}"))?;
    Ok(lab)
}

fn events(lab: &Masquerade) -> anyhow::Result<Vec<Value>> {
    let text = lab.router.ok("events --once --json")?.stdout;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn an_event_says_who_and_what_became_of_the_mark() -> anyhow::Result<()> {
    let lab = start()?;
    let hosts: [(IpAddr, IpAddr); 2] =
        [(LAN_HOST.v4.into(), WAN_HOST.v4.into()), (LAN_HOST.v6.into(), WAN_HOST.v6.into())];
    for (from, to) in hosts {
        lab.send(from, 7201, 0x29, 1)?;
        let found = events(&lab)?;
        let [event] = found.as_slice() else { anyhow::bail!("{found:#?}") };
        assert_eq!([&event["hook"], &event["rule"]], ["lan0:ingress", "seen"]);
        assert_eq!([&event["source"], &event["destination"]], [&from.to_string(), &to.to_string()]);
        assert_eq!([&event["destination_port"], &event["protocol"]], [7201, 17]);
        assert_eq!([&event["before"], &event["after"], &event["ecn"]], [10, 10, 1], "{event:#}");
    }
    lab.send(LAN_HOST.v4.into(), 7202, 0xb8, 1)?;
    lab.send(LAN_HOST.v4.into(), 7203, 0xb8, 1)?;
    let found = events(&lab)?;
    let told: Vec<_> =
        found.iter().map(|event| (&event["rule"], &event["before"], &event["after"], &event["dropped"])).collect();
    assert_eq!(
        told,
        [
            (&Value::from("who"), &46.into(), &0.into(), &false.into()),
            (&"no".into(), &46.into(), &Value::Null, &true.into())
        ],
        "{found:#?}"
    );
    Ok(())
}

#[test]
fn the_rate_is_kept_and_what_is_suppressed_is_counted() -> anyhow::Result<()> {
    let lab = start()?;
    lab.send(LAN_HOST.v4.into(), 7201, 0, 40)?;
    assert_eq!(events(&lab)?.len(), 5, "5/h is a burst of five, and then one in twelve minutes");
    let show = lab.router.ok("policy show lan0:ingress --json")?.json()?;
    let rule = show["hooks"][0]["rules"].as_array().and_then(|rules| rules.first()).context("a rule")?;
    assert_eq!([&rule["packets"], &rule["events_suppressed"]], [40, 35], "{rule:#}");
    Ok(())
}

/// The buffer has room for some hundred events. Whoever reads next hears that there were more.
#[test]
fn what_found_no_room_is_said_to_whoever_reads_next() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    let rule = "[[rule]]\nname = \"all\"\non = \"lan0:ingress\"\nmatch = { dst-port = 7204 }\nset = \"DF\"\nlog = \"1000/h\"\n";
    let policy = lab.router.policy("log", rule)?;
    lab.router.ok("attach lan0 --ingress")?;
    lab.router.ok(&format!("policy apply {policy}"))?;
    lab.send(LAN_HOST.v4.into(), 7204, 0, 100)?;
    let whole = lab.router.ok("events --once --json")?;
    assert_eq!((whole.stdout.lines().count(), whole.stderr.as_str()), (100, ""), "there was room");
    const SENT: usize = 800;
    lab.send(LAN_HOST.v4.into(), 7204, 0, SENT)?;
    let late = lab.router.ok("events --once --json")?;
    let missing = SENT - late.stdout.lines().count();
    assert!((1..SENT).contains(&missing), "{missing}");
    let late = late.complains(&["! lan0:ingress: events came faster than they were read"])?;
    late.complains(&[&format!("the buffer for them was full: {missing} are left out")])?;
    assert_eq!(lab.router.ok("events --once")?.stderr, "", "once is enough");
    Ok(())
}

/// Whoever changes the policy every minute is not told once a minute of what may be told once an hour.
#[test]
fn the_rate_is_kept_over_changes_of_policy_and_a_bypass() -> anyhow::Result<()> {
    let lab = start()?;
    let burst = |expected: usize, when: &str| {
        lab.send(LAN_HOST.v4.into(), 7201, 0, 20)?;
        let found = events(&lab)?.len();
        anyhow::ensure!(found == expected, "{when}: {found} events instead of {expected}");
        Ok(())
    };
    burst(5, "a new rule")?;
    let other = lab.router.policy("log-2", &RULES.replace("set = \"DF\"", "set = \"CS1\""))?;
    lab.router.ok(&format!("policy apply {other}"))?;
    burst(0, "another policy with the same rule")?;
    lab.router.ok("policy bypass")?;
    lab.router.ok("policy resume")?;
    burst(0, "in the path again")?;
    let faster = lab.router.policy("log-3", &RULES.replace("5/h", "7/h"))?;
    lab.router.ok(&format!("policy apply {faster}"))?;
    burst(7, "another rate")?;
    Ok(())
}

#[test]
fn what_waits_survives_a_new_policy_and_each_event_has_one_reader() -> anyhow::Result<()> {
    let lab = start()?;
    lab.send(LAN_HOST.v4.into(), 7201, 0, 1)?;
    let other = lab.router.policy("log-2", &RULES.replace("set = \"DF\"", "set = \"CS1\""))?;
    lab.router.ok(&format!("policy apply {other}"))?;
    let mut reader = lab.router.command("events")?;
    let mut reader = reader.stdout(std::process::Stdio::piped()).spawn()?;
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(reader.stdout.take().context("stdout")?);
    std::io::BufRead::read_line(&mut stdout, &mut line)?;
    assert!(line.contains("lan0:ingress  rule \"seen\"  udp 192.0.2.2:") && line.contains("DF -> DF"), "{line}");
    let second = lab.router.ask("events --once")?.expect(1)?.stderr;
    assert!(second.contains("another process reads the events"), "{second}");
    lab.send(LAN_HOST.v4.into(), 7202, 0xb8, 1)?;
    line.clear();
    std::io::BufRead::read_line(&mut stdout, &mut line)?;
    assert!(line.contains("rule \"who\"") && line.contains("EF -> CS1"), "{line}");
    reader.kill()?;
    reader.wait()?;
    Ok(())
}

#[test]
fn the_journal_gets_fields() -> anyhow::Result<()> {
    let lab = start()?;
    let socket = lab.router.folder().join("journal");
    let journal = UnixDatagram::bind(&socket)?;
    journal.set_read_timeout(Some(Duration::from_secs(60)))?;
    lab.send(LAN_HOST.v4.into(), 7202, 0xb8, 1)?;
    lab.router.ok(&format!("events --once --journal {}", socket.display()))?;
    let mut text = [0; 4096];
    let length = journal.recv(&mut text)?;
    let text = str::from_utf8(&text[..length])?;
    for line in ["PRIORITY=6", "SYSLOG_IDENTIFIER=qosbpf", "QOSBPF_RULE=who", "QOSBPF_DSCP_BEFORE=EF"] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let nobody = lab.router.ask("events --once --journal /nowhere")?.expect(1)?.stderr;
    assert!(nobody.contains("/nowhere: No such file"), "{nobody}");
    Ok(())
}
