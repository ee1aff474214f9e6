//! The twin is that of the hook: XDP or TC, Ethernet or bare IP, in the path or not.

use std::path::Path;

use anyhow::Context as _;
use qosbpf_tests::{
    binary::{self, Answer},
    features::Feature,
    hex,
    router::{Router, run_in, words},
};
use serde_json::{Value, json};

use crate::bench::{RULES, ask, decider, explain};

#[test]
fn an_xdp_hook_has_an_xdp_twin() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("rules", RULES)?;
    router.ok("attach lan0 --ingress --hook xdp")?;
    router.ok(&format!("policy apply {file}"))?;
    let document = explain(&router, "lan0:ingress", "tcp 192.0.2.2:5 > 198.51.100.2:23 vlan 7", "")?;
    assert_eq!((&document["mechanism"], &document["dropped"]), (&"xdp-native".into(), &true.into()), "{document:#}");
    let document = explain(&router, "lan0:ingress", "udp [2001:db8::1]:5 > [2001:db8::2]:23 dscp CS6", "")?;
    assert_eq!((decider(&document), &document["after"]), ("CS6", &0.into()), "{document:#}");
    Ok(())
}

#[test]
fn a_bypassed_hook_says_so_and_what_the_policy_would_do() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("rules", RULES)?;
    router.ok("attach lan0 --ingress")?;
    router.ok(&format!("policy apply {file}"))?;
    router.ok("policy bypass")?;
    let answer = ask(&router, "lan0:ingress", "udp 192.0.2.2:5 > 198.51.100.2:23 dscp CS6", "")?.expect(0)?;
    answer.says(&["! BYPASSED", "policy resume lan0:ingress", "CS6 -> DF"])?;
    Ok(())
}

/// A test run takes the first 14 bytes of every packet for an Ethernet header; in some packets without one they look like
/// MPLS, or like IP that is cut.
#[test]
fn packets_of_a_layer_3_device_are_what_they_are() -> anyhow::Result<()> {
    if Feature::IngressInterface.leaves_out("explain at egress")? {
        return Ok(());
    }
    let router = Router::start()?;
    run_in(router.edge(), "ip tuntap add dev tun7 mode tun")?;
    let policy =
        router.policy("tun", "[interface.tun7]\negress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"DF\"\n")?;
    let file = format!("--file {policy}");
    for from in ["192.0.2.2", "136.71.0.1", "136.72.3.4", "8.0.0.1"] {
        let document = explain(&router, "tun7:egress", &format!("udp {from}:5 > 198.51.100.2:7 dscp EF"), &file)?;
        assert_eq!((decider(&document), &document["after"]), ("EF", &34.into()), "{from}: {document:#}");
    }
    for from in ["2001:db8::1", "2001:db8:8847::1", "2001:db8:86dd::1"] {
        let document = explain(&router, "tun7:egress", &format!("icmpv6 {from} > 2001:db8::2 dscp EF"), &file)?;
        assert_eq!((decider(&document), &document["after"]), ("EF", &34.into()), "{from}: {document:#}");
    }
    let tagged = ask(&router, "tun7:egress", "udp 192.0.2.2:5 > 198.51.100.2:7 vlan 7", &file)?.expect(2)?;
    tagged.complains(&["has no VLAN tags"])?;
    Ok(())
}

#[test]
fn a_capture_has_a_line_for_each_packet_and_a_sum() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("rules", RULES)?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let line = |name: &str, rest: &str| {
        format!("policy explain lan0:ingress --pcap {} --file {file} {rest}", data.join(name).display())
    };
    // Every DS field once in each family.
    let document = router.ok(&line("classes.pcap", "--json"))?.json()?;
    let packets = document["packets"].as_array().context("packets")?;
    assert_eq!((packets.len(), &document["left_out"]), (512, &0.into()));
    let by_cs6 = |packet: &&Value| decider(packet) == "CS6" && packet["before"] == 48 && packet["after"] == 0;
    assert_eq!(packets.iter().filter(by_cs6).count(), 8);
    assert_eq!(document["summary"][0]["packets"], 504, "{:#}", document["summary"]);
    assert_eq!(document["summary"][1]["packets"], 8);
    let some = router.ok(&line("classes.pcap", "--count 5"))?;
    some.says(&["! 507 more packets in the file", "PACKETS  DECIDED BY", "\n      5  table in, entry other"])?;
    // Frames that are bad in every way, and packets without an Ethernet header.
    router.ok(&line("bad.pcap", ""))?.says(&["malformed", "not IP"])?;
    router.ok(&line("raw.pcap", "--json"))?.json()?;
    Ok(())
}

#[test]
fn who_may_not_load_programs_is_told_so() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("rules", &format!("{RULES}{}", crate::gate::FAILING))?;
    let binary = binary::path()?;
    let answer = router.edge().run(|| {
        let mut command = words("setpriv --bounding-set -all --inh-caps -all");
        command.arg(binary).arg("--bpffs").arg(&router.bpffs).args(["policy", "test", &file, "--json"]);
        Answer::of(&mut command)
    })?;
    let answer = answer.expect(1)?;
    assert_eq!(answer.json()?["error"]["code"], "privilege");
    answer.complains(&["CAP_BPF"])?;
    Ok(())
}

/// A packet in a packet, given in bytes, is one that is made here, where the policy marks such by what is inside.
#[test]
fn a_packet_in_a_packet_is_explained_by_what_is_inside() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = "[interface.wan0]\nouter = \"tunnels\"\n[remark.tunnels]\nEF = \"AF41\"\nother = \"keep\"\n";
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {}", router.policy("outer", policy)?))?;
    for tunnelled in qos_vectors::tunnels::all() {
        let (name, bytes) = (tunnelled.name, hex(&tunnelled.frame(&[])));
        let document = router.ok(&format!("policy explain wan0:egress --json --hex {bytes}"))?.json()?;
        let by = &document["decided_by"];
        let said = (&by["kind"], &by["inner"], &by["table"], &by["entry"], &document["after"]);
        let (kind, inner, table, entry, after) = match tunnelled.inner {
            Some(_) => (json!("outer"), json!(46), json!("tunnels"), json!("EF"), json!(34)),
            None => (json!("nobody"), Value::Null, Value::Null, Value::Null, json!(8)),
        };
        assert_eq!(said, (&kind, &inner, &table, &entry, &after), "{name}: {document:#}");
    }
    let bytes = hex(&qos_vectors::tunnels::all()[0].frame(&[]));
    let answer = router.ok(&format!("policy explain wan0:egress --hex {bytes}"))?;
    answer.says(&["outer table tunnels, by EF inside, entry EF", "CS1 -> AF41   ECN ECT(0) kept"])?;
    router.ok("policy show")?.says(&["OUTER", "tunnels", "DSCP INSIDE", "-> AF41", "as inside"])?;
    Ok(())
}
