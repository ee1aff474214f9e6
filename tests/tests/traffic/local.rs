//! The router's own routing protocols keep their mark at egress, transit's does not; and the policy can be taken out of
//! the path and put back while counts go on.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    thread,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, shutdown, socket, sockopt};
use qosbpf::lab::topology::WAN_HOST;
use qosbpf_tests::router::Router;

use qosbpf_tests::wire::Tcpdump;

const BGP: u16 = 179;
const CS6: i32 = 0xc0;
const CONTROL_TO_DF: &str =
    "[interface.wan0]\negress = \"t\"\n[remark.t]\nCS6 = \"DF\"\nEF = \"AF41\"\nother = \"keep\"\n";

fn router() -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.ok("attach wan0")?;
    let policy = router.policy("edge", CONTROL_TO_DF)?;
    router.ok(&format!("policy apply {policy}"))?;
    Ok(router)
}

/// A session from the router to a peer on the WAN host, all of whose packets bear CS6 from the first SYN on.
fn bgp_session(router: &Router) -> anyhow::Result<()> {
    let listener = router.lab().wan().run(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, BGP))?))?;
    let peer = thread::spawn(move || -> std::io::Result<usize> {
        let mut heard = Vec::new();
        let (mut session, _) = listener.accept()?;
        session.read_to_end(&mut heard)
    });
    router.edge().run(|| {
        let session = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&session, sockopt::Ipv4Tos, &CS6)?;
        connect(session.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(WAN_HOST.v4, BGP)))?;
        let mut session = TcpStream::from(session);
        session.write_all(&[0xff; 19])?;
        shutdown(session.as_raw_fd(), nix::sys::socket::Shutdown::Write)?;
        session.read_to_end(&mut Vec::new())?;
        Ok(())
    })?;
    assert_eq!(peer.join().unwrap()?, 19);
    Ok(())
}

#[test]
fn bgp_keeps_its_mark_and_transit_loses_it() -> anyhow::Result<()> {
    let router = router()?;
    // SYN, ACK, data and FIN at least.
    let wire = Tcpdump::start(router.lab().wan(), "eth0", 4, &format!("tcp dst port {BGP}"))?;
    bgp_session(&router)?;
    let own = router.counted("wan0:egress")?;
    let packets = wire.packets()?;
    assert_eq!(packets.len(), 4, "{packets:#?}");
    assert!(packets.iter().all(|packet| packet.contains("tos 0xc0, ")), "{packets:#?}");
    assert!(own.remarked.is_empty() && own.protected[0] >= 4, "{own:?}");
    assert_eq!(own.packets(), [(0xc0, own.protected[0])].into(), "all that the router sent: {own:?}");

    let wire = Tcpdump::start(router.lab().wan(), "eth0", 10, "icmp[0] == 8")?;
    router.ping(false, 0xc0, 10)?;
    assert!(wire.packets()?.iter().all(|packet| packet.contains("tos 0x0, ")));
    let transit = router.counted("wan0:egress")?.since(&own);
    assert_eq!(transit.remarked.iter().map(|(pair, [n, _])| (*pair, *n)).collect::<Vec<_>>(), [((48, 0), 10)]);
    assert_eq!(transit.protected, [0, 0]);
    Ok(())
}

#[test]
fn under_local_policy_the_router_s_own_packets_are_transit_too() -> anyhow::Result<()> {
    let router = router()?;
    let text = CONTROL_TO_DF.replace("[remark.t]", "local = \"policy\"\n[remark.t]");
    let policy = router.policy("strict", &text)?;
    router.ok(&format!("policy apply {policy}"))?;
    bgp_session(&router)?;
    let own = router.counted("wan0:egress")?;
    assert_eq!(own.protected, [0, 0], "{own:?}");
    assert!(own.remarked[&(48, 0)][0] >= 4, "{own:?}");
    Ok(())
}

#[test]
fn bypass_lets_every_mark_through_and_goes_on_counting() -> anyhow::Result<()> {
    let router = router()?;
    let steps = [("", 0x88), ("policy bypass", 0xb8), ("policy resume wan0:egress", 0x88)];
    for (number, (command, tos)) in (1..).zip(steps) {
        if !command.is_empty() {
            router.ok(command)?;
        }
        let wire = Tcpdump::start(router.lab().wan(), "eth0", 10, "icmp[0] == 8")?;
        router.ping(false, 184, 10)?;
        let packets = wire.packets()?;
        assert_eq!(packets.len(), 10);
        let words = format!("tos 0x{tos:x}, ");
        assert!(packets.iter().all(|packet| packet.contains(&words)), "after {command}: {packets:#?}");
        let now = router.counted("wan0:egress")?;
        assert_eq!(now.packets()[&184], 10 * number, "after {command}");
        let state = router.ok("stats wan0:egress --json")?.json()?["hooks"][0]["state"].clone();
        assert_eq!(state, if tos == 0xb8 { "bypassed" } else { "active" });
    }
    let now = router.counted("wan0:egress")?;
    assert_eq!(now.packets_after(), [(34, 20), (46, 10)].into(), "{now:?}");
    router.ok("policy resume")?.says(&["wan0:egress  in the policy's path: it was not out of it"])?;
    Ok(())
}
