//! What a rule hands to the kernel at TC: the class of HTB by `priority`, bits of the mark to nft.

use std::net::IpAddr;

use anyhow::Context as _;
use qosbpf::lab::topology::LAN_HOST;
use qosbpf_tests::router::run_in;

use crate::masquerade::Masquerade;

const EF: u8 = 0xb8;

fn from() -> IpAddr {
    LAN_HOST.v4.into()
}

#[test]
fn htb_picks_the_class_by_priority_alone() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    for line in [
        "tc qdisc add dev ppp0 root handle 10: htb default 100",
        "tc class add dev ppp0 parent 10: classid 10:100 htb rate 100mbit",
        "tc class add dev ppp0 parent 10: classid 10:200 htb rate 100mbit",
    ] {
        run_in(lab.router.edge(), line)?;
    }
    let rule =
        "[[rule]]\nname = \"voice class\"\non = \"ppp*:egress\"\nmatch = { dscp = \"EF\" }\npriority = \"10:200\"\n";
    let policy = lab.router.policy("htb", rule)?;
    lab.router.ok("attach ppp0 --egress")?;
    lab.router.ok(&format!("policy apply {policy}"))?;
    let arrived = lab.arrive(7003, 20, || lab.send(from(), 7003, EF, 20))?;
    assert_eq!(arrived, vec!["0xb8"; 20], "a priority alone keeps the mark");
    assert_eq!([sent(&lab, "10:200")?, sent(&lab, "10:100")?], [20, 0]);
    lab.arrive(7003, 5, || lab.send(from(), 7003, 0, 5))?;
    assert_eq!([sent(&lab, "10:200")?, sent(&lab, "10:100")?], [20, 5]);
    assert_eq!(lab.hits("ppp0:egress", "voice class")?, Some(20));
    Ok(())
}

/// The packets that a class has sent, by `tc -s`.
fn sent(lab: &Masquerade, class: &str) -> anyhow::Result<u64> {
    let text = run_in(lab.router.edge(), "tc -s class show dev ppp0")?.stdout;
    let of_class = text.split("class htb ").find(|text| text.starts_with(class)).context("the class")?;
    let words: Vec<&str> = of_class.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "Sent").context("Sent")?;
    Ok(words.get(at + 3).context("packets")?.parse()?)
}

#[test]
fn a_mark_leaves_the_other_bits() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    for line in [
        "nft add table inet marks",
        "nft add chain inet marks pre { type filter hook prerouting priority mangle ; }",
        "nft add rule inet marks pre udp dport 7004 meta mark 0x10 counter",
        "nft add chain inet marks post { type filter hook postrouting priority mangle ; }",
        "nft add rule inet marks post udp dport 7004 meta mark set meta mark or 0xab00",
    ] {
        run_in(lab.router.edge(), line)?;
    }
    let rules = "[[rule]]\nname = \"in\"\non = \"lan0:ingress\"\nmatch = { dscp = \"EF\" }\nmark = \"0x10/0xff\"\n\
                 [[rule]]\nname = \"out\"\non = \"ppp0:egress\"\nmatch = { mark = \"0xab10/0xffff\" }\nset = \"CS1\"\n";
    let policy = lab.router.policy("marks", rules)?;
    lab.router.ok("attach lan0 --ingress --hook tcx")?;
    lab.router.ok("attach ppp0 --egress")?;
    lab.router.ok(&format!("policy apply {policy}"))?;
    let arrived = lab.arrive(7004, 6, || lab.send(from(), 7004, EF, 6))?;
    assert_eq!(arrived, vec!["0x20"; 6], "nft saw our bits, and the rule at egress ours beside nft's");
    let counter = run_in(lab.router.edge(), "nft list chain inet marks pre")?.stdout;
    assert!(counter.contains("counter packets 6 "), "{counter}");
    assert_eq!([lab.hits("lan0:ingress", "in")?, lab.hits("ppp0:egress", "out")?], [Some(6); 2]);
    Ok(())
}

/// `ip_forward()` gives IPv4 packets a priority by their TOS, whatever they had.
#[test]
fn a_priority_at_ingress_lasts_where_forwarding_leaves_it() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    let edge = lab.router.edge();
    for line in [
        "nft add table inet prio",
        "nft add chain inet prio post { type filter hook postrouting priority mangle ; }",
        "nft add rule inet prio post udp dport 7005 meta priority 0:6 counter",
    ] {
        run_in(edge, line)?;
    }
    let rule = "[[rule]]\nname = \"voice\"\non = \"lan0:ingress\"\nmatch = { dscp = \"EF\" }\npriority = 6\n";
    let policy = lab.router.policy("priority", rule)?;
    let checked = lab.router.ok(&format!("policy check {policy}"))?;
    assert!(checked.stderr.contains("forwarding overwrites the priority that `voice`"), "{}", checked.stderr);
    lab.router.ok("attach lan0 --ingress --hook tcx")?;
    lab.router.ok(&format!("policy apply {policy}"))?;
    for (setting, kept, code) in [("1", 0, 3), ("0", 5, 0)] {
        edge.set(&[("ipv4/ip_forward_update_priority", setting)])?;
        lab.arrive(7005, 5, || lab.send(from(), 7005, EF, 5))?;
        let counter = run_in(edge, "nft list chain inet prio post")?.stdout;
        assert!(counter.contains(&format!("counter packets {kept} ")), "{setting}: {counter}");
        let why = lab.router.ask("why lan0:ingress rule=voice --sample 0")?.expect(code)?.stdout;
        assert_eq!(why.contains("sysctl -w net.ipv4.ip_forward_update_priority=0"), kept == 0, "{why}");
    }
    Ok(())
}

#[test]
fn a_rule_that_needs_tc_is_refused_at_xdp_and_takes_tcx_by_itself() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    let rule = "[[rule]]\nname = \"in\"\non = \"lan0:ingress\"\nmark = \"0x10/0xff\"\n";
    let policy = lab.router.policy("marks", rule)?;
    lab.router.ok("attach lan0 --ingress --hook xdp")?;
    let refused = lab.router.ask(&format!("policy apply {policy}"))?.expect(1)?;
    let text = &refused.stderr;
    assert!(text.contains("rule \"in\" needs TC for its mark") && text.contains("--hook tcx"), "{text}");
    lab.router.ok("detach lan0:ingress")?;
    lab.router
        .ok(&format!("attach lan0 --ingress --policy {policy}"))?
        .says(&["not xdp-native: rule \"in\" needs TC"])?;
    lab.router.ok("status")?.says(&["rule \"in\" needs TC for its mark"])?;
    Ok(())
}
