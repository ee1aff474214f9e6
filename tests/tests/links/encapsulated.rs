//! Packets in packets as the router itself sends them, of each kind, whether or not this kernel has the device for it.

use anyhow::ensure;
use qos_vectors::{
    checksum, tunnels,
    tunnels::{OUTER, Tunnelled},
};
use qosbpf_tests::{hex, lab::Injector, router::Router, tagged::Tagged};

use super::outer::{UNIFORM, outermost};

#[test]
fn every_encapsulation_that_this_router_sends() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {}", router.policy("outer", UNIFORM)?))?;
    let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
    let inside = router.edge().run(|| Injector::open("wan0"))?;
    for tunnelled in tunnels::all() {
        let Tunnelled { name, packet, inner } = &tunnelled;
        let sent = tunnelled.frame(&[]);
        inside.send(&sent)?;
        let left = wire.receive_until(|frame| frame.get(..12) == sent.get(..12))?;
        let dscp = inner.map_or(OUTER >> 2, |dscp| dscp.value());
        ensure!(left.len() == sent.len(), "{name}");
        let ds = if packet[0] >> 4 == 4 { left[15] } else { left[14] << 4 | left[15] >> 4 };
        ensure!(ds == (dscp << 2 | OUTER & 3), "{name} left with {ds:#04x}");
        let header = if packet[0] >> 4 == 4 { 14 + usize::from(packet[0] & 15) * 4 } else { 16 };
        ensure!(left[header..] == sent[header..], "{name}: more than the outer header has changed");
        if packet[0] >> 4 == 4 {
            ensure!(checksum::error_of_ipv4_header(&left[14..header]) == 0, "{name}: the checksum");
        }
    }
    Ok(())
}

/// A rule comes first and sees the outer header alone; without the policy in the path everything stays as it is.
#[test]
fn rules_are_asked_first_and_a_bypass_takes_all_of_it_out() -> anyhow::Result<()> {
    const RULE: &str = "[[rule]]\nname = \"gre\"\non = \"wan0:egress\"\nmatch = { proto = 47 }\nset = \"CS3\"\n";
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {}", router.policy("outer", &format!("{UNIFORM}{RULE}"))?))?;
    let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
    let inside = router.edge().run(|| Injector::open("wan0"))?;
    for (verb, in_path) in [("policy show", true), ("policy bypass", false), ("policy resume", true)] {
        router.ok(verb)?;
        for tunnelled in tunnels::all() {
            let sent = tunnelled.frame(&[]);
            inside.send(&sent)?;
            let left = wire.receive_until(|frame| frame.get(..12) == sent.get(..12))?;
            let gre = [sent[23], sent[20]][usize::from(sent[14] >> 4 == 6)] == 47;
            let dscp = match (in_path, gre, tunnelled.inner) {
                (true, true, _) => 24,
                (true, false, Some(inner)) => inner.value(),
                _ => OUTER >> 2,
            };
            ensure!(outermost(&left)? == (dscp, OUTER & 3), "{verb}, {}: {}", tunnelled.name, hex(&left));
        }
    }
    Ok(())
}
