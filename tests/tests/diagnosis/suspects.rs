//! Who is suspected of what is missing: those who may have seen it, and nobody else.

use std::net::{IpAddr, SocketAddr};

use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in},
    typed::{find, findings, type_in},
    udp,
};

/// A router with hooks where packets come in from the LAN and where they leave, and an interface that nothing passes.
fn router(lines: &[&str]) -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    router.ok("attach wan0 --egress")?;
    for line in ["ip link add s0 type veth peer name s1", "ip link set s0 up", "ip link set s1 up"] {
        run_in(router.edge(), line)?;
    }
    for line in lines {
        run_in(router.edge(), line)?;
    }
    Ok(router)
}

/// EF from the LAN to the WAN.
fn send(router: &Router, from: IpAddr, to: IpAddr) -> anyhow::Result<()> {
    udp::send(router.lab().lan(), SocketAddr::new(from, 0), SocketAddr::new(to, 5060), 184, 20)
}

fn why(router: &Router, hook: &str) -> anyhow::Result<Answer> {
    router.ask(&format!("why {hook} EF --sample 0 --json"))
}

fn suspects(answer: &Answer) -> anyhow::Result<Vec<String>> {
    let lost = find(answer, "wan0:egress", "lost-inside")?;
    let details = lost["details"].as_array().cloned().unwrap_or_default();
    Ok(details.iter().filter_map(|detail| detail.as_str().map(str::to_owned)).collect())
}

#[test]
fn a_filter_that_redirects_by_the_mark_is_suspected_of_its_mark_and_family() -> anyhow::Result<()> {
    let router = router(&[
        "tc qdisc add dev lan0 clsact",
        "tc filter add dev lan0 ingress protocol ip pref 6 u32 match ip tos 0x88 0xfc action mirred egress redirect dev s0",
        "tc filter add dev lan0 ingress protocol ip pref 7 u32 match ip tos 0xb8 0xfc match ip protocol 17 0xff \
         action mirred egress redirect dev s0",
        "tc filter add dev lan0 ingress protocol ipv6 pref 8 u32 match ip6 priority 0xb8 0xfc action mirred egress \
         redirect dev s0",
    ])?;
    send(&router, LAN_HOST.v4.into(), WAN_HOST.v4.into())?;
    let found = suspects(&why(&router, "wan0:egress")?.expect(3)?)?;
    assert_eq!(found.len(), 1, "{found:#?}");
    let words = ["tc filter u32 protocol ip pref 7 ", " at lan0 ingress takes EF away by mirred"];
    assert!(words.iter().all(|words| found[0].contains(words)), "{found:#?}");
    let answer = why(&router, "lan0:ingress")?.expect(3)?;
    let behind: Vec<_> = findings(&answer)?.into_iter().filter(|found| found["code"] == "tc-takes").collect();
    assert_eq!(behind.len(), 2, "of either family: {behind:#?}");
    type_in(&behind[0], None)?;
    let left = run_in(router.edge(), "tc filter show dev lan0 ingress")?.stdout;
    let has = |condition: &str| left.contains(condition);
    assert!(!has("00b80000/00fc0000") && has("00880000/00fc0000") && has("0b800000/0fc00000"), "{left}");
    send(&router, LAN_HOST.v6.into(), WAN_HOST.v6.into())?;
    let found = suspects(&why(&router, "wan0:egress")?.expect(3)?)?;
    assert!(found.iter().any(|suspect| suspect.contains("protocol ipv6 pref 8 ")), "{found:#?}");
    Ok(())
}

#[test]
fn a_chain_of_a_device_is_suspected_at_that_device_alone() -> anyhow::Result<()> {
    let router = router(&[
        "nft add table netdev t",
        "nft add chain netdev t other { type filter hook ingress device s0 priority 0 ; }",
        "nft add rule netdev t other ip dscp set cs1",
        "nft add chain netdev t lan { type filter hook ingress device lan0 priority 0 ; }",
        "nft add rule netdev t lan ip6 dscp ef ip6 dscp set cs2",
        "nft add rule netdev t lan ip dscp ef ip dscp set cs3",
    ])?;
    send(&router, LAN_HOST.v4.into(), WAN_HOST.v4.into())?;
    let answer = why(&router, "wan0:egress")?.expect(3)?;
    let found = suspects(&answer)?;
    assert!(matches!(&*found, [one] if one.contains("chain lan handle ") && one.contains("set cs3")), "{found:#?}");
    type_in(&find(&answer, "wan0:egress", "lost-inside")?, None)?;
    let left = run_in(router.edge(), "nft list ruleset")?.stdout;
    assert!(!left.contains("set cs3") && left.contains("set cs1") && left.contains("set cs2"), "{left}");
    let marked = findings(&router.ask("doctor --sample 0 --json")?)?;
    let marked = marked.iter().filter(|found| found["code"] == "marked-by-others");
    let at: Vec<_> = marked.map(|found| (found["subject"].as_str(), found["text"].as_str())).collect();
    let told = |interface, word: &str| {
        at.iter().any(|(at, text)| *at == Some(interface) && text.is_some_and(|text| text.contains(word)))
    };
    assert!(at.len() == 2 && told("s0", "set cs1") && told("lan0", "set cs2"), "{at:#?}");
    Ok(())
}

/// A router whose chain `thru` of what is forwarded has these rules, and others that it calls.
fn with_rules(lines: &[&str]) -> anyhow::Result<Router> {
    let made = [
        "nft add table inet f",
        "nft add chain inet f sub",
        "nft add chain inet f thru { type filter hook forward priority 0 ; }",
    ];
    router(&[&made, lines].concat())
}

#[test]
fn a_rule_of_nft_that_drops_by_the_mark_is_named_with_its_verdict_and_taken_away() -> anyhow::Result<()> {
    let cases = [
        (
            vec!["nft add rule inet f thru ip dscp ef counter drop"],
            "drops EF: ip dscp ef counter packets 20 bytes 2560 drop",
        ),
        (
            vec!["nft add rule inet f thru ip dscp ef reject"],
            "rejects EF: ip dscp ef reject with icmp port-unreachable",
        ),
        (
            vec!["nft add rule inet f thru ip dscp vmap { cs1 : accept, ef : drop }"],
            "drops EF: ip dscp vmap { cs1 : accept, ef : drop }",
        ),
        (vec!["nft add rule inet f thru @nh,8,6 46 drop"], "drops EF: @nh,8,8 & 0xfc == 0xb8 drop"),
        (
            vec!["nft add rule inet f sub meta l4proto udp drop", "nft add rule inet f thru ip dscp ef jump sub"],
            "drops EF: meta l4proto udp drop",
        ),
    ];
    for (lines, words) in cases {
        let router = with_rules(&lines)?;
        send(&router, LAN_HOST.v4.into(), WAN_HOST.v4.into())?;
        let answer = why(&router, "wan0:egress")?.expect(3)?;
        let found = suspects(&answer)?;
        assert!(matches!(&*found, [one] if one.contains(&format!(" {words}"))), "{words}: {found:#?}");
        let lost = find(&answer, "wan0:egress", "lost-inside")?;
        type_in(&lost, None)?;
        send(&router, LAN_HOST.v4.into(), WAN_HOST.v4.into())?;
        assert_eq!(router.counted("wan0:egress")?.packets().get(&184), Some(&20), "{words}");
        assert!(!run_in(router.edge(), "nft list ruleset")?.stdout.contains(" drop"), "{words}");
    }
    Ok(())
}

/// Of all that a firewall drops, only what it drops by the mark says so.
#[test]
fn a_rule_that_drops_other_packets_or_whatever_their_mark_is_no_suspect() -> anyhow::Result<()> {
    let router = with_rules(&[
        "nft add rule inet f thru ip dscp cs1 drop",
        "nft add rule inet f thru ip6 dscp ef drop",
        "nft add rule inet f thru iifname s0 ip dscp ef drop",
        "nft add rule inet f sub ip dscp ef drop",
        "nft add rule inet f thru udp dport 5060 drop",
    ])?;
    send(&router, LAN_HOST.v4.into(), WAN_HOST.v4.into())?;
    find(&why(&router, "wan0:egress")?.expect(4)?, "wan0:egress", "vanished")?;
    Ok(())
}

/// A chain has packets of those devices alone whose chains call it, be it one of another hook.
#[test]
fn a_chain_that_only_the_chain_of_another_device_calls_is_no_suspect() -> anyhow::Result<()> {
    let netdev = [
        "nft add table netdev t",
        "nft add chain netdev t sub",
        "nft add rule netdev t sub ip dscp ef ip dscp set cs1",
        "nft add chain netdev t other { type filter hook ingress device s0 priority 0 ; }",
        "nft add rule netdev t other jump sub",
        "nft add chain netdev t lan { type filter hook ingress device lan0 priority 0 ; }",
        "nft add chain netdev t deep",
        "nft add rule netdev t lan ip dscp vmap { cs1 : accept, ef : goto deep }",
    ];
    let router = router(&netdev)?;
    run_in(router.edge(), "nft add table inet f")?;
    run_in(router.edge(), "nft add chain inet f thru { type filter hook forward priority 0 ; }")?;
    run_in(router.edge(), "nft add rule inet f thru udp dport 5060 ip dscp set cs2")?;
    send(&router, LAN_HOST.v4.into(), WAN_HOST.v4.into())?;
    let found = suspects(&why(&router, "wan0:egress")?.expect(3)?)?;
    assert!(matches!(&*found, [one] if one.contains("chain thru handle ")), "{found:#?}");
    run_in(router.edge(), "nft add rule netdev t deep jump sub")?;
    let found = suspects(&why(&router, "wan0:egress")?.expect(3)?)?;
    assert!(found.len() == 2 && found.iter().any(|one| one.contains("netdev t chain sub handle ")), "{found:#?}");
    Ok(())
}
