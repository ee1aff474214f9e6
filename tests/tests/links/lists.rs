//! Super-packets that are lists of packets (`rx-gro-list`), as a router has them that forwards UDP: they leave as what
//! they came as only while nobody moves payload from one packet of the list to another.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use qos_common::locate::Family;
use qosbpf::lab::topology::{EDGE_LAN, EDGE_WAN, LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    features::{self, Feature},
    mib,
    router::{Router, run_in},
    udp::{self, Listener},
};

const EF: u8 = 0xb8;
const AF41: u8 = 0x88;
/// In one burst: as many as IP takes in a super-packet of this length, and less than a socket has room for.
const DATAGRAMS: usize = 40;

/// Rules, in IP behind PPPoE or labels too: what asks for the most bytes of a packet. A datagram has fewer.
const POLICY: &str = "[interface.lan0]\ninside = [\"pppoe\", \"mpls\"]\n[interface.wan0]\ninside = [\"pppoe\", \"mpls\"]\n\
    [[rule]]\nname = \"voice\"\non = [\"lan0:ingress\", \"wan0:egress\"]\nmatch = { dst-port = 5004 }\nset = \"AF41\"\n";

/// How many packets IP has forwarded.
fn forwarded(router: &Router, family: Family) -> anyhow::Result<usize> {
    match family {
        Family::V4 => mib::ipv4(router.edge(), "ForwDatagrams"),
        Family::V6 => mib::ipv6(router.edge(), "Ip6OutForwDatagrams"),
    }
}

/// Sends a burst from the LAN to the WAN; what arrives is whole and marked. Says how many packets the router made of it.
fn pass(router: &Router, family: Family) -> anyhow::Result<usize> {
    let before = forwarded(router, family)?;
    let to = SocketAddr::new(WAN_HOST.address(family), 5004);
    let listener = Listener::bind(router.lab().wan(), to)?;
    udp::send_burst(router.lab().lan(), SocketAddr::new(LAN_HOST.address(family), 5004), to, EF, DATAGRAMS)?;
    for number in 0..DATAGRAMS {
        let ds = listener.receive().with_context(|| format!("datagram {number} of {DATAGRAMS}"))?;
        ensure!(ds == AF41, "datagram {number} arrived with {ds:#04x}");
    }
    Ok(forwarded(router, family)? - before)
}

fn through(hook: &str) -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), &format!("ethtool -K {} gro on rx-gro-list on", EDGE_LAN.device))?;
    run_in(router.edge(), &format!("ethtool -K {} tx-udp-segmentation off tx-gso-list off", EDGE_WAN.device))?;
    let policy = router.policy("lists", POLICY)?;
    for place in ["lan0 --ingress", "wan0 --egress"] {
        router.ok(&format!("attach {place} --hook {hook} --inside pppoe,mpls"))?;
    }
    router.ok(&format!("policy apply {policy}"))?;
    for family in [Family::V4, Family::V6] {
        let packets = pass(&router, family).with_context(|| format!("{hook}, {family:?}"))?;
        if packets > DATAGRAMS / 2 {
            features::left_out("super-packets that are lists", "veth makes none here (Linux 5.13)");
            return Ok(());
        }
    }
    let [came, left] = ["lan0:ingress", "wan0:egress"].map(|hook| router.counted(hook));
    ensure!(came?.packets().get(&EF) == Some(&(2 * DATAGRAMS as u64)), "{:?}", router.counted("lan0:ingress"));
    ensure!(left?.packets().get(&AF41) == Some(&(2 * DATAGRAMS as u64)), "{:?}", router.counted("wan0:egress"));
    Ok(())
}

#[test]
fn a_list_of_packets_is_counted_remarked_and_taken_apart() -> anyhow::Result<()> {
    let tcx = Feature::Tcx.is_here()?.then_some("tcx");
    ["clsact"].into_iter().chain(tcx).try_for_each(through)
}
