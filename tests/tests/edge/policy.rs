//! The whole policy of an edge, on real packets of both families, as the far end sees them.

use std::net::{IpAddr, SocketAddr};

use qos_vectors::frame::{self, Ipv4, ether_type, protocol};
use qosbpf::lab::topology::{EDGE_WAN, LAN_HOST, WAN_HOST};
use qosbpf_tests::{lab::Injector, router::run_in, udp, wire::Tcpdump};

use crate::masquerade::{Masquerade, PBX};

const EXAMPLE: &str = include_str!("../../../docs/examples/edge-full.toml");

const EF: u8 = 0xb8;
const CS6: u8 = 0xc0;

/// The example of the documentation, with the addresses of the lab.
fn start() -> anyhow::Result<Masquerade> {
    let lab = Masquerade::start()?;
    let text = EXAMPLE
        .replace("10.20.0.0/24", &format!("{}/32", PBX.0))
        .replace("2001:db8:20::/64", &format!("{}/128", PBX.1));
    let policy = lab.router.folder().join("edge.toml");
    std::fs::write(&policy, text)?;
    for hook in ["lan0 --ingress", "ppp0", "wan0.832 --egress"] {
        lab.router.ok(&format!("attach {hook}"))?;
    }
    lab.router.ok(&format!("policy apply {}", policy.display()))?;
    Ok(lab)
}

#[test]
fn a_phone_keeps_ef_and_anybody_else_loses_it() -> anyhow::Result<()> {
    let lab = start()?;
    let hosts: [(IpAddr, IpAddr); 2] = [(PBX.0.into(), LAN_HOST.v4.into()), (PBX.1.into(), LAN_HOST.v6.into())];
    for (pbx, host) in hosts {
        assert_eq!(lab.arrive(5004, 10, || lab.send(pbx, 5004, EF, 10))?, vec!["0xb8"; 10]);
        assert_eq!(lab.arrive(5004, 10, || lab.send(host, 5004, EF, 10))?, vec!["0x0"; 10]);
        assert_eq!(lab.arrive(5004, 4, || lab.send(host, 5004, EF | 2, 4))?, vec!["0x2"; 4], "ECN stays");
        assert_eq!(lab.arrive(3479, 5, || lab.send(host, 3479, 0, 5))?, vec!["0xb8"; 5], "a call that came unmarked");
    }
    assert_eq!(lab.hits("lan0:ingress", "EF only from the PBX")?, Some(28));
    assert_eq!(lab.hits("lan0:ingress", "calls that arrive unmarked")?, Some(10));
    Ok(())
}

#[test]
fn icmp_and_tcp_are_translated_by_the_tables() -> anyhow::Result<()> {
    let lab = start()?;
    // Transit CS6 becomes DF where it comes in, bulk where it goes out; AF41 is nobody's business.
    for (tos, expected) in [(CS6, "tos 0x0,"), (0x20, "tos 0x0,"), (0x04, "tos 0x0,"), (0x68, "tos 0x68,")] {
        let wire = Tcpdump::start(lab.router.lab().wan(), "eth0", 3, "icmp[0] == 8")?;
        lab.router.ping(false, tos, 3)?;
        let packets = wire.packets()?;
        assert!(packets.len() == 3 && packets.iter().all(|packet| packet.contains(expected)), "{tos:#x}: {packets:#?}");
    }
    Ok(())
}

#[test]
fn the_router_s_own_routing_protocol_keeps_cs6() -> anyhow::Result<()> {
    let lab = start()?;
    let (from, to) = (SocketAddr::new(EDGE_WAN.v4.into(), 0), SocketAddr::new(WAN_HOST.v4.into(), 3784));
    let arrived = lab.arrive(3784, 5, || udp::send(lab.router.edge(), from, to, CS6, 5))?;
    assert_eq!(arrived, vec!["0xc0"; 5]);
    let stats = lab.stats("ppp0:egress")?;
    assert_eq!(stats["protected"]["packets"], 5, "{stats:#}");
    Ok(())
}

#[test]
fn dhcp_from_a_raw_socket_leaves_with_cs6() -> anyhow::Result<()> {
    let lab = start()?;
    let discover = Ipv4 { protocol: protocol::UDP, ..Ipv4::default() };
    let mut datagram = frame::udp(&[0; 200]);
    datagram[..4].copy_from_slice(&[0, 68, 0, 67]);
    let frame = frame::ethernet(&[], ether_type::IPV4, &discover.packet(&datagram));
    let wire = Tcpdump::start(lab.router.lab().wan(), "access", 4, "udp dst port 67")?;
    lab.router.edge().run(|| {
        let raw = Injector::open("wan0.832")?;
        (0..4).try_for_each(|_| Ok(raw.send(&frame)?))
    })?;
    let packets = wire.packets()?;
    assert!(packets.len() == 4 && packets.iter().all(|packet| packet.contains("tos 0xc0,")), "{packets:#?}");
    assert_eq!(lab.hits("wan0.832:egress", "DHCP as the provider wants it")?, Some(4));
    Ok(())
}

#[test]
fn video_within_its_rate_is_af41_and_what_came_red_stays_so() -> anyhow::Result<()> {
    let lab = start()?;
    for (ds, expected) in [(0x88, "0x88"), (0x90, "0x90"), (0x98, "0x98")] {
        assert_eq!(lab.arrive(6000, 20, || lab.send(LAN_HOST.v4.into(), 6000, ds, 20))?, vec![expected; 20]);
    }
    let stats = lab.stats("ppp0:egress")?;
    let meter = &stats["meters"][0];
    assert_eq!(meter["rule"], "video, color-marked");
    // 100 bytes of payload, UDP and IP.
    for color in ["green", "yellow", "red"] {
        assert_eq!([&meter[color]["packets"], &meter[color]["ip_bytes"]], [20, 20 * 128], "{color}: {stats:#}");
    }
    Ok(())
}

#[test]
fn a_burst_above_all_rates_leaves_in_three_colors_that_add_up() -> anyhow::Result<()> {
    let lab = start()?;
    // 3,000 packets of 128 bytes are 384 kB in some milliseconds: C and P hold 64 kB each.
    lab.send(LAN_HOST.v4.into(), 6001, 0x88, 3000)?;
    let stats = lab.stats("ppp0:egress")?;
    let of = |color: &str| stats["meters"][0][color]["packets"].as_u64().unwrap_or(0);
    let after = |dscp: u64| {
        let rows = stats["after"].as_array().into_iter().flatten();
        rows.clone().find(|row| row["dscp"] == dscp).and_then(|row| row["packets"].as_u64()).unwrap_or(0)
    };
    assert_eq!(of("green") + of("yellow") + of("red"), 3000, "{stats:#}");
    assert_eq!([of("green"), of("yellow"), of("red")], [after(34), after(36), after(38)], "{stats:#}");
    assert!(of("green") >= 500 && of("red") > 0, "{stats:#}");
    assert_eq!(stats["rules"][0]["packets"], 3000);
    Ok(())
}

#[test]
fn everything_is_told_by_show_and_by_every_format() -> anyhow::Result<()> {
    let lab = start()?;
    lab.send(LAN_HOST.v4.into(), 5004, EF, 3)?;
    lab.router.ok("policy show lan0:ingress")?.says(&[
        "EF only from the PBX (edge.toml:",
        "-> DF",
        "! never hit",
        "why lan0:ingress 'calls that arrive unmarked'",
    ])?;
    lab.router.ok("policy show ppp0:egress")?.says(&[
        "trtcm cir 8M cbs 64k pir 12M pbs 64k",
        "green, conformed",
        "-> AF43",
        "table to-isp local: keep-control",
        "dropped after our count",
    ])?;
    lab.router.ok("stats lan0:ingress")?.says(&["3 -> DF  rule: EF only from the PBX"])?;
    let metrics = lab.router.ok("stats --prometheus")?.stdout;
    for series in [
        "qosbpf_rule_packets_total{device=\"lan0\",direction=\"ingress\",rule=\"EF only from the PBX\"} 3\n",
        "qosbpf_meter_packets_total{device=\"ppp0\",direction=\"egress\",rule=\"video, color-marked\",color=\"red\"} 0\n",
        "qosbpf_meter_ip_bytes_total{device=\"ppp0\",direction=\"egress\",rule=\"video, color-marked\",color=\"green\"} 0\n",
    ] {
        assert!(metrics.contains(series), "{series}{metrics}");
    }
    let csv = lab.router.ok("stats --csv")?.stdout;
    assert!(csv.contains(",rule,") && csv.contains("EF only from the PBX,3,"), "{csv}");
    run_in(lab.router.edge(), "true").map(drop)
}

/// Behind masquerade every source at the WAN is the router's own, so a rule that asks for another one there never matches.
#[test]
fn apply_warns_of_a_source_that_masquerade_has_changed() -> anyhow::Result<()> {
    let edge = Masquerade::start()?;
    edge.router.ok("attach ppp0 --egress --hook tcx")?;
    let rule = |on: &str| {
        format!("[[rule]]\nname = \"phones\"\non = \"{on}\"\nmatch = {{ src = \"192.0.2.0/24\" }}\nset = \"EF\"\n")
    };
    let late = edge.router.policy("late", &rule("ppp0:egress"))?;
    let warned = edge.router.ok(&format!("policy apply {late}"))?;
    warned.says(&["! rule \"phones\" looks at src at ppp0:egress, which is after source NAT"])?;
    let warned = edge.router.ok(&format!("policy apply {late} --json"))?.json()?;
    assert_eq!(warned["warnings"].as_array().map(Vec::len), Some(1), "{warned:#}");
    let early = edge.router.policy("early", &rule("lan0:ingress"))?;
    let fine = edge.router.ok(&format!("policy apply {early} --prune --json"))?.json()?;
    assert_eq!(fine["warnings"].as_array().map(Vec::len), Some(0), "{fine:#}");
    Ok(())
}
