//! A sum that the kernel keeps beside a packet (`CHECKSUM_COMPLETE`): where the receiver itself works out the checksum of an
//! outer header, it has one of all that is inside. A datagram over IPv6 that no longer fits it is dropped.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use qos_common::locate::Link;
use qosbpf::{
    hook::Via,
    kernel::object::{Program, Specialisation},
};
use qosbpf_tests::{
    kernel::Kernel,
    lab,
    router::{Router, run_in},
    tables,
    udp::{self, Listener},
};

use super::devices::{AF41, COUNT, ETHERNET, Kind, V4, V6, exchange, place, with_device};

const OVER_V4: Kind = Kind {
    name: "vxlan with udpcsum",
    make: "link add t0 type vxlan id 7 dstport 4789 local {OWN} remote {PEER} dev {LOWER} udpcsum",
    ..ETHERNET
};

/// Over IPv6 there always is a checksum outside.
const OVER_V6: Kind = Kind {
    name: "vxlan over IPv6",
    make: "link add t0 type vxlan id 7 dstport 4789 local {OWN} remote {PEER} dev {LOWER}",
    over_v6: true,
    ..ETHERNET
};

/// On a cable whose cards leave checksums to the kernel: else no receiver works one out.
fn with_sums(kind: &Kind, work: impl Fn(&Router, &str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    with_device(kind, |router, hook| {
        for (namespace, device) in [(router.edge(), "wan0"), (router.lab().wan(), "eth0")] {
            run_in(namespace, &format!("ethtool -K {device} tx off"))?;
        }
        work(router, hook)
    })
}

#[test]
fn vxlan_with_udpcsum() -> anyhow::Result<()> {
    with_sums(&OVER_V4, |router, hook| exchange(&OVER_V4, router, hook))
}

#[test]
fn vxlan_over_ipv6() -> anyhow::Result<()> {
    with_sums(&OVER_V6, |router, hook| exchange(&OVER_V6, router, hook))
}

/// How many datagrams over IPv6 this kernel has dropped for a checksum, in the namespace of this thread.
fn dropped() -> anyhow::Result<usize> {
    let counters = fs::read_to_string("/proc/thread-self/net/snmp6")?;
    let counter = counters.lines().find_map(|line| line.strip_prefix("Udp6InCsumErrors"));
    Ok(counter.context("Udp6InCsumErrors")?.trim().parse()?)
}

fn send_to_edge(router: &Router, addresses: [&str; 2]) -> anyhow::Result<()> {
    let (own, from) = (place(addresses[0], 7000)?, place(addresses[1], 7002)?);
    udp::send(router.lab().wan(), from, own, AF41, COUNT)
}

/// Why generic XDP is refused there: what it has remarked of IPv6 does not arrive, and IPv4 does.
#[test]
fn what_generic_xdp_has_remarked_of_ipv6_is_dropped() -> anyhow::Result<()> {
    with_sums(&OVER_V4, |router, _| {
        let here = Listener::bind(router.edge(), place(V4[0], 7000)?)?;
        router.edge().run(|| {
            let wash = Specialisation { table: Some(tables::wash()), ..Specialisation::counting(Link::Ethernet) };
            let mut kernel = Kernel::load(Program::Xdp, &wash)?;
            kernel.attach_by(Via::XdpGeneric, "t0", lab::index("t0")?)?;
            send_to_edge(router, V4)?;
            for _ in 0..COUNT {
                ensure!(here.receive()? == AF41 & 3, "IPv4 arrives, and remarked");
            }
            let (earlier, start) = (dropped()?, Instant::now());
            send_to_edge(router, V6)?;
            while dropped()? < earlier + COUNT && start.elapsed() < Duration::from_secs(10) {}
            ensure!(dropped()? == earlier + COUNT, "this kernel can do what `attach` refuses");
            Ok(())
        })
    })
}

const REMARK: &str = "[interface.t0]\ningress = \"in\"\n[remark.in]\nAF41 = \"EF\"\nother = \"keep\"\n";

/// It counts, and remarks IPv4; a policy for both families is refused before anything is changed, and TC does it.
#[test]
fn generic_xdp_is_refused_what_it_cannot_do() -> anyhow::Result<()> {
    const IPV4: &str = "[[rule]]\nname = \"four\"\non = \"t0:ingress\"\nmatch = { dscp = \"AF41\", family = \"ipv4\" }\nset = \"EF\"\n";
    const WHY: &str = "what generic XDP remarks of IPv6 may be dropped";
    with_sums(&OVER_V4, |router, hook| {
        let (four, both) = (router.policy("four", IPV4)?, router.policy("both", REMARK)?);
        router.ok("attach t0 --ingress --hook xdp-generic")?;
        router.ok(&format!("policy apply {four}"))?;
        let here = Listener::bind(router.edge(), place(V4[0], 7000)?)?;
        send_to_edge(router, V4)?;
        ensure!((0..COUNT).try_fold(true, |all, _| anyhow::Ok(all && here.receive()? == 0xba))?, "IPv4 in EF");
        let refused = router.ask(&format!("policy apply {both}"))?.expect(1)?;
        refused.complains(&["t0:ingress is attached by xdp-generic", WHY, "detach t0:ingress &&", "attach --hook"])?;
        router.ok("status")?.says(&["policy four"])?;
        router.ask(&format!("policy diff {both}"))?.expect(3)?.says(&["would be refused", WHY])?;
        router.ok("detach --all")?;
        let anew = router.ask(&format!("attach t0 --ingress --hook xdp-generic --policy {both}"))?.expect(1)?;
        anew.complains(&["cannot attach: xdp-generic", WHY, "--ingress t0 takes TC"])?;
        router.ok("status")?.says(&["nothing is attached"])?;
        router.ok(&format!("attach t0 --ingress --hook {hook} --policy {both}"))?;
        let here = Listener::bind(router.edge(), place(V6[0], 7000)?)?;
        send_to_edge(router, V6)?;
        ensure!((0..COUNT).try_fold(true, |all, _| anyhow::Ok(all && here.receive()? == 0xba))?, "IPv6 in EF");
        Ok(())
    })
}
