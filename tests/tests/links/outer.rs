//! Outer headers that the router makes, marked by what is inside: RFC 2983 at the physical device.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    thread,
};

use anyhow::{Context as _, bail, ensure};
use nix::sys::socket::{setsockopt, sockopt};
use qos_vectors::checksum;
use qosbpf_tests::{
    features, hex,
    router::{Router, run_in},
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

/// The ports of what is sent, as they lie in a packet.
pub(super) const FROM: u16 = 7002;
pub(super) const TO: u16 = 7001;

pub(super) const UNIFORM: &str = "[interface.wan0]\nouter = \"uniform\"\n[remark.uniform]\nother = \"keep\"\n";

const VXLAN: &str = "link add t0 type vxlan id 7 dstport 4789 local {OWN} remote {PEER} dev {LOWER}";

/// DSCP and ECN of the outer header of the next frame that has one of our datagrams in it.
fn next(wire: &Tagged) -> anyhow::Result<(u8, u8)> {
    let ports = [FROM.to_be_bytes(), TO.to_be_bytes()].concat();
    outermost(&wire.receive_until(|frame| frame.windows(4).any(|bytes| bytes == ports))?)
}

/// DSCP and ECN outside; the checksum has to be right.
pub(super) fn outermost(frame: &[u8]) -> anyhow::Result<(u8, u8)> {
    let ds = match frame.get(12..14).context("an Ethernet header")? {
        [0x08, 0x00] => {
            let length = usize::from(*frame.get(14).context("an IPv4 header")? & 15) * 4;
            let header = frame.get(14..14 + length).context("an IPv4 header")?;
            ensure!(checksum::error_of_ipv4_header(header) == 0, "the checksum of {}", hex(header));
            header[1]
        }
        [0x86, 0xdd] => frame[14] << 4 | frame[15] >> 4,
        _ => bail!("neither IPv4 nor IPv6: {}", hex(frame)),
    };
    Ok((ds >> 2, ds & 3))
}

/// Sends through the tunnel, both families and several marks, under each table.
fn marks(kind: &Kind) -> anyhow::Result<()> {
    with_device(kind, |router, hook| {
        router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        for (name, table, expected) in TABLES {
            let text = format!("[interface.wan0]\nouter = \"{name}\"\n[remark.{name}]\n{table}\n");
            router.ok(&format!("policy apply {}", router.policy(name, &text)?))?;
            let earlier = router.counted("wan0:egress")?;
            for addresses in kind.carries {
                through(router, &wire, addresses, expected).with_context(|| name.to_owned())?;
            }
            let moved = router.counted("wan0:egress")?.since(&earlier);
            let sent = (MARKS.len() * kind.carries.len()) as u64;
            ensure!(moved.packets().values().sum::<u64>() >= sent, "{sent} were sent: {moved:?}");
        }
        router.ok("status")?.says(&["active", "marks outer headers"])?;
        Ok(())
    })
}

fn through(router: &Router, wire: &Tagged, addresses: &[&str; 2], expected: [u8; 3]) -> anyhow::Result<()> {
    let (own, peer) = (place(addresses[0], FROM)?, place(addresses[1], TO)?);
    let there = Listener::bind(router.lab().wan(), peer)?;
    for (ds, dscp) in MARKS.into_iter().zip(expected) {
        udp::send(router.edge(), own, peer, ds, 1)?;
        ensure!(there.receive()? == ds, "what is inside stays as it is");
        let left = next(wire)?;
        ensure!(left == (dscp, ds & 3), "{ds:#x} inside: the outer header left with {left:?}");
    }
    Ok(())
}

#[test]
fn vxlan() -> anyhow::Result<()> {
    marks(&Kind { name: "vxlan", make: VXLAN, ..ETHERNET })
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

/// Linux takes the ECN field over here together with the DSCP or not at all.
#[test]
fn ip6gre() -> anyhow::Result<()> {
    let make = "link add t0 type ip6gre local {OWN} remote {PEER} dev {LOWER} tclass inherit";
    marks(&Kind { name: "ip6gre", make, over_v6: true, ..LAYER3 })
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

/// Only the first fragment of an outer packet shows what is inside; the others are the table's of the egress.
#[test]
fn a_later_fragment_keeps_to_the_egress() -> anyhow::Result<()> {
    with_device(&Kind { name: "vxlan in fragments", make: VXLAN, ..ETHERNET }, |router, hook| {
        let text = UNIFORM.replace("outer =", "egress = \"rest\"\nouter =") + "[remark.rest]\nother = \"LE\"\n";
        router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        router.ok(&format!("policy apply {}", router.policy("outer", &text)?))?;
        // The tunnel's own MTU stays as it was.
        run_in(router.edge(), "ip link set wan0 mtu 1300")?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        let (own, peer) = (place(V4[0], FROM)?, place(V4[1], TO)?);
        let there = Listener::bind(router.lab().wan(), peer)?;
        udp::send_long(router.edge(), own, peer, 0xb8, 1, 1400)?;
        ensure!(there.receive()? == 0xb8, "what is inside is put together again");
        ensure!(next(&wire)? == (46, 0), "the first fragment");
        let later = wire.receive_until(|frame| frame.len() > 100)?;
        let offset = u16::from_be_bytes([later[20], later[21]]) & 0x1fff;
        ensure!(offset != 0 && outermost(&later)? == (1, 0), "a later fragment: {}", hex(&later[..34]));
        Ok(())
    })
}

/// Whoever binds the table to the tunnel's device, and not to the one below, is told.
#[test]
fn at_the_tunnel_device_it_is_misplaced() -> anyhow::Result<()> {
    with_device(&Kind { name: "vxlan with a misplaced table", make: VXLAN, ..ETHERNET }, |router, hook| {
        let misplaced = router.policy("misplaced", &UNIFORM.replace("wan0", "t0"))?;
        let attached = router.ok(&format!("attach t0 --egress --hook {hook} --policy {misplaced}"))?;
        attached.complains(&["! t0 is a vxlan device", "outer = \"uniform\" belongs to the device below"])?;
        router.ok(&format!("policy apply {misplaced}"))?.says(&["! t0 is a vxlan device"])?;
        router.ok("detach --all")?;
        router.ok("attach wan0 --egress")?;
        let applied = router.ok(&format!("policy apply {}", router.policy("outer", UNIFORM)?))?;
        ensure!(!applied.stdout.contains("device below"), "{}", applied.stdout);
        Ok(())
    })
}

/// A LAN's packet is the router's own once it is in a tunnel, where the kernel forgets by then where it came in.
fn for_a_lan(kind: &Kind) -> anyhow::Result<()> {
    const STILL: &str = "[[rule]]\nname = \"still of the LAN\"\non = \"wan0:egress\"\nmatch = { from = \"lan0\" }\n\
        count = true\n";
    with_device(kind, |router, hook| {
        router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        router.ok(&format!("policy apply {}", router.policy("outer", &format!("{UNIFORM}{STILL}"))?))?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        udp::send(router.lab().lan(), place("192.0.2.2", FROM)?, place(V4[1], TO)?, 0xb8, 1)?;
        let left = next(&wire)?;
        if hits(router, "still of the LAN")? > 0 {
            features::left_out(kind.name, "this kernel remembers where a tunnel's packet came in");
            ensure!(left == (0, 0), "what is not made here left with {left:?}");
        } else {
            ensure!(left == (46, 0), "what was forwarded into the tunnel left with {left:?}");
        }
        Ok(())
    })
}

/// How many packets a rule has counted.
pub(super) fn hits(router: &Router, rule: &str) -> anyhow::Result<u64> {
    let shown = router.ok("policy show --json")?.json()?;
    let mut rules = shown["hooks"].as_array().context("hooks")?.iter().filter_map(|hook| hook["rules"].as_array());
    let found = rules.find_map(|rules| rules.iter().find(|found| found["rule"] == rule)).context("the rule")?;
    found["packets"].as_u64().context("its packets")
}

#[test]
fn a_packet_of_the_lan_in_a_tunnel_over_ipv4() -> anyhow::Result<()> {
    for_a_lan(&Kind { name: "vxlan for a LAN", make: VXLAN, ..ETHERNET })
}

#[test]
fn a_packet_of_the_lan_in_a_tunnel_over_ipv6() -> anyhow::Result<()> {
    let kind = Kind { name: "vxlan over IPv6 for a LAN", make: VXLAN, over_v6: true, ..ETHERNET };
    for_a_lan(&kind)
}

/// Super-packets too: what is inside of them is one packet, and so are its segments.
#[test]
fn a_stream_through_a_tunnel() -> anyhow::Result<()> {
    const BYTES: usize = 4_000_000;
    with_device(&Kind { name: "vxlan with a stream", make: VXLAN, ..ETHERNET }, |router, hook| {
        router.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        router.ok(&format!("policy apply {}", router.policy("outer", UNIFORM)?))?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        let there = router.lab().wan().run(|| Ok(TcpListener::bind(place(V4[1], TO)?)?))?;
        let mut out = router.edge().run(|| connect(place(V4[1], TO)?))?;
        let (mut came, _) = there.accept()?;
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            came.read_to_end(&mut bytes).map(|_| bytes)
        });
        let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        out.write_all(&sent)?;
        drop(out);
        ensure!(reader.join().ok().context("the reader")?? == sent, "the bytes that were sent");
        let counted = router.counted("wan0:egress")?;
        let [packets, bytes] = counted.remarked.get(&(0, 46)).copied().context("nothing was marked EF")?;
        ensure!(bytes > BYTES as u64 && bytes <= packets * 1514, "{packets} packets, {bytes} bytes");
        let large = wire.receive_until(|frame| frame.len() > 1600)?;
        ensure!(outermost(&large)?.0 == 46, "a super-packet: {}", hex(&large[..64]));
        Ok(())
    })
}

/// A connection in EF.
fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
    use std::os::fd::AsRawFd as _;
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket.as_fd(), sockopt::Ipv4Tos, &0xb8)?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(socket.into())
}

/// Segment routing is a tunnel without a device: the inner packet is behind a routing header (RFC 8754). What it makes of
/// the LAN's packets is still the LAN's to the kernel, and not made here.
#[test]
fn segment_routing() -> anyhow::Result<()> {
    let router = Router::start()?;
    let text = "[interface.wan0]\nouter = \"mapped\"\n[remark.mapped]\nEF = \"AF41\"\nother = \"keep\"\n";
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {}", router.policy("outer", text)?))?;
    let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
    let encap = "encap seg6 mode encap segs 2001:db8:2::2 dev wan0";
    for (family, to, from) in [("-4", "10.9.0.2", "198.51.100.1"), ("-6", "fd09::2", "2001:db8:2::1")] {
        match run_in(router.edge(), &format!("ip {family} route add {to} {encap}")) {
            Err(error) if ["not supported", "not enabled"].iter().any(|word| format!("{error:#}").contains(word)) => {
                features::left_out("segment routing", "the kernel was built without it");
                return Ok(());
            }
            added => drop(added?),
        }
        udp::send(router.edge(), place(from, FROM)?, place(to, TO)?, 0xb8, 1)?;
        ensure!(next(&wire)? == (34, 0), "made here, {family}");
    }
    udp::send(router.lab().lan(), place("192.0.2.2", FROM)?, place("10.9.0.2", TO)?, 0xb8, 1)?;
    ensure!(next(&wire)? == (0, 0), "of the LAN");
    Ok(())
}
