//! `why` where hooks at egress were attached later than the way that is asked about has counted: those of idle devices say
//! nothing of it, and others are named.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use qosbpf::lab::{
    namespace::Namespace,
    topology::{LAN_HOST, WAN_HOST},
};
use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in},
    typed::find,
    udp,
};

/// Hooks that were attached within half a minute are of one age.
const LATER: Duration = Duration::from_secs(32);

fn send(namespace: &Namespace, ends: [Ipv4Addr; 2], tos: u8, count: usize) -> anyhow::Result<()> {
    let [from, to] = ends.map(IpAddr::V4);
    udp::send(namespace, SocketAddr::new(from, 0), SocketAddr::new(to, 5060), tos, count)
}

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    router.ask(&format!("why wan0:egress {what} --sample 0 --json"))
}

#[test]
fn an_idle_one_leaves_the_answer_as_it_was_and_another_one_is_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    for line in [
        "nft add table inet f",
        "nft add chain inet f thru { type filter hook forward priority 0 ; }",
        "nft add rule inet f thru ip dscp af11 numgen inc mod 10 < 4 drop",
        "ip tuntap add dev tun0 mode tun",
        "ip link set tun0 up",
        "ip link add d0 type veth peer name d1",
        "ip link set d0 up",
        "ip link set d1 up",
        "ip address add 10.9.0.1/24 dev d0",
        "ip neigh add 10.9.0.2 lladdr 02:00:00:00:00:09 dev d0",
    ] {
        run_in(router.edge(), line)?;
    }
    // What comes in is counted when all that may leave is.
    router.ok("attach wan0:egress")?;
    router.ok("attach lan0:ingress")?;
    let through = [LAN_HOST.v4, WAN_HOST.v4];
    send(router.lab().lan(), through, 40, 100)?;
    send(router.lab().lan(), through, 184, 80)?;
    let before = find(&why(&router, "AF11")?.expect(3)?, "wan0:egress", "lost-inside")?;
    send(router.edge(), [Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2)], 0, 60)?;
    thread::sleep(LATER);
    router.ok("attach tun0:egress")?;
    let after = find(&why(&router, "AF11")?.expect(3)?, "wan0:egress", "lost-inside")?;
    assert!(after == before && after["cure"].is_string(), "{before:#}\n{after:#}");
    router.ok("attach d0:egress")?;
    why(&router, "EF")?.expect(0)?.says(&["EF comes through: 80 from lan0:ingress, 80 at wan0:egress"])?;
    // It has sent more than what is missing before.
    let open = find(&why(&router, "AF11")?.expect(4)?, "wan0:egress", "not-comparable")?;
    let text = open["text"].as_str().unwrap_or_default();
    assert!(text.contains("d0:egress was attached later than lan0:ingress") && !text.contains("tun0"), "{open:#}");
    assert!(
        open["details"][0].to_string().contains("drops AF11: ip dscp af11 numgen inc mod 10 < 4 drop; if so: "),
        "{open:#}"
    );
    Ok(())
}
