//! `why` on packets of both families, each of which is lost in a way of its own.

use std::net::{IpAddr, SocketAddr};

use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in},
    typed::{find, has, shell, type_in},
    udp,
};
use serde_json::Value;

const FORWARDED: &str = "nft add chain inet t f { type filter hook forward priority 0 ; }";
const IPV6_DROPPED: &str = "nft add rule inet t f ip6 dscp cs2 drop";

/// A router with hooks where packets come in from the LAN and where they leave, and these rules.
fn router(lines: &[&str]) -> anyhow::Result<Router> {
    let router = Router::start()?;
    for line in [&["nft add table inet t"], lines].concat() {
        run_in(router.edge(), line)?;
    }
    router.ok("attach lan0 --ingress")?;
    router.ok("attach wan0 --egress")?;
    Ok(router)
}

/// Forty CS2 of each family from the LAN to the WAN.
fn send(router: &Router) -> anyhow::Result<()> {
    for [from, to] in
        [[LAN_HOST, WAN_HOST].map(|end| IpAddr::V4(end.v4)), [LAN_HOST, WAN_HOST].map(|end| IpAddr::V6(end.v6))]
    {
        udp::send(router.lab().lan(), SocketAddr::new(from, 0), SocketAddr::new(to, 5060), 64, 40)?;
    }
    Ok(())
}

fn why(router: &Router) -> anyhow::Result<Answer> {
    router.ask("why wan0:egress CS2 --sample 0 --json")
}

fn details(finding: &Value) -> Vec<&str> {
    finding["details"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn each_family_has_suspects_of_its_own_and_none_is_the_cure_of_both() -> anyhow::Result<()> {
    let router = router(&[
        FORWARDED,
        IPV6_DROPPED,
        "nft add chain inet t p { type filter hook postrouting priority 0 ; }",
        "nft add rule inet t p ip dscp cs2 ip dscp set cs0",
    ])?;
    send(&router)?;
    let answer = why(&router)?.expect(3)?;
    let lost = find(&answer, "wan0:egress", "lost-inside")?;
    assert!(lost["cure"].is_null() && lost["text"].to_string().contains("(80 came, 0 were counted)"), "{lost:#}");
    let [of, marked, dropped] = *details(&lost) else { panic!("{lost:#}") };
    assert_eq!(of, "missing: 40 of 40 IPv4, 40 of 40 IPv6");
    for (suspect, words) in [
        (marked, "chain p handle 4: ip dscp cs2 ip dscp set cs0 (IPv4 alone); if so: "),
        (dropped, "drops CS2: ip6 dscp cs2 drop (IPv6 alone); if so: "),
    ] {
        let (_, command) = suspect.split_once(words).unwrap_or_else(|| panic!("{words}: {lost:#}"));
        assert_eq!(shell(command, None)?.code, 0, "{command}");
    }
    assert!(!has(&answer, "made-here")?, "said already: {}", answer.stdout);
    assert!(!run_in(router.edge(), "nft list ruleset")?.stdout.contains("dscp"), "both are gone");
    Ok(())
}

/// What nobody is known to take is no part of what the only suspect can have taken.
#[test]
fn where_nobody_is_suspected_of_one_family_that_is_said() -> anyhow::Result<()> {
    let router = router(&[FORWARDED, IPV6_DROPPED, "nft add rule inet t f meta nfproto ipv4 udp dport 5060 drop"])?;
    send(&router)?;
    let lost = find(&why(&router)?.expect(3)?, "wan0:egress", "lost-inside")?;
    let details = details(&lost);
    assert!(lost["cure"].is_null() && details.len() == 3, "{lost:#}");
    assert!(details[1].contains("(IPv6 alone); if so: "), "{lost:#}");
    assert_eq!(details[2], "of IPv4 nobody is suspected: for this host, or dropped");
    Ok(())
}

#[test]
fn a_family_that_is_lost_is_not_made_up_for_by_the_other_one() -> anyhow::Result<()> {
    let router = router(&[FORWARDED, IPV6_DROPPED])?;
    send(&router)?;
    run_in(router.edge(), &format!("ping -q -n -i 0.002 -W 2 -Q 64 -c 40 {}", WAN_HOST.v4))?;
    let counted = router.all_counted(&["lan0:ingress", "wan0:egress"])?;
    assert!(counted.iter().all(|hook| hook.packets().get(&64) == Some(&80)), "{counted:?}");
    let lost = find(&why(&router)?.expect(3)?, "wan0:egress", "lost-inside")?;
    let words = "IPv6 CS2 is lost inside this router, between lan0:ingress and wan0:egress (40 came, 0 were counted)";
    assert!(lost["text"] == words && details(&lost).len() == 1, "{lost:#}");
    type_in(&lost, None)?;
    assert!(!run_in(router.edge(), "nft list ruleset")?.stdout.contains("dscp"), "it is gone");
    Ok(())
}
