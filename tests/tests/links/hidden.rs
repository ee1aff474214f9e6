//! What TC sees of a tunnel's packets on this kernel: `attach` takes the hooks where that is the packet, and no others.

use anyhow::{Context as _, ensure};
use qos_common::locate::Link;
use qosbpf::{
    hook::{Direction, Via},
    kernel::object::{Program, Specialisation},
};
use qosbpf_tests::{
    features::left_out,
    kernel::Kernel,
    lab,
    router::{Router, run_in},
    tagged::Tagged,
    tally::Tally,
    udp::{self, Listener},
};

use super::{
    devices::{AF41, COUNT, EF, Kind, LAYER3, PAYLOAD, V4, give_addresses, place, with_device},
    outer::outermost,
};

const UNDERLAY: [&str; 2] = ["198.51.100.1", "198.51.100.2"];

/// Datagrams over IPv4 out of the tunnel, or into it; where it is known not to deliver them, nobody waits for that.
fn send(router: &Router, direction: Direction, delivered: bool) -> anyhow::Result<()> {
    let (own, peer) = (place(V4[0], 7000)?, place(V4[1], 7001)?);
    let (from, at, to, ds) = match direction {
        Direction::Egress => (router.edge(), router.lab().wan(), peer, EF),
        Direction::Ingress => (router.lab().wan(), router.edge(), own, AF41),
    };
    let there = Listener::bind(at, to)?;
    udp::send(from, place(V4[usize::from(direction == Direction::Ingress)], 7002)?, to, ds, COUNT)?;
    for _ in 0..if delivered { COUNT } else { 0 } {
        there.receive()?;
    }
    Ok(())
}

/// Whether a program that nobody has refused counts there what was sent, and nothing else.
fn sees_packets(router: &Router, direction: Direction, delivered: bool) -> anyhow::Result<bool> {
    let tally = router.edge().run(|| {
        let mut kernel = Kernel::load(Program::Tc(direction), &Specialisation::counting(Link::Layer3))?;
        kernel.attach_by(Via::Clsact, "t0", lab::index("t0")?)?;
        send(router, direction, delivered)?;
        Ok(Tally::from(&kernel.counts()?))
    })?;
    run_in(router.edge(), "tc qdisc del dev t0 clsact")?;
    ensure!(tally.frames() >= COUNT as u64, "{direction}: a program saw {tally:?}");
    let sum = [COUNT as u64, (COUNT * (20 + 8 + PAYLOAD)) as u64];
    let ds = if direction == Direction::Egress { EF } else { AF41 };
    Ok(tally.v4.get(&ds) == Some(&sum) && tally.malformed == [0, 0])
}

/// `attach` refuses a direction with these words if TC does not see packets there, and takes it if TC does; `expected` is
/// what is known of a new kernel. Says whether it does.
fn refuses(router: &Router, direction: Direction, expected: &[&str], delivered: bool) -> anyhow::Result<bool> {
    let sees = sees_packets(router, direction, delivered)?;
    let attached = router.ask(&format!("attach t0 --{direction} --hook clsact"))?;
    ensure!(sees == (attached.code == 0), "{direction}: TC sees packets: {sees}, and {attached:?}");
    if sees {
        router.ok("detach t0")?;
        ensure!(expected.is_empty(), "{direction}: this kernel shows packets");
        return Ok(true);
    }
    let why = if expected.is_empty() { &["before Linux 5.14 the ingress of a tunnel"][..] } else { expected };
    attached.expect(1)?.complains(why)?;
    Ok(false)
}

/// The router's end anew: without a fixed remote end, which a neighbour's link-layer address is for each packet.
fn without_remote(router: &Router, make: &str, neighbour: &str) -> anyhow::Result<()> {
    let edge = router.edge();
    for line in ["link del t0", make, "link set t0 up"] {
        run_in(edge, &format!("ip {line}"))?;
    }
    give_addresses(edge, &LAYER3, 0)?;
    run_in(edge, &format!("ip neigh replace {} lladdr {neighbour} dev t0 nud permanent", V4[1])).map(drop)
}

#[test]
fn gre_without_a_fixed_remote_end() -> anyhow::Result<()> {
    let make = "link add t0 type gre local {OWN} remote {PEER} key 1";
    let kind = Kind { name: "gre without a fixed remote end", make, ..LAYER3 };
    with_device(&kind, |router, hook| {
        let make = format!("link add t0 type gre local {} key 1 tos inherit", UNDERLAY[0]);
        without_remote(router, &make, UNDERLAY[1])?;
        let why = "of GRE without a fixed remote end is";
        refuses(router, Direction::Ingress, &[why, "egress of where it leaves", "made with `remote`"], true)?;
        refuses(router, Direction::Egress, &[why, "ingress of where it came in", "made with `remote`"], true)?;
        let policy = "[interface.t0]\negress = \"t\"\n[remark.t]\nother = \"EF\"\n";
        let policy = router.policy("hidden", policy)?;
        router.ask(&format!("policy apply --attach {policy}"))?.expect(1)?.complains(&[why])?;
        router.ok("status")?.says(&["nothing is attached"])?;
        outer_header_is_marked(router, hook)
    })
}

/// Without `tos inherit` what TC sees at egress is not the packet, but is sent: it counts, and is remarked.
fn outer_header_is_marked(router: &Router, hook: &str) -> anyhow::Result<()> {
    without_remote(router, &format!("link add t0 type gre local {} key 1 tos 0x48", UNDERLAY[0]), UNDERLAY[1])?;
    let policy = "[interface.t0]\negress = \"t\"\nlocal = \"policy\"\n[remark.t]\nAF21 = \"CS5\"\nother = \"keep\"\n";
    router.ok(&format!("attach t0 --egress --hook {hook} --policy {}", router.policy("outer", policy)?))?;
    let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
    send(router, Direction::Egress, true)?;
    let gre = wire.receive_until(|frame| frame.get(23) == Some(&47))?;
    ensure!(outermost(&gre)?.0 == 40, "the outer header left with {:?}", outermost(&gre)?);
    let counted = router.counted("t0:egress")?;
    ensure!(counted.remarked.get(&(18, 40)).map(|sum| sum[0]) == Some(COUNT as u64), "{counted:?}");
    router.ok("detach t0").map(drop)
}

#[test]
fn gre_whose_remote_ends_routes_know() -> anyhow::Result<()> {
    let make = "link add t0 type gre local {OWN} remote {PEER} key 1";
    with_device(&Kind { name: "gre by external", make, ..LAYER3 }, |router, _| {
        let lines = [
            "link del t0".to_owned(),
            "link add t0 type gre external".to_owned(),
            "link set t0 up".to_owned(),
            format!("address add {}/32 dev t0", V4[0]),
            format!("route add {}/32 encap ip id 1 key dst {} src {} dev t0", V4[1], UNDERLAY[1], UNDERLAY[0]),
        ];
        lines.iter().try_for_each(|line| run_in(router.edge(), &format!("ip {line}")).map(drop))?;
        refuses(router, Direction::Egress, &[], true)?;
        refuses(router, Direction::Ingress, &[], true).map(drop)
    })
}

/// The kernel puts the header of a neighbour on, and then another one: what the other end makes of that is not asked.
#[test]
fn ip6gre_without_a_fixed_remote_end() -> anyhow::Result<()> {
    let make = "link add t0 type ip6gre local {OWN} remote {PEER} dev {LOWER} key 1";
    let kind = Kind { name: "ip6gre without a fixed remote end", make, over_v6: true, ..LAYER3 };
    with_device(&kind, |router, _| {
        let neighbour = "20:01:0d:b8:00:02:00:00:00:00:00:00:00:00:00:02";
        without_remote(router, "link add t0 type ip6gre local 2001:db8:2::1 dev wan0 key 1", neighbour)?;
        let at_ingress = refuses(router, Direction::Ingress, &[], true)?;
        let elsewhere =
            if at_ingress { "attach --ingress t0; what leaves" } else { "  what leaves is seen at the ingress" };
        let why = ["of GRE without a fixed remote end is", elsewhere, "made with `remote`"];
        refuses(router, Direction::Egress, &why, false).map(drop)
    })
}

/// What both ends know of each other, as `ip xfrm` is told; {OWN} and {PEER} are the ends, {ID} ties it to the device.
const IPSEC: &str = "\
    state add src {OWN} dst {PEER} proto esp spi {OUT} reqid 7 mode tunnel {STATE} {KEYS}\n\
    state add src {PEER} dst {OWN} proto esp spi {IN} reqid 7 mode tunnel {STATE} {KEYS}\n\
    policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir out {ID} tmpl src {OWN} dst {PEER} proto esp reqid 7 mode tunnel\n\
    policy add src 0.0.0.0/0 dst 0.0.0.0/0 dir in {ID} tmpl src {PEER} dst {OWN} proto esp reqid 7 mode tunnel";

const KEYS: &str = "enc cbc(aes) 0x000102030405060708090a0b0c0d0e0f auth hmac(sha256) \
    0x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Tells both ends; why not, if this kernel has no ESP.
fn encrypt(router: &Router, id: &str, state: &str) -> anyhow::Result<Option<String>> {
    for (end, namespace) in [router.edge(), router.lab().wan()].into_iter().enumerate() {
        for line in IPSEC.lines() {
            let line = line.replace("{OWN}", UNDERLAY[end]).replace("{PEER}", UNDERLAY[1 - end]);
            let line = line.replace("{OUT}", ["0x71", "0x72"][end]).replace("{IN}", ["0x72", "0x71"][end]);
            let line = line.replace("{ID}", id).replace("{STATE}", state).replace("{KEYS}", KEYS);
            match run_in(namespace, &format!("ip xfrm {line}")) {
                Err(error) if is_unsupported(&format!("{error:#}")) => return Ok(Some(format!("{error:#}"))),
                done => done.context(line)?,
            };
        }
    }
    Ok(None)
}

fn is_unsupported(said: &str) -> bool {
    // A kernel without ESP, without an algorithm of it, or without the family of netlink.
    ["not supported", "not implemented", "not found", "No such file", "unable to initialize"]
        .iter()
        .any(|lack| said.contains(lack))
}

/// What is decrypted keeps the link header of the Ethernet below; what is not encrypted yet has none.
fn ipsec(kind: &Kind, id: &str, state: &str) -> anyhow::Result<()> {
    with_device(&Kind { carries: &[&V4], ..*kind }, |router, _| {
        if let Some(why) = encrypt(router, id, state)? {
            left_out(&format!("what is decrypted at {} devices", kind.name), why.lines().last().unwrap_or_default());
            return Ok(());
        }
        let why = ["at the ingress of an IPsec device may be the link header", "attach --egress t0; what comes in"];
        refuses(router, Direction::Ingress, &why, true)?;
        refuses(router, Direction::Egress, &[], true).map(drop)
    })
}

#[test]
fn xfrm() -> anyhow::Result<()> {
    let make = "link add t0 type xfrm dev {LOWER} if_id 7";
    ipsec(&Kind { name: "xfrm", make, ..LAYER3 }, "if_id 7", "if_id 7")
}

#[test]
fn vti() -> anyhow::Result<()> {
    let make = "link add t0 type vti local {OWN} remote {PEER} key 7";
    ipsec(&Kind { name: "vti", make, ..LAYER3 }, "mark 7", "")
}
