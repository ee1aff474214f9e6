//! Devices that carry packets over a router's WAN: with and without a link header, stacked and encapsulating.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, ensure};
use qosbpf::lab::namespace::Namespace;
use qosbpf_tests::{
    features::{self, Feature},
    router::{Router, run_in},
    udp::{self, Listener},
    wireguard,
};

/// The addresses of the two ends: the router, and the WAN host.
pub(super) const V4: [&str; 2] = ["10.7.0.1", "10.7.0.2"];
pub(super) const V6: [&str; 2] = ["fd07::1", "fd07::2"];

pub(super) const COUNT: usize = 5;
pub(super) const PAYLOAD: usize = 100;
/// EF with ECT(1), and AF41 with ECT(0).
pub(super) const EF: u8 = 0xb9;
pub(super) const AF41: u8 = 0x8a;

/// Both directions of `t0`.
pub(super) const POLICY: &str = "[interface.t0]\negress = \"out\"\ningress = \"in\"\n\
    [remark.out]\nEF = \"AF41\"\nother = \"keep\"\n[remark.in]\nAF41 = \"EF\"\nother = \"keep\"\n";

/// A kind of device, made at both ends as `t0`.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub name: &'static str,
    /// A line for `ip` at the router, first; {WAN} is the namespace of the WAN host.
    pub pair: &'static str,
    /// Lines for `ip` at both ends, of which {OWN}, {PEER} and {LOWER} are addresses and the device below.
    pub make: &'static str,
    /// Which families it carries.
    pub carries: &'static [&'static [&'static str; 2]],
    /// Bytes of its link header.
    pub header: usize,
    /// The underlay's family.
    pub over_v6: bool,
}

pub(super) const BOTH: &[&[&str; 2]] = &[&V4, &V6];
pub(super) const LAYER3: Kind = Kind { name: "", pair: "", make: "", carries: BOTH, header: 0, over_v6: false };
pub(super) const ETHERNET: Kind = Kind { header: 14, ..LAYER3 };

/// Does `work` with a router that has the device, unless this kernel does not know it.
pub(super) fn with_device(kind: &Kind, work: impl Fn(&Router, &str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    for hook in ["auto", "clsact"] {
        let router = Router::start()?;
        match make(kind, &router) {
            Err(error) if format!("{error:#}").contains("Unknown device type") => {
                features::left_out(&format!("{} devices", kind.name), "no such device type");
                return Ok(());
            }
            made => made?,
        }
        work(&router, hook).with_context(|| format!("{} by {hook}", kind.name))?;
    }
    Ok(())
}

fn make(kind: &Kind, router: &Router) -> anyhow::Result<()> {
    let underlay = if kind.over_v6 { ["2001:db8:2::1", "2001:db8:2::2"] } else { ["198.51.100.1", "198.51.100.2"] };
    let ends = [(router.edge(), "wan0", 0), (router.lab().wan(), "eth0", 1)];
    for line in kind.pair.lines() {
        run_in(router.edge(), &format!("ip {}", line.replace("{WAN}", router.lab().wan().name())))?;
    }
    for (namespace, lower, end) in ends {
        // Else a device answers for the address of another one, and has its packets.
        namespace.set(&[("ipv4/conf/all/arp_ignore", "1")])?;
        for line in kind.make.lines() {
            let line = line.replace("{OWN}", underlay[end]).replace("{PEER}", underlay[1 - end]);
            run_in(namespace, &format!("ip {}", line.replace("{LOWER}", lower)))?;
        }
        run_in(namespace, "ip link set t0 up")?;
        give_addresses(namespace, kind, end)?;
    }
    Ok(())
}

/// Gives `t0` the addresses of one end.
pub(super) fn give_addresses(namespace: &Namespace, kind: &Kind, end: usize) -> anyhow::Result<()> {
    give_addresses_to("t0", namespace, kind, end)
}

/// The same of another device.
pub(super) fn give_addresses_to(device: &str, namespace: &Namespace, kind: &Kind, end: usize) -> anyhow::Result<()> {
    for addresses in kind.carries {
        let (address, length) = (addresses[end], if addresses[end].contains(':') { 64 } else { 24 });
        let nodad = if length == 64 { "nodad" } else { "" };
        run_in(namespace, &format!("ip address add {address}/{length} dev {device} {nodad}"))?;
    }
    Ok(())
}

pub(super) fn place(address: &str, port: u16) -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse::<IpAddr>()?, port))
}

/// Attaches, and has packets pass both ways.
pub(super) fn exchange(kind: &Kind, router: &Router, hook: &str) -> anyhow::Result<()> {
    let policy = router.policy("links", POLICY)?;
    router.ok(&format!("attach t0 --hook {hook}"))?;
    router.ok(&format!("policy apply {policy} --prune"))?;
    pass("t0", kind, router)
}

/// Sends both ways over a device, and holds what arrives, and all that has been counted, against what was sent.
pub(super) fn pass(device: &str, kind: &Kind, router: &Router) -> anyhow::Result<()> {
    let [egress, ingress] = ["egress", "ingress"].map(|direction| format!("{device}:{direction}"));
    for addresses in kind.carries {
        let (own, peer) = (place(addresses[0], 7000)?, place(addresses[1], 7001)?);
        let (here, there) = (Listener::bind(router.edge(), own)?, Listener::bind(router.lab().wan(), peer)?);
        udp::send(router.edge(), place(addresses[0], 7002)?, peer, EF, COUNT)?;
        udp::send(router.lab().wan(), place(addresses[1], 7002)?, own, AF41, COUNT)?;
        for _ in 0..COUNT {
            let (left, came) = (there.receive()?, here.receive()?);
            ensure!((left, came) == (0x89, 0xba), "{addresses:?}: left as {left:#x}, came as {came:#x}");
        }
        let (family, header) = if own.is_ipv4() { ("ipv4", 20) } else { ("ipv6", 40) };
        let sum = [COUNT as u64, (COUNT * (kind.header + header + 8 + PAYLOAD)) as u64];
        for (name, ds) in [(&egress, EF), (&ingress, AF41)] {
            let counted = router.counted(name)?;
            ensure!(counted.before.get(&(family.to_owned(), ds)) == Some(&sum), "{name}: {sum:?} in {counted:?}");
            ensure!(counted.malformed == [0, 0], "{name}: {counted:?}");
        }
    }
    let families = kind.carries.len() as u64;
    for (name, pair) in [(&egress, (46, 34)), (&ingress, (34, 46))] {
        let counted = router.counted(name)?;
        ensure!(counted.remarked.get(&pair).map(|sum| sum[0]) == Some(COUNT as u64 * families), "{name}: {counted:?}");
    }
    Ok(())
}

fn over(kind: &Kind) -> anyhow::Result<()> {
    with_device(kind, |router, hook| {
        let attached = router.ask(&format!("attach t0 --hook {hook} --ingress"))?;
        if attached.code == 0 {
            return exchange(kind, router, hook);
        }
        attached.complains(&["before Linux 5.14 the ingress of a tunnel"])?;
        features::left_out(&format!("{} at ingress", kind.name), "this kernel shows the header outside there");
        router.ok(&format!("attach t0 --hook {hook} --egress")).map(drop)
    })
}

#[test]
fn ipip() -> anyhow::Result<()> {
    let make = "link add t0 type ipip local {OWN} remote {PEER}";
    over(&Kind { name: "ipip", make, carries: &[&V4], ..LAYER3 })
}

#[test]
fn gre() -> anyhow::Result<()> {
    over(&Kind { name: "gre", make: "link add t0 type gre local {OWN} remote {PEER}", ..LAYER3 })
}

#[test]
fn sit() -> anyhow::Result<()> {
    let make = "link add t0 type sit local {OWN} remote {PEER}";
    over(&Kind { name: "sit", make, carries: &[&V6], ..LAYER3 })
}

#[test]
fn ip6tnl() -> anyhow::Result<()> {
    let make = "link add t0 type ip6tnl mode any local {OWN} remote {PEER} dev {LOWER}";
    over(&Kind { name: "ip6tnl", make, over_v6: true, ..LAYER3 })
}

#[test]
fn ip6gre() -> anyhow::Result<()> {
    let make = "link add t0 type ip6gre local {OWN} remote {PEER} dev {LOWER}";
    over(&Kind { name: "ip6gre", make, over_v6: true, ..LAYER3 })
}

#[test]
fn vxlan() -> anyhow::Result<()> {
    let make = "link add t0 type vxlan id 7 dstport 4789 local {OWN} remote {PEER} dev {LOWER}";
    over(&Kind { name: "vxlan", make, ..ETHERNET })
}

#[test]
fn macvlan() -> anyhow::Result<()> {
    over(&Kind { name: "macvlan", make: "link add link {LOWER} name t0 type macvlan mode bridge", ..ETHERNET })
}

#[test]
fn vlan() -> anyhow::Result<()> {
    over(&Kind { name: "vlan", make: "link add link {LOWER} name t0 type vlan id 7", ..ETHERNET })
}

/// Two ends of a cable, each the member of a device.
const MEMBERS: &str = "link add b0 type veth peer name b0 netns {WAN}";

/// What leaves by the device leaves by its member, as the hook above it has left it.
fn over_members(kind: &Kind) -> anyhow::Result<()> {
    with_device(kind, |router, hook| {
        router.ok("attach b0 --egress")?;
        exchange(kind, router, hook)?;
        let counted = router.counted("b0:egress")?;
        let sum = counted.before.get(&("ipv4".to_owned(), 0x89)).map(|sum| sum[0]);
        ensure!(sum == Some(COUNT as u64), "{counted:?}");
        Ok(())
    })
}

#[test]
fn bridge() -> anyhow::Result<()> {
    let make = "link add t0 type bridge\nlink set b0 master t0\nlink set b0 up";
    over_members(&Kind { name: "bridge", pair: MEMBERS, make, ..ETHERNET })
}

#[test]
fn bond() -> anyhow::Result<()> {
    let make = "link add t0 type bond mode active-backup miimon 100\nlink set b0 master t0\nlink set b0 up";
    over_members(&Kind { name: "bond", pair: MEMBERS, make, ..ETHERNET })
}

/// XDP takes it in the form for packets in several pieces.
#[test]
fn veth_with_jumbo_frames() -> anyhow::Result<()> {
    let pair = "link add t0 mtu 9000 type veth peer name t0 mtu 9000 netns {WAN}";
    let kind = Kind { name: "veth with jumbo frames", pair, ..ETHERNET };
    with_device(&kind, |router, hook| {
        exchange(&kind, router, hook)?;
        let (own, from) = (place(V4[0], 7000)?, place(V4[1], 7002)?);
        let here = Listener::bind(router.edge(), own)?;
        udp::send_long(router.lab().wan(), from, own, AF41, 1, 8000)?;
        ensure!(here.receive()? == 0xba, "remarked, in several pieces too");
        let counted = router.counted("t0:ingress")?;
        let bytes = (COUNT * (14 + 28 + PAYLOAD) + 14 + 28 + 8000) as u64;
        ensure!(counted.before.get(&("ipv4".to_owned(), AF41)) == Some(&[COUNT as u64 + 1, bytes]), "{counted:?}");
        if hook == "auto" && Feature::Frags.is_here()? {
            router.ok("status")?.says(&["xdp-native"])?;
        }
        Ok(())
    })
}

#[test]
fn veth_with_several_queues() -> anyhow::Result<()> {
    let pair = "link add t0 numtxqueues 4 numrxqueues 4 type veth peer name t0 numtxqueues 4 numrxqueues 4 netns {WAN}";
    over(&Kind { name: "veth with several queues", pair, ..ETHERNET })
}

/// What WireGuard sends is marked before it is encrypted; keys are made here.
#[test]
fn wireguard() -> anyhow::Result<()> {
    let kind = Kind { name: "wireguard", make: "link add t0 type wireguard", ..LAYER3 };
    with_device(&kind, |router, hook| {
        wireguard::join(router, "t0", wireguard::PORT)?;
        exchange(&kind, router, hook)
    })
}
