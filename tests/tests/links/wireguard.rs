//! WireGuard, of which nothing can be seen outside but the mark of its device: by that its packets are marked, one device for
//! each class.

use anyhow::ensure;
use qosbpf_tests::{
    hex,
    router::{Router, run_in},
    tagged::Tagged,
    udp::{self, Listener},
    wireguard,
};

use super::{
    devices::{Kind, LAYER3, V4, V6, place, with_device},
    outer::{FROM, TO, hits, outermost},
};

const DEVICE: &str = "link add t0 type wireguard";

/// The device's own mark is all that is left of a packet at the physical device: the DSCP is not copied, nor is the mark of
/// the packet that goes in.
#[test]
fn wireguard_leaves_its_own_mark_and_no_more() -> anyhow::Result<()> {
    const RULES: &str = "[[rule]]\nname = \"into it\"\non = \"t0:egress\"\nmatch = { dscp = \"EF\" }\n\
        mark = \"0x2e00/0xff00\"\n\
        [[rule]]\nname = \"its own mark\"\non = \"wan0:egress\"\nmatch = { mark = \"0x77/0xff\" }\nset = \"CS3\"\n\
        [[rule]]\nname = \"a mark that came through\"\non = \"wan0:egress\"\n\
        match = { mark = \"0x2e00/0xff00\" }\nset = \"AF41\"\n";
    let kind = Kind { name: "wireguard and marks", make: DEVICE, ..LAYER3 };
    with_device(&kind, |router, hook| {
        wireguard::join(router, "t0", wireguard::PORT)?;
        router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        router.ok(&format!("attach t0 --egress --hook {hook}"))?;
        router.ok(&format!("policy apply {}", router.policy("marks", RULES)?))?;
        let (own, peer) = (place(V4[0], FROM)?, place(V4[1], TO)?);
        let there = Listener::bind(router.lab().wan(), peer)?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        for (mark, dscp) in [(0, 0), (0x77, 24)] {
            wireguard::set_mark(router.edge(), "t0", mark)?;
            udp::send_long(router.edge(), own, peer, 0xb8, 1, BYTES)?;
            ensure!(there.receive()? == 0xb8, "what is inside stays as it is");
            let data = wire.receive_until(is_ours)?;
            ensure!(outermost(&data)?.0 == dscp, "mark {mark:#x}: {}", hex(&data[..42]));
        }
        ensure!(hits(router, "a mark that came through")? == 0, "WireGuard keeps the mark");
        Ok(())
    })
}

/// More than anything that a device sends by itself: what keeps a peer, and tells of multicast groups.
const BYTES: usize = 300;

/// Whether a frame has one of our datagrams in it.
fn is_ours(frame: &[u8]) -> bool {
    frame.get(42) == Some(&4) && frame.len() > 42 + 32 + BYTES
}

/// The class of its own device, at the port after the other one's.
const CALLS: &str = "wg1";
const CALLS_PORT: u16 = wireguard::PORT + 1;

/// As docs/links.md has it: EF is led to a device of its own, which is told by its mark.
const CLASSES: &str = "[[rule]]\nname = \"calls, for the routing rule\"\non = \"lan0:ingress\"\n\
    match = { dscp = \"EF\", family = \"ipv4\" }\nmark = \"0x100/0x100\"\n\
    [[rule]]\nname = \"calls in WireGuard\"\non = \"wan0:egress\"\n\
    match = { mark = \"0x2e/0xff\", origin = \"local\", proto = \"udp\" }\nset = \"EF\"\n";

/// Makes the second device at both ends, and leads EF to it: IPv4 by a mark, IPv6 by its DSCP.
fn lead_calls(router: &Router) -> anyhow::Result<()> {
    let edge = router.edge();
    for namespace in [edge, router.lab().wan()] {
        run_in(namespace, &format!("ip link add {CALLS} type wireguard"))?;
        run_in(namespace, &format!("ip link set {CALLS} up"))?;
    }
    wireguard::join(router, CALLS, CALLS_PORT)?;
    wireguard::set_mark(edge, CALLS, 0x2e)?;
    for line in [
        &format!("-4 route add default dev {CALLS} table 46"),
        &format!("-6 route add default dev {CALLS} table 46"),
        "-4 rule add fwmark 0x100/0x100 table 46",
        "-6 rule add dsfield 0xb8 table 46",
    ] {
        run_in(edge, &format!("ip {line}"))?;
    }
    Ok(())
}

#[test]
fn a_wireguard_device_for_calls_is_told_by_its_mark_outside() -> anyhow::Result<()> {
    let kind = Kind { name: "wireguard by class", make: DEVICE, ..LAYER3 };
    with_device(&kind, |router, hook| {
        wireguard::join(router, "t0", wireguard::PORT)?;
        lead_calls(router)?;
        router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        let policy = router.policy("classes", CLASSES)?;
        router.ok(&format!("policy apply --attach {policy}"))?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        for (from, to) in [("192.0.2.2", V4[1]), ("2001:db8:1::2", V6[1])] {
            let there = Listener::bind(router.lab().wan(), place(to, TO)?)?;
            for (ds, port, outside) in [(0xb8, CALLS_PORT, 46), (0x88, wireguard::PORT, 0), (0, wireguard::PORT, 0)] {
                udp::send_long(router.lab().lan(), place(from, FROM)?, place(to, TO)?, ds, 1, BYTES)?;
                ensure!(there.receive()? == ds, "what is inside stays as it is");
                let data = wire.receive_until(is_ours)?;
                let left = (u16::from_be_bytes([data[36], data[37]]), outermost(&data)?.0);
                ensure!(left == (port, outside), "{ds:#x} from {from}: {left:?}, {}", hex(&data[..42]));
            }
        }
        ensure!(hits(router, "calls, for the routing rule")? == 1);
        Ok(())
    })
}
