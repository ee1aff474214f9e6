//! What is said of a packet in words is what becomes of a real one.

use std::collections::BTreeMap;

use anyhow::Context as _;
use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{features::Feature, router::Router};
use serde_json::Value;

use crate::bench::{RULES, ask, decider, explain};

fn echo(v6: bool, dscp: u64, ecn: u8, rest: &str) -> String {
    let protocol = if v6 { "icmpv6" } else { "icmp" };
    let end = |v4: std::net::Ipv4Addr, v6_: std::net::Ipv6Addr| if v6 { v6_.to_string() } else { v4.to_string() };
    let (from, to) = (end(LAN_HOST.v4, LAN_HOST.v6), end(WAN_HOST.v4, WAN_HOST.v6));
    format!("{protocol} {from} > {to} dscp {dscp} ecn {ecn} {rest}")
}

/// What each rule of a hook has counted.
fn hits(router: &Router, hook: &str) -> anyhow::Result<BTreeMap<String, u64>> {
    let document = router.ok(&format!("stats {hook} --json"))?.json()?;
    let rules = document["hooks"][0]["rules"].as_array().context("rules")?.clone();
    let hits = rules.iter().map(|rule| Some((rule["rule"].as_str()?.to_owned(), rule["packets"].as_u64()?)));
    hits.collect::<Option<_>>().context("packets")
}

/// The rules that a document names: those that counted and went on, and the one that decided.
fn named(document: &Value) -> Vec<String> {
    let counted = document["counted_by"].as_array().into_iter().flatten().map(|rule| &rule["rule"]);
    let names = counted.chain([&document["decided_by"]["rule"]]).filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

#[test]
fn echo_requests_of_many_marks_do_what_was_said() -> anyhow::Result<()> {
    if Feature::IngressInterface.leaves_out("explain at egress")? {
        return Ok(());
    }
    const COUNT: u32 = 3;
    let router = Router::start()?;
    let policy = router.policy("rules", RULES)?;
    router.ok("attach lan0 --ingress --hook tcx")?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {policy}"))?;
    for (v6, tos) in
        [(false, 184), (true, 185), (false, 32), (false, 0xc0), (true, 0xc0), (false, 72), (true, 0), (false, 7)]
    {
        let (dscp, ecn) = (u64::from(tos >> 2), tos & 3);
        let came = explain(&router, "lan0:ingress", &echo(v6, dscp, ecn, ""), "")?;
        let between = came["after"].as_u64().context("after")?;
        let left = explain(&router, "wan0:egress", &echo(v6, between, ecn, "from lan0"), "")?;
        let hooks = ["lan0:ingress", "wan0:egress"];
        let (earlier, rules) = (router.counted("wan0:egress")?, hooks.map(|hook| hits(&router, hook)));
        router.ping(v6, tos, COUNT)?;
        let after = router.counted("wan0:egress")?.since(&earlier).packets_after();
        let expected = u8::try_from(left["after"].as_u64().context("after")?)?;
        assert_eq!(after, BTreeMap::from([(expected, u64::from(COUNT))]), "{tos:#x}: {came:#} {left:#}");
        for ((hook, earlier), said) in hooks.into_iter().zip(rules).zip([&came, &left]) {
            let earlier = earlier?;
            let moved = hits(&router, hook)?.into_iter().filter(|(name, hits)| earlier.get(name) != Some(hits));
            let mut moved: Vec<String> = moved.map(|(name, _)| name).collect();
            let mut said = named(said);
            moved.sort();
            said.sort();
            assert_eq!(moved, said, "{hook} {tos:#x}");
        }
    }
    Ok(())
}

#[test]
fn who_decided_is_named_with_its_line() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("rules", RULES)?;
    router.ok("attach lan0 --ingress --hook tcx")?;
    router.ok(&format!("policy apply {file}"))?;
    let said = ask(&router, "lan0:ingress", "tcp 192.0.2.2:5 > 198.51.100.2:23", "")?.expect(0)?;
    said.says(&["lan0:ingress  tcx  policy rules", "rule \"no telnet\"", "rules:34)", "leaves as   DROPPED"])?;
    let said = ask(&router, "lan0:ingress", "udp 192.0.2.2:5 > 198.51.100.2:23 dscp CS6 ecn 2", "")?.expect(0)?;
    said.says(&["table in, entry CS6", "rules:9)", "CS6 -> DF   ECN ECT(0) kept", "not by", "not so: tcp"])?;
    let earlier = router.counted("lan0:ingress")?;
    let document = explain(&router, "lan0:ingress", "udp 192.0.2.2:5 > 198.51.100.2:23 dscp AF11", "")?;
    assert_eq!((decider(&document), &document["before"], &document["after"]), ("other", &10.into(), &10.into()));
    assert_eq!(router.counted("lan0:ingress")?.since(&earlier).before, BTreeMap::new(), "nothing is counted");
    Ok(())
}

#[test]
fn priority_mark_and_color_are_said() -> anyhow::Result<()> {
    if Feature::IngressInterface.leaves_out("explain at egress")? {
        return Ok(());
    }
    let router = Router::start()?;
    let text = r#"
[[rule]]
name = "hand over"
on = "wan0:egress"
match = { dst-port = 99 }
set = "CS5"
priority = "10:200"
mark = "0x10/0xff"
[[rule]]
name = "metered"
on = "wan0:egress"
match = { proto = "udp" }
meter = { type = "srtcm", cir = "8kbit", cbs = "1kB", ebs = "1kB" }
green = "AF41"
yellow = "AF42"
red = "drop"
"#;
    let file = format!("--file {}", router.policy("colors", text)?);
    let words = "tcp 192.0.2.2:5 > 198.51.100.2:99 mark 0xabcd";
    let document = explain(&router, "wan0:egress", words, &file)?;
    let expected = (&0x0010_0200.into(), &0xab10.into(), &40.into());
    assert_eq!((&document["priority"], &document["mark"], &document["after"]), expected, "{document:#}");
    assert_eq!((&document["in_force"], &document["mechanism"]), (&false.into(), &Value::Null));
    for (length, color, after) in [(900, "green", Some(34)), (1400, "red", None), (28, "green", Some(34))] {
        let words = format!("udp 192.0.2.2:5 > 198.51.100.2:7 length {length}");
        let document = explain(&router, "wan0:egress", &words, &file)?;
        assert_eq!((&document["color"], document["after"].as_u64()), (&color.into(), after), "{document:#}");
        assert_eq!(document["dropped"], after.is_none());
    }
    Ok(())
}

#[test]
fn a_packet_that_cannot_be_and_a_hook_that_is_not_are_refused() -> anyhow::Result<()> {
    let router = Router::start()?;
    let words = "udp 192.0.2.2:5 > 198.51.100.2:7";
    for (hook, words, code, exit) in [
        ("lan0:ingress", words, "not-attached", 1),
        ("lan0", words, "usage", 2),
        ("lan0:ingress", "udp 192.0.2.2 > 198.51.100.2", "packet", 2),
        ("lan0:ingress", "udp 192.0.2.2:5 > 198.51.100.2:7 from wan0", "packet", 2),
    ] {
        let answer = ask(&router, hook, words, "--json")?.expect(exit)?;
        assert_eq!(answer.json()?["error"]["code"], code, "{hook} {words}");
    }
    router.ask("policy explain lan0:ingress --hex 45b")?.expect(2)?.complains(&["3 digits make no whole bytes"])?;
    router.ask("policy explain lan0:ingress --pcap /dev/null")?.expect(2)?.complains(&["not a pcap file"])?;
    Ok(())
}

/// A frame as tcpdump prints it goes through the same twin as words do. One that no program can be given is neither a wrong
/// command line nor a failure: what would become of it cannot be told.
#[test]
fn a_frame_in_hexadecimal_is_explained_as_it_is() -> anyhow::Result<()> {
    use qos_vectors::frame::{Ipv4, Ipv6, ether_type, ethernet, protocol, udp};
    let router = Router::start()?;
    let file = router.policy("rules", RULES)?;
    router.ok("attach lan0 --ingress --hook tcx")?;
    router.ok(&format!("policy apply {file}"))?;
    let explained = |frame: &[u8]| {
        let hex: Vec<_> = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = router.command("policy explain lan0:ingress --json --hex")?;
        qosbpf_tests::binary::Answer::of(command.arg(hex.join(" ")))
    };
    let v4 = |protocol, payload: &[u8]| {
        ethernet(&[], ether_type::IPV4, &Ipv4 { ds: 0xba, protocol, ..Ipv4::default() }.packet(payload))
    };
    let echo = explained(&v4(protocol::ICMP, &[8, 0, 0, 0, 0, 0, 0, 0]))?.expect(0)?.json()?;
    assert_eq!((decider(&echo), &echo["before"], &echo["after"]), ("marked echo", &46.into(), &34.into()), "{echo:#}");
    let plain = explained(&v4(protocol::UDP, &udp(&[])))?.expect(0)?.json()?;
    assert_eq!((decider(&plain), &plain["after"]), ("other", &46.into()), "{plain:#}");
    let v6 =
        ethernet(&[], ether_type::IPV6, &Ipv6 { ds: 0xc0, next: protocol::UDP, ..Ipv6::default() }.packet(&udp(&[])));
    let control = explained(&v6)?.expect(0)?.json()?;
    assert_eq!((decider(&control), &control["after"]), ("CS6", &0.into()), "{control:#}");
    let mut telnet = v4(6, &[0; 20]);
    telnet[14 + 20 + 3] = 23;
    let dropped = explained(&telnet)?.expect(0)?.json()?;
    assert_eq!((decider(&dropped), &dropped["dropped"]), ("no telnet", &true.into()), "{dropped:#}");
    for length in [0, 1, 13, 14 + 19] {
        let cut = explained(&telnet[..length])?.expect(4)?.json()?;
        assert_eq!(cut["error"]["code"], "test-run", "{length}: {cut:#}");
    }
    Ok(())
}

/// A test run has room for a page; what is larger goes the same way, but a meter would charge all of it.
#[test]
fn the_color_of_a_packet_that_no_test_run_holds_cannot_be_told() -> anyhow::Result<()> {
    let router = Router::start()?;
    let metering = "[[rule]]\nname = \"video\"\non = \"lan0:ingress\"\nmatch = { dscp = \"AF41\" }\n\
        meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"4kB\", ebs = \"0B\" }\n\
        green = \"keep\"\nyellow = \"AF42\"\nred = \"AF43\"\n\
        [[rule]]\nname = \"large\"\non = \"lan0:ingress\"\nmatch = { length = \"8000-9000\" }\nset = \"CS1\"\n";
    let file = router.policy("metering", metering)?;
    router.ok(&format!("attach lan0 --ingress --hook tcx --policy {file}"))?;
    let udp = "udp 192.0.2.2:1 > 198.51.100.2:2";
    let small = explain(&router, "lan0:ingress", &format!("{udp} dscp AF41 length 3300"), "")?;
    assert_eq!((&small["color"], &small["after"]), (&"green".into(), &34.into()), "{small:#}");
    let answer = ask(&router, "lan0:ingress", &format!("{udp} dscp AF41 length 9000"), "")?.expect(4)?;
    answer.complains(&["cannot tell the color of a packet of 9000 bytes, which rule \"video\" meters"])?;
    // Where no meter has a say, all that rules ask for is there.
    let large = explain(&router, "lan0:ingress", &format!("{udp} length 9000"), "")?;
    assert_eq!((decider(&large), &large["after"]), ("large", &8.into()), "{large:#}");
    let test = format!(
        "{metering}[[test]]\nname = \"jumbo\"\non = \"lan0:ingress\"\npacket = \"{udp} dscp AF41 length 9000\"\n\
         expect = \"AF43\"\n"
    );
    let file = router.policy("tested", &test)?;
    router.ask(&format!("policy test {file}"))?.expect(4)?.complains(&["test \"jumbo\"", "cannot tell"])?;
    router.ask(&format!("policy apply {file}"))?.expect(4)?.complains(&["cannot tell"])?;
    router.ok(&format!("policy apply {file} --force"))?;
    Ok(())
}
