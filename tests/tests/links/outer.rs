//! Outer headers that the router makes, marked by what is inside: RFC 2983 at the physical device.

use anyhow::ensure;
use qos_vectors::{
    checksum,
    frame::{Ipv4, ethernet, protocol, udp as datagram},
};
use qosbpf_tests::{
    lab::Injector,
    router::Router,
    tagged::Tagged,
    udp::{self, Listener},
};

use super::devices::{BOTH, ETHERNET, Kind, LAYER3, V4, V6, place, with_device};

/// EF with ECT(1), AF31 with ECT(0), and network control.
const MARKS: [u8; 3] = [0xb9, 0x6a, 0xc0];

/// A table for outer headers, and what it makes of the marks above.
const TABLES: [(&str, &str, [u8; 3]); 2] = [
    ("uniform", "other = \"keep\"", [46, 26, 48]),
    ("mapped", "EF = \"AF41\"\nCS6 = \"CS2\"\nother = \"DF\"", [34, 0, 16]),
];

/// The DSCP and ECN of the outer header of a frame that came in by Ethernet.
fn outer(frame: &[u8]) -> Option<(u8, u8)> {
    let ds = match frame.get(12..16)? {
        [0x08, 0x00, _, ds] => *ds,
        [0x86, 0xdd, a, b] => a << 4 | b >> 4,
        _ => return None,
    };
    let tunnelled = |number: u8| ![protocol::ICMP, protocol::ICMPV6].contains(&number);
    let number = if frame[12] == 0x08 { frame.get(23)? } else { frame.get(20)? };
    tunnelled(*number).then_some((ds >> 2, ds & 3))
}

fn marks(kind: &Kind) -> anyhow::Result<()> {
    with_device(kind, |router, hook| {
        router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        for (name, table, expected) in TABLES {
            let text = format!("[interface.wan0]\nouter = \"{name}\"\n[remark.{name}]\n{table}\n");
            router.ok(&format!("policy apply {}", router.policy(name, &text)?))?;
            for addresses in kind.carries {
                let (own, peer) = (place(addresses[0], 7002)?, place(addresses[1], 7001)?);
                let there = Listener::bind(router.lab().wan(), peer)?;
                for (ds, dscp) in MARKS.into_iter().zip(expected) {
                    udp::send(router.edge(), own, peer, ds, 1)?;
                    ensure!(there.receive()? == ds, "what is inside stays as it is");
                    let left = next(&wire)?;
                    ensure!(left == (dscp, ds & 3), "{name}, {ds:#x}: the outer header left with {left:?}");
                }
            }
        }
        router.ok("status")?.says(&["active"])?;
        Ok(())
    })
}

/// The next frame that is no neighbour's question.
fn next(wire: &Tagged) -> anyhow::Result<(u8, u8)> {
    loop {
        if let Some(seen) = outer(&wire.receive()?.frame) {
            return Ok(seen);
        }
    }
}

#[test]
fn vxlan() -> anyhow::Result<()> {
    let make = "link add t0 type vxlan id 7 dstport 4789 local {OWN} remote {PEER} dev {LOWER}";
    marks(&Kind { name: "vxlan", make, ..ETHERNET })
}

#[test]
fn vxlan_over_ipv6() -> anyhow::Result<()> {
    let make = "link add t0 type vxlan id 7 dstport 8472 local {OWN} remote {PEER} dev {LOWER}";
    marks(&Kind { name: "vxlan over IPv6", make, over_v6: true, ..ETHERNET })
}

#[test]
fn ipip() -> anyhow::Result<()> {
    let make = "link add t0 type ipip local {OWN} remote {PEER}";
    marks(&Kind { name: "ipip", make, carries: &[&V4], ..LAYER3 })
}

#[test]
fn sit() -> anyhow::Result<()> {
    let make = "link add t0 type sit local {OWN} remote {PEER}";
    marks(&Kind { name: "sit", make, carries: &[&V6], ..LAYER3 })
}

#[test]
fn gre() -> anyhow::Result<()> {
    let make = "link add t0 type gre local {OWN} remote {PEER} key 7 csum seq";
    marks(&Kind { name: "gre", make, carries: BOTH, ..LAYER3 })
}

#[test]
fn gretap() -> anyhow::Result<()> {
    marks(&Kind { name: "gretap", make: "link add t0 type gretap local {OWN} remote {PEER}", ..ETHERNET })
}

#[test]
fn geneve() -> anyhow::Result<()> {
    marks(&Kind { name: "geneve", make: "link add t0 type geneve id 7 remote {PEER}", ..ETHERNET })
}

/// Its packets have a destination option, the limit of encapsulation (RFC 2473 section 4.1.1).
#[test]
fn ip6tnl() -> anyhow::Result<()> {
    let make = "link add t0 type ip6tnl mode any local {OWN} remote {PEER} dev {LOWER}";
    marks(&Kind { name: "ip6tnl", make, over_v6: true, ..LAYER3 })
}

/// A LAN's packet is the router's own once it is in a tunnel; a tunnel of the LAN itself is not.
#[test]
fn only_what_this_router_encapsulates() -> anyhow::Result<()> {
    let make = "link add t0 type vxlan id 7 dstport 4789 local {OWN} remote {PEER} dev {LOWER}";
    with_device(&Kind { name: "vxlan of others", make, ..ETHERNET }, |router, hook| {
        let text = "[interface.wan0]\nouter = \"uniform\"\n[remark.uniform]\nother = \"keep\"\n";
        router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        router.ok(&format!("policy apply {}", router.policy("outer", text)?))?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        udp::send(router.lab().lan(), "192.0.2.2:7002".parse()?, place(V4[1], 7001)?, 0xb8, 1)?;
        ensure!(next(&wire)? == (46, 0), "what was forwarded into the tunnel");
        let inner = Ipv4 { ds: 0xb8, ..Ipv4::default() }.packet(&datagram(b"inner"));
        let mut outer = Ipv4 { ds: 0x20, protocol: 4, ..Ipv4::default() }.packet(&inner);
        // From the LAN host to the WAN host.
        outer[12..20].copy_from_slice(&[192, 0, 2, 2, 198, 51, 100, 2]);
        let check = checksum::of_ipv4_header(&outer[..20]);
        outer[10..12].copy_from_slice(&check);
        let mut frame = ethernet(&[], 0x0800, &outer);
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2]);
        router.lab().lan().run(|| Ok(Injector::open("eth0")?.send(&frame)?))?;
        ensure!(next(&wire)? == (8, 0), "a tunnel of somebody else keeps its mark");
        Ok(())
    })
}
