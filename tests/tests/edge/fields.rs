//! Fields that others get wrong: DF with ECN, later fragments, the other family, who made a packet, where it came in.

use std::net::{IpAddr, SocketAddr};

use qosbpf::lab::topology::{EDGE_WAN, LAN_HOST, WAN_HOST};
use qosbpf_tests::{router::run_in, udp, wire::Tcpdump};

use crate::masquerade::Masquerade;

fn v4() -> IpAddr {
    LAN_HOST.v4.into()
}

fn start(rules: &str) -> anyhow::Result<Masquerade> {
    let lab = Masquerade::start()?;
    let policy = lab.router.policy("fields", rules)?;
    lab.router.ok("attach lan0 --ingress")?;
    lab.router.ok("attach ppp0 --egress")?;
    lab.router.ok(&format!("policy apply {policy} --prune"))?;
    Ok(lab)
}

#[test]
fn df_is_df_with_every_ecn_and_every_codepoint_keeps_its_ecn() -> anyhow::Result<()> {
    let rule = "[[rule]]\nname = \"df\"\non = \"lan0:ingress\"\nmatch = { dscp = \"DF\" }\nset = \"AF11\"\n\
                [[rule]]\nname = \"rest\"\non = \"lan0:ingress\"\nset = \"CS5\"\n";
    let lab = start(rule)?;
    for ecn in 0..4 {
        let arrived = lab.arrive(7100, 2, || lab.send(v4(), 7100, ecn, 2))?;
        assert_eq!(arrived, vec![format!("{:#x}", 40 + ecn); 2]);
    }
    for (from, port) in [(v4(), 7101), (LAN_HOST.v6.into(), 7102)] {
        let arrived = lab.arrive(port, 63, || (1..64).try_for_each(|dscp| lab.send(from, port, dscp << 2 | 2, 1)))?;
        assert_eq!(arrived, vec!["0xa2"; 63]);
    }
    assert_eq!([lab.hits("lan0:ingress", "df")?, lab.hits("lan0:ingress", "rest")?], [Some(8), Some(126)]);
    Ok(())
}

#[test]
fn later_fragments_have_no_ports_in_neither_form() -> anyhow::Result<()> {
    let rules = "[[rule]]\nname = \"port\"\non = \"lan0:ingress\"\nmatch = { proto = \"udp\", dst-port = 7103 }\nset = \"EF\"\n\
                 [[rule]]\nname = \"not port\"\non = \"lan0:ingress\"\nmatch = { proto = \"udp\", dst-port-not = 9 }\nset = \"CS1\"\n";
    let lab = start(rules)?;
    // Connection tracking puts fragments together and cuts them anew, all with the mark of the first.
    run_in(lab.router.edge(), "nft delete table inet nat")?;
    let wire = Tcpdump::start(lab.router.lab().wan(), "eth0", 3, "ip proto 17")?;
    // 3,000 bytes of payload are three fragments on a link of 1,500.
    let to = SocketAddr::new(WAN_HOST.v4.into(), 7103);
    lab.router.lab().lan().run(|| {
        let socket = std::net::UdpSocket::bind(SocketAddr::new(v4(), 0))?;
        socket.send_to(&[0; 3000], to)?;
        Ok(())
    })?;
    let packets = wire.packets()?;
    let marks: Vec<bool> = packets.iter().map(|packet| packet.contains("tos 0xb8")).collect();
    assert_eq!(marks.iter().filter(|ef| **ef).count(), 1, "{packets:#?}");
    assert!(packets.iter().filter(|packet| !packet.contains("offset 0,")).all(|packet| packet.contains("tos 0x0,")));
    let stats = lab.stats("lan0:ingress")?;
    assert_eq!(stats["limited"]["later_fragment"]["packets"], 2, "{stats:#}");
    assert_eq!([lab.hits("lan0:ingress", "port")?, lab.hits("lan0:ingress", "not port")?], [Some(1), Some(0)]);
    Ok(())
}

#[test]
fn an_address_of_the_other_family_is_in_neither_form() -> anyhow::Result<()> {
    let rules =
        "[[rule]]\nname = \"not that v4\"\non = \"lan0:ingress\"\nmatch = { src-not = \"10.9.9.9\" }\nset = \"EF\"\n";
    let lab = start(rules)?;
    let arrived = lab.arrive(7104, 4, || lab.send(LAN_HOST.v6.into(), 7104, 0, 4))?;
    assert_eq!(arrived, vec!["0x0"; 4], "IPv6 has no IPv4 source, so it is not another one either");
    let arrived = lab.arrive(7104, 4, || lab.send(v4(), 7104, 0, 4))?;
    assert_eq!(arrived, vec!["0xb8"; 4]);
    Ok(())
}

#[test]
fn who_made_a_packet_and_where_it_came_in_survive_masquerade() -> anyhow::Result<()> {
    let rules = "[[rule]]\nname = \"own\"\non = \"ppp*:egress\"\nmatch = { origin = \"local\", proto = \"udp\" }\nset = \"CS2\"\n\
                 [[rule]]\nname = \"from lan\"\non = \"ppp*:egress\"\nmatch = { from = \"lan*\", dst-port = 7105 }\nset = \"AF21\"\n\
                 [[rule]]\nname = \"lan's address\"\non = \"ppp*:egress\"\nmatch = { src = \"192.0.2.0/24\" }\ndrop = true\n";
    let lab = start(rules)?;
    let arrived = lab.arrive(7105, 3, || lab.send(v4(), 7105, 0, 3))?;
    assert_eq!(arrived, vec!["0x48"; 3]);
    let (from, to) = (SocketAddr::new(EDGE_WAN.v4.into(), 0), SocketAddr::new(WAN_HOST.v4.into(), 7106));
    let arrived = lab.arrive(7106, 3, || udp::send(lab.router.edge(), from, to, 0, 3))?;
    assert_eq!(arrived, vec!["0x40"; 3]);
    assert_eq!([lab.hits("ppp0:egress", "own")?, lab.hits("ppp0:egress", "from lan")?], [Some(3), Some(3)]);
    assert_eq!(lab.hits("ppp0:egress", "lan's address")?, Some(0), "behind masquerade the source is our own");
    Ok(())
}

#[test]
fn a_dropped_packet_is_counted_as_dropped_and_goes_no_further() -> anyhow::Result<()> {
    let rules = "[[rule]]\nname = \"no\"\non = \"lan0:ingress\"\nmatch = { proto = \"udp\", dst-port = 7107 }\ndrop = true\n\
                 [[rule]]\nname = \"seen\"\non = \"lan0:ingress\"\nmatch = { proto = \"udp\" }\ncount = true\n";
    let lab = start(rules)?;
    let arrived = lab.arrive(7108, 1, || {
        lab.send(v4(), 7107, 0xb8, 7)?;
        lab.send(v4(), 7108, 0xb8, 1)
    })?;
    assert_eq!(arrived, ["0xb8"]);
    let stats = lab.stats("lan0:ingress")?;
    let dropped = stats["dropped"].as_array().into_iter().flatten().filter(|row| row["packets"] != 0);
    let dropped: Vec<_> = dropped.map(|row| (&row["dscp"], &row["packets"])).collect();
    assert_eq!(dropped, [(&46.into(), &7.into())], "{stats:#}");
    assert_eq!(lab.hits("lan0:ingress", "no")?, Some(7));
    assert_eq!(lab.hits("lan0:ingress", "seen")?, Some(1), "a packet that was decided goes on to no further rule");
    run_in(lab.router.lab().lan(), &format!("ping -q -c 1 -W 2 {}", WAN_HOST.v4)).map(drop)
}
