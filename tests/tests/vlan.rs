//! Tags of IEEE 802.1Q: what a rule at a VLAN device hands over becomes the PCP on the wire, and rules below it match the
//! tag that the kernel keeps beside the packet.
//!
//! A kernel without VLAN devices can do the latter as well; the former it leaves out, and says so.

use anyhow::{Context as _, ensure};
use qos_vectors::frame::{self, Ipv4, Ipv6, Tag, protocol::UDP};
use qosbpf_tests::{
    features::Feature,
    lab::Injector,
    router::{Router, run_in},
    tagged::{Received, Tagged},
};

const VLAN: u16 = 832;
/// The TPID of a C-tag.
const CUSTOMER: u16 = 0x8100;
const EF: u8 = 0xb8;
const AF41: u8 = 0x88;
const CS6: u8 = 0xc0;

/// UDP from one port to another, with a payload like DHCP's.
fn datagram(from: u16, to: u16) -> Vec<u8> {
    let mut datagram = vec![0; 8 + 300];
    datagram[0..2].copy_from_slice(&from.to_be_bytes());
    datagram[2..4].copy_from_slice(&to.to_be_bytes());
    let length = datagram.len() as u16;
    datagram[4..6].copy_from_slice(&length.to_be_bytes());
    datagram
}

fn ipv4(tags: &[Tag], ds: u8, from: u16, to: u16) -> Vec<u8> {
    let packet = Ipv4 { ds, protocol: UDP, ..Ipv4::default() }.packet(&datagram(from, to));
    frame::ethernet(tags, 0x0800, &packet)
}

fn ipv6(ds: u8, from: u16, to: u16) -> Vec<u8> {
    let packet = Ipv6 { ds, next: UDP, ..Ipv6::default() }.packet(&datagram(from, to));
    frame::ethernet(&[], 0x86dd, &packet)
}

/// The DS byte of a frame whose tags are beside it.
fn ds(frame: &[u8]) -> anyhow::Result<u8> {
    match frame.get(12..16).context("an IP header")? {
        [0x08, 0x00, _, ds] => Ok(*ds),
        [0x86, 0xdd, a, b] => Ok(a << 4 | b >> 4),
        other => anyhow::bail!("{other:02x?} is no IP header"),
    }
}

/// Whether the kernel has added up the header: of IPv4 alone, as RFC 1071 says it.
fn header_is_whole(frame: &[u8]) -> bool {
    let header = frame.get(14..34).unwrap_or_default();
    let sum: u32 = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    frame[12..14] != [0x08, 0x00] || (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// The router with a VLAN device on the WAN, of which priority 6 is PCP 6.
fn router() -> anyhow::Result<Router> {
    let router = Router::start()?;
    run_in(router.edge(), &format!("ip link add link wan0 name wan0.{VLAN} type vlan id {VLAN} egress-qos-map 6:6"))?;
    run_in(router.edge(), &format!("ip link set wan0.{VLAN} up"))?;
    Ok(router)
}

/// How many packets the rules of a hook have matched, in their order.
fn hits(router: &Router, hook: &str) -> anyhow::Result<Vec<u64>> {
    let document = router.ok(&format!("stats {hook} --json"))?.json()?;
    let rules = document["hooks"][0]["rules"].as_array().context("rules")?.clone();
    rules.iter().map(|rule| rule["packets"].as_u64().with_context(|| format!("{rule:#}"))).collect()
}

const DHCP: &str = "[[rule]]\nname = \"DHCP as the provider wants it\"\non = \"wan0.832:egress\"\n\
    match = { origin = \"local\", proto = \"udp\", dst-port = [67, 547] }\nset = \"CS6\"\npriority = 6\n";

#[test]
fn dhcp_from_a_raw_socket_leaves_with_cs6_and_pcp_6() -> anyhow::Result<()> {
    if Feature::Vlan.leaves_out("PCP by egress-qos-map")? {
        return Ok(());
    }
    let router = router()?;
    let policy = router.policy("dhcp", DHCP)?;
    router.ok("attach wan0.832 --egress")?;
    router.ok(&format!("policy apply {policy}"))?;
    let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
    let injector = router.edge().run(|| Injector::open("wan0.832"))?;
    for (sent, marked, pcp) in [
        (ipv4(&[], 0, 68, 67), CS6, 6),
        (ipv4(&[], 0, 5353, 53), 0, 0),
        (ipv6(0, 546, 547), CS6, 6),
        (ipv6(EF, 546, 548), EF, 0),
        // ECN stays.
        (ipv4(&[], EF | 1, 68, 67), CS6 | 1, 6),
    ] {
        injector.send(&sent)?;
        let Received { tag, frame } = wire.receive()?;
        ensure!(tag == Some(pcp << 13 | VLAN), "PCP {pcp} expected, not the tag {tag:x?}");
        ensure!(ds(&frame)? == marked && header_is_whole(&frame), "{:#x}: {frame:02x?}", ds(&frame)?);
        ensure!(frame[34..] == sent[34..] && frame.len() == sent.len(), "the rest: {frame:02x?}");
    }
    ensure!(hits(&router, "wan0.832:egress")? == [3]);
    Ok(())
}

#[test]
fn behind_a_vlan_device_packets_count_and_are_remarked() -> anyhow::Result<()> {
    if Feature::Vlan.leaves_out("hooks of a VLAN device")? {
        return Ok(());
    }
    let router = router()?;
    let policy =
        "[interface.\"wan0.832\"]\ningress = \"t\"\negress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
    let policy = router.policy("marks", policy)?;
    router.ok("attach wan0.832 --hook clsact")?;
    router.ok(&format!("policy apply {policy}"))?;
    let outside = router.lab().wan().run(|| Injector::open("eth0"))?;
    let behind = router.edge().run(|| Tagged::start("wan0.832"))?;
    for (priority, marks) in [(5, [EF, AF41]), (0, [0, 0])] {
        outside.send(&ipv4(&[(CUSTOMER, priority << 13 | VLAN)], marks[0], 9, 9))?;
        let Received { frame, .. } = behind.receive()?;
        ensure!(ds(&frame)? == marks[0], "a packet socket sees what came: {:#x}", ds(&frame)?);
    }
    let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
    router.edge().run(|| Ok(Injector::open("wan0.832")?.send(&ipv4(&[], EF, 9, 9))?))?;
    let Received { tag, frame } = wire.receive()?;
    ensure!(tag == Some(VLAN) && ds(&frame)? == AF41 && header_is_whole(&frame), "{tag:x?} {frame:02x?}");
    let [ingress, egress]: [_; 2] =
        router.all_counted(&["wan0.832:ingress", "wan0.832:egress"])?.try_into().ok().context("two hooks")?;
    ensure!(ingress.packets() == [(EF, 1), (0, 1)].into() && ingress.packets_after() == [(34, 1), (0, 1)].into());
    ensure!(egress.packets() == [(EF, 1)].into() && egress.packets_after() == [(34, 1)].into(), "{egress:?}");
    Ok(())
}

/// The tag is beside the packet at TC, and in it at XDP.
#[test]
fn rules_at_the_parent_match_the_tag_wherever_it_is() -> anyhow::Result<()> {
    let rules = "[[rule]]\nname = \"mine\"\non = \"wan0:ingress\"\nmatch = { vlan = 832, pcp = 6 }\nset = \"CS6\"\n\
        [[rule]]\nname = \"of the VLAN\"\non = \"wan0:ingress\"\nmatch = { vlan = 832 }\nset = \"LE\"\n\
        [[rule]]\nname = \"tagged\"\non = \"wan0:ingress\"\nmatch = { pcp = 6 }\nset = \"AF41\"\n";
    let router = Router::start()?;
    let policy = router.policy("tags", rules)?;
    let outside = router.lab().wan().run(|| Injector::open("eth0"))?;
    let tcx = if Feature::Tcx.leaves_out("tags at TCX")? { None } else { Some("tcx") };
    for hook in ["xdp", "xdp-generic", "clsact"].into_iter().chain(tcx) {
        router.ok(&format!("attach wan0 --ingress --hook {hook}"))?;
        router.ok(&format!("policy apply {policy}"))?;
        for tci in [6 << 13 | VLAN, 5 << 13 | VLAN, 6 << 13 | 831, 7 << 13 | 831] {
            outside.send(&ipv4(&[(CUSTOMER, tci)], EF, 9, 9))?;
        }
        outside.send(&ipv4(&[], EF, 9, 9))?;
        let counted = router.counted("wan0:ingress")?;
        ensure!(counted.packets() == [(EF, 5)].into(), "{hook}: {counted:?}");
        ensure!(counted.packets_after() == [(48, 1), (1, 1), (34, 1), (46, 2)].into(), "{hook}: {counted:?}");
        ensure!(hits(&router, "wan0:ingress")? == [1; 3], "{hook}");
        router.ok("detach wan0:ingress")?;
    }
    Ok(())
}

/// At egress of the parent, the tag of the VLAN device is beside the packet, with the PCP that its map gave.
#[test]
fn rules_at_the_parent_match_what_its_vlan_device_sends() -> anyhow::Result<()> {
    if Feature::Vlan.leaves_out("the tag of a VLAN device at egress of its parent")? {
        return Ok(());
    }
    let rules = "[interface.wan0]\nlocal = \"policy\"\n\
        [[rule]]\nname = \"mine\"\non = \"wan0:egress\"\nmatch = { vlan = 832, pcp = 6 }\nset = \"AF41\"\n\
        [[rule]]\nname = \"others\"\non = \"wan0:egress\"\nmatch = { vlan = 832 }\nset = \"LE\"\n";
    let router = router()?;
    let policy = router.policy("tags", &format!("{DHCP}{rules}"))?;
    router.ok("attach wan0.832 --egress")?;
    router.ok("attach wan0 --egress --hook clsact")?;
    router.ok(&format!("policy apply {policy}"))?;
    let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
    let injector = router.edge().run(|| Injector::open("wan0.832"))?;
    for (to, left) in [(67, AF41), (53, 1 << 2)] {
        injector.send(&ipv4(&[], EF, 9, to))?;
        let Received { tag, frame } = wire.receive()?;
        ensure!(tag.is_some() && ds(&frame)? == left && header_is_whole(&frame), "{tag:x?} {frame:02x?}");
    }
    ensure!(hits(&router, "wan0:egress")? == [1, 1]);
    // Both have the frame as it is on the wire, with its four bytes of tag.
    let counted = router.counted("wan0:egress")?;
    let bytes = (ipv4(&[], 0, 9, 9).len() + 4) as u64 * 2;
    ensure!(
        counted.before
            == [(("ipv4".to_owned(), CS6), [1, bytes / 2]), (("ipv4".to_owned(), EF), [1, bytes / 2])].into(),
        "{counted:?}"
    );
    Ok(())
}
