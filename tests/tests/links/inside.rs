//! PPPoE sessions and label stacks that pass an Ethernet device: what is in them counts and is remarked, both ways.

use anyhow::{Context as _, ensure};
use qos_vectors::frame::{Ipv4, Ipv6, Tag, ether_type, ethernet, labels, session, udp};
use qosbpf_tests::{
    counted::Counted,
    features::Feature,
    hex,
    lab::Injector,
    router::{Router, run_in},
    tagged::{Received, Tagged},
};

const EF: u8 = 0xb9;
const AF41: u8 = 0x89;
const TAG: Tag = (ether_type::TAG, 0x0064);

/// A frame, and where in it the IP header is.
struct Covered {
    name: &'static str,
    frame: Vec<u8>,
    at: usize,
}

fn v4(ds: u8) -> Vec<u8> {
    Ipv4 { ds, ..Ipv4::default() }.packet(&udp(&[0x5a; 60]))
}

fn v6(ds: u8) -> Vec<u8> {
    Ipv6 { ds, flow_label: 0xf_edcb, ..Ipv6::default() }.packet(&udp(&[0x5a; 60]))
}

/// Frames that have IP in them, each with this DS byte.
fn covered(ds: u8) -> Vec<Covered> {
    let pppoe = |tags: &[Tag], inside: Vec<u8>| ethernet(tags, ether_type::PPPOE_SESSION, &inside);
    let mpls = |inside: Vec<u8>| ethernet(&[], ether_type::MPLS, &inside);
    let frame = |name, frame, at| Covered { name, frame, at };
    vec![
        frame("a session with IPv4", pppoe(&[], session(&[0, 0x21], &v4(ds))), 22),
        frame("a session with IPv6", pppoe(&[], session(&[0, 0x57], &v6(ds))), 22),
        frame("a compressed session with IPv4", pppoe(&[], session(&[0x21], &v4(ds))), 21),
        frame("a compressed session with IPv6", pppoe(&[], session(&[0x57], &v6(ds))), 21),
        frame("a tagged session with IPv4", pppoe(&[TAG], session(&[0, 0x21], &v4(ds))), 26),
        frame("one label and IPv4", mpls(labels(1, &v4(ds))), 18),
        frame("three labels and IPv6", mpls(labels(3, &v6(ds))), 26),
        frame("IPv4 itself", ethernet(&[], ether_type::IPV4, &v4(ds)), 14),
    ]
}

/// Frames that have none, and one whose header is broken.
fn others() -> [Vec<u8>; 5] {
    let pppoe = |inside: Vec<u8>| ethernet(&[], ether_type::PPPOE_SESSION, &inside);
    let broken = [&[0x44], &v4(EF)[1..]].concat();
    [
        pppoe(session(&[0xc0, 0x21], &[9, 1, 0, 8, 1, 2, 3, 4])),
        ethernet(&[], ether_type::PPPOE_DISCOVERY, &session(&[0, 0x21], &v4(EF))),
        ethernet(&[], ether_type::MPLS, &labels(1, &[[0; 4].to_vec(), v4(EF)].concat())),
        ethernet(&[], ether_type::MPLS, &labels(9, &v4(EF))),
        pppoe(session(&[0, 0x21], &broken)),
    ]
}

fn sums(frames: &[Covered]) -> [u64; 2] {
    [frames.len() as u64, frames.iter().map(|covered| covered.frame.len() as u64).sum()]
}

/// Whether everything was found where it is.
fn check(counted: &Counted, remarks: bool) -> anyhow::Result<()> {
    let [packets, bytes] = sums(&covered(EF));
    let before = counted.before.iter().filter(|((_, ds), _)| *ds == EF);
    let before = before.fold([0, 0], |sum, (_, more)| [sum[0] + more[0], sum[1] + more[1]]);
    ensure!(before == [packets, bytes], "{before:?} instead of {packets} and {bytes}: {counted:?}");
    ensure!(counted.not_ip[0] == 4 && counted.malformed[0] == 1, "{counted:?}");
    let remarked = counted.remarked.get(&(46, 34)).copied();
    ensure!(remarked == remarks.then_some([packets, bytes]), "{counted:?}");
    Ok(())
}

const POLICY: &str = "[interface.wan0]\ningress = \"t\"\negress = \"t\"\ninside = [\"pppoe\", \"mpls\"]\n\
    local = \"policy\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";

#[test]
fn what_comes_in_is_counted_and_remarked_by_every_mechanism() -> anyhow::Result<()> {
    let tcx = Feature::Tcx.is_here()?.then_some("tcx");
    for hook in ["xdp", "xdp-generic", "clsact"].into_iter().chain(tcx) {
        let router = Router::start()?;
        let outside = router.lab().wan().run(|| Injector::open("eth0"))?;
        router.ok(&format!("attach wan0 --ingress --hook {hook} --inside pppoe,mpls"))?;
        let send = || -> anyhow::Result<()> {
            covered(EF).iter().try_for_each(|covered| outside.send(&covered.frame))?;
            Ok(others().iter().try_for_each(|frame| outside.send(frame))?)
        };
        send()?;
        let counting = router.counted("wan0:ingress")?;
        check(&counting, false).with_context(|| hook.to_owned())?;
        router.ok(&format!("policy apply {}", router.policy("inside", POLICY)?))?;
        let wire = router.edge().run(|| Tagged::start("wan0"))?;
        send()?;
        let remarking = router.counted("wan0:ingress")?.since(&counting);
        check(&remarking, true).with_context(|| hook.to_owned())?;
        if hook.starts_with("xdp") {
            arrives(&wire).with_context(|| hook.to_owned())?;
        }
    }
    Ok(())
}

/// Behind us, every frame is as it was but for its mark and, in IPv4, the checksum that belongs to it.
fn arrives(wire: &Tagged) -> anyhow::Result<()> {
    for (sent, marked) in covered(EF).iter().zip(covered(AF41)) {
        let Received { tag, frame } = wire.receive()?;
        let whole = match tag {
            Some(tag) => [&frame[..12], &[0x81, 0], &tag.to_be_bytes(), &frame[12..]].concat(),
            None => frame,
        };
        let there = whole.get(..marked.frame.len()).context("as long as it was")?;
        ensure!(there == marked.frame, "{} at {}: {} left as {}", sent.name, sent.at, hex(&sent.frame), hex(&whole));
    }
    for other in others() {
        ensure!(wire.receive()?.frame.starts_with(&other), "untouched: {}", hex(&other));
    }
    Ok(())
}

#[test]
fn what_leaves_is_counted_and_remarked() -> anyhow::Result<()> {
    let tcx = Feature::Tcx.is_here()?.then_some("tcx");
    for hook in ["clsact"].into_iter().chain(tcx) {
        let router = Router::start()?;
        let policy = router.policy("inside", POLICY)?;
        router.ok(&format!("attach wan0 --egress --hook {hook} --policy {policy}"))?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        let inside = router.edge().run(|| Injector::open("wan0"))?;
        covered(EF).iter().try_for_each(|covered| inside.send(&covered.frame))?;
        others().iter().try_for_each(|frame| inside.send(frame))?;
        arrives(&wire).with_context(|| hook.to_owned())?;
        check(&router.counted("wan0:egress")?, true).with_context(|| hook.to_owned())?;
    }
    Ok(())
}

/// Without being told to, nobody looks.
#[test]
fn what_is_covered_is_not_ip_unless_one_looks_inside() -> anyhow::Result<()> {
    let router = Router::start()?;
    let outside = router.lab().wan().run(|| Injector::open("eth0"))?;
    router.ok("attach wan0 --ingress")?;
    for (inside, seen) in [(None, 1), (Some("mpls"), 3), (Some("pppoe"), 6), (Some("pppoe,mpls"), 8)] {
        if let Some(inside) = inside {
            router.ok(&format!("attach wan0 --ingress --inside {inside}"))?.says(&["changed", "inside "])?;
            router.ok(&format!("attach wan0 --ingress --inside {inside}"))?.says(&["already attached"])?;
        }
        let earlier = router.counted("wan0:ingress")?;
        covered(EF).iter().try_for_each(|covered| outside.send(&covered.frame))?;
        let moved = router.counted("wan0:ingress")?.since(&earlier);
        ensure!(moved.packets() == [(EF, seen)].into() && moved.not_ip[0] == 8 - seen, "{inside:?}: {moved:?}");
    }
    Ok(())
}

fn looks(router: &Router, inside: &[&str]) -> anyhow::Result<()> {
    let status = router.ask("status --json")?.json()?;
    let said: Vec<_> = status["hooks"][0]["inside"].as_array().context("inside")?.iter().collect();
    ensure!(said == inside, "{said:?} instead of {inside:?}");
    let outside = router.lab().wan().run(|| Injector::open("eth0"))?;
    let earlier = router.counted("wan0:ingress")?;
    covered(EF).iter().try_for_each(|covered| outside.send(&covered.frame))?;
    let moved = router.counted("wan0:ingress")?.since(&earlier);
    let seen = 1 + 5 * u64::from(inside.contains(&"pppoe")) + 2 * u64::from(inside.contains(&"mpls"));
    ensure!(moved.packets() == [(EF, seen)].into(), "{inside:?}: {moved:?}");
    Ok(())
}

#[test]
fn no_session_is_looked_for_where_packets_have_no_link_header() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "ip tuntap add dev tun7 mode tun")?;
    let refused = router.ask("attach tun7 --inside pppoe,mpls")?.expect(2)?;
    refused.complains(&["tun7 is a layer-3 device", "--inside pppoe finds nothing"])?;
    router.ok("attach tun7 --inside mpls")?.says(&["tun7:ingress  attached: "]).map(drop)
}

#[test]
fn where_a_hook_looks_survives_whatever_changes() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --ingress --inside pppoe")?;
    looks(&router, &["pppoe"])?;
    let table = "[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
    let silent = router.policy("silent", &format!("[interface.wan0]\ningress = \"t\"\n{table}"))?;
    router.ok(&format!("policy apply {silent}"))?;
    looks(&router, &["pppoe"])?;
    let says = router.policy("says", &format!("[interface.wan0]\ningress = \"t\"\ninside = [\"mpls\"]\n{table}"))?;
    router.ask(&format!("policy diff {says}"))?.expect(3)?.says(&["inside", "pppoe -> mpls"])?;
    router.ok(&format!("policy apply {says}"))?;
    looks(&router, &["mpls"])?;
    router.ok("policy bypass wan0:ingress")?;
    looks(&router, &["mpls"])?;
    router.ok("policy resume wan0:ingress")?;
    router.ok("attach wan0 --ingress")?.says(&["already attached"])?;
    looks(&router, &["mpls"])?;
    router.ask("attach wan0 --ingress --inside pppoe")?.expect(1)?.complains(&["policy says"])?;
    router.ok("policy rollback")?;
    looks(&router, &["pppoe"])?;
    let only = router.policy("only", "[interface.wan0]\ninside = [\"pppoe\", \"mpls\"]\n")?;
    router.ok(&format!("policy apply --prune {only}"))?;
    router.ok("status")?.says(&["counts", "looks inside pppoe, mpls"])?;
    looks(&router, &["pppoe", "mpls"])?;
    router.ok("detach wan0")?;
    router.ok(&format!("attach wan0 --ingress --policy {only}"))?;
    looks(&router, &["pppoe", "mpls"])
}

/// Rules see addresses, ports and tags of what is inside; `explain` tries the hook's own program.
#[test]
fn rules_match_what_is_inside() -> anyhow::Result<()> {
    let rules = "[interface.wan0]\ninside = [\"pppoe\", \"mpls\"]\n\
        [[rule]]\nname = \"tagged\"\non = \"wan0:ingress\"\nmatch = { vlan = 100, proto = \"udp\", dst-port = 5006 }\n\
        set = \"CS1\"\n\
        [[rule]]\nname = \"a port\"\non = \"wan0:ingress\"\nmatch = { proto = \"udp\", dst-port = 5006, vlan-not = 1 }\n\
        set = \"CS2\"\n\
        [[rule]]\nname = \"a port, no tag\"\non = \"wan0:ingress\"\nmatch = { proto = \"udp\", dst-port = 5006 }\n\
        set = \"CS3\"\n";
    let router = Router::start()?;
    let policy = router.policy("rules", rules)?;
    let outside = router.lab().wan().run(|| Injector::open("eth0"))?;
    for hook in ["xdp", "clsact"] {
        router.ok(&format!("attach wan0 --ingress --hook {hook}"))?;
        router.ok(&format!("policy apply {policy}"))?;
        covered(EF).iter().try_for_each(|covered| outside.send(&covered.frame))?;
        let counted = router.counted("wan0:ingress")?;
        ensure!(counted.packets_after() == [(8, 1), (24, 7)].into(), "{hook}: {counted:?}");
        let frame = hex(&covered(EF)[2].frame);
        router.ok(&format!("policy explain wan0:ingress --hex {frame}"))?.says(&["a port, no tag", "CS3"])?;
        router.ok("detach wan0:ingress")?;
    }
    Ok(())
}
