//! `why` where several flows share a codepoint: what is counted at egress proves nothing of one of them if others may make up
//! the number.

use anyhow::Context as _;
use qosbpf::lab::topology::WAN_HOST;
use qosbpf_tests::{
    binary::Answer,
    router::{HOOKS, Router, run_in, words},
    typed::{find, has, type_in},
};
use serde_json::Value;

const AF21: u8 = 0x48;

/// The WAN's host at a second line, and the hooks of that.
const FAR: &str = "203.0.113.2";
const SECOND: [&str; 2] = ["wan1:ingress", "wan1:egress"];

/// A router with a second line to the WAN's host, and hooks at all three interfaces; answers from there come back by that line,
/// if so, else by the first one.
fn router(symmetric: bool) -> anyhow::Result<Router> {
    let router = Router::start()?;
    let wan = router.lab().wan();
    let pair = format!("ip link add wan1 type veth peer name far netns {}", wan.name());
    for line in [&*pair, "ip address add 203.0.113.1/24 dev wan1", "ip link set wan1 up"] {
        run_in(router.edge(), line)?;
    }
    for line in ["ip address add 203.0.113.2/24 dev far", "ip link set far up"] {
        run_in(wan, line)?;
    }
    if symmetric {
        run_in(wan, "ip route add default via 203.0.113.1 dev far table 100")?;
        run_in(wan, "ip rule add from 203.0.113.2 lookup 100")?;
    }
    for interface in ["lan0", "wan0", "wan1"] {
        router.ok(&format!("attach {interface}"))?;
    }
    Ok(router)
}

/// Answers that come in by the first line are dropped by their mark.
fn dropping(symmetric: bool) -> anyhow::Result<Router> {
    let router = router(symmetric)?;
    for line in [
        "nft add table inet q",
        "nft add chain inet q thru { type filter hook forward priority 0 ; }",
        "nft add rule inet q thru iifname wan0 ip dscp af21 drop",
    ] {
        run_in(router.edge(), line)?;
    }
    Ok(router)
}

/// Twelve requests from the LAN's host with AF21, of which so many are answered.
fn ping(router: &Router, to: &str, answered: u32) -> anyhow::Result<()> {
    let line = format!("ping -q -n -i 0.002 -W 1 -Q {AF21} -c 12 {to}");
    let answer = router.lab().lan().run(|| Answer::of(&mut words(&line)))?;
    anyhow::ensure!(answer.stdout.contains(&format!(" {answered} received")), "{answer:?}");
    Ok(())
}

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    router.ask(&format!("why {what} --sample 0 --json"))
}

fn suspect(found: &Value) -> anyhow::Result<&str> {
    found["details"][0].as_str().context("a suspect")
}

#[test]
fn flows_that_cross_each_other_are_told_as_what_they_are() -> anyhow::Result<()> {
    let router = router(true)?;
    ping(&router, FAR, 12)?;
    ping(&router, &WAN_HOST.v4.to_string(), 12)?;
    for hook in HOOKS.iter().chain(&SECOND) {
        let answer = why(&router, &format!("{hook} AF21"))?.expect(0)?;
        assert!(answer.stdout.contains("AF21 comes through: "), "{hook}: {}", answer.stdout);
    }
    why(&router, "wan0:egress AF21")?.says(&[
        "AF21 comes through: 36 from lan0:ingress, wan1:ingress, 36 at the hooks at egress, 12 of them at wan0:egress",
    ])?;
    Ok(())
}

/// The numbers at egress are those of requests, and of answers to others.
#[test]
fn what_others_brought_in_is_not_taken_for_the_answers_that_were_dropped() -> anyhow::Result<()> {
    let router = dropping(true)?;
    ping(&router, FAR, 12)?;
    ping(&router, &WAN_HOST.v4.to_string(), 0)?;
    let found = find(&why(&router, "wan0:ingress AF21")?.expect(4)?, "wan0:ingress", "unproved")?;
    let text = "AF21 may be lost inside this router: 12 came in by wan0:ingress, and of 48 that came in by all hooks 36 left: \
                which of them, the numbers do not say";
    assert_eq!(found["text"], text, "{found:#}");
    assert!(suspect(&found)?.starts_with("suspect 1: nft table inet q chain thru handle "), "{found:#}");
    // Of those that come in elsewhere the rule takes none.
    let other = find(&why(&router, "wan1:ingress AF21")?.expect(4)?, "wan1:ingress", "unproved")?;
    assert!(
        suspect(&other)?.starts_with("or of what came in elsewhere: nft table inet q chain thru handle "),
        "{other:#}"
    );
    type_in(&found, None)?;
    ping(&router, &WAN_HOST.v4.to_string(), 12)
}

#[test]
fn answers_that_come_in_by_another_line_are_not_taken_for_their_requests() -> anyhow::Result<()> {
    let router = dropping(false)?;
    ping(&router, FAR, 0)?;
    for hook in ["lan0:egress", "wan0:ingress"] {
        let found = find(&why(&router, &format!("{hook} AF21"))?.expect(4)?, hook, "unproved")?;
        assert!(suspect(&found)?.starts_with("suspect 1: nft table inet q chain thru handle "), "{found:#}");
    }
    // Half of what may have left there did not.
    let answer = why(&router, "wan1:egress AF21")?;
    assert!(answer.code != 0 && !answer.stdout.contains("comes through"), "{answer:?}");
    Ok(())
}

/// It takes others than those that come through.
#[test]
fn a_rule_that_is_about_the_mark_is_named_where_all_comes_through() -> anyhow::Result<()> {
    let router = router(true)?;
    for line in [
        "nft add table inet q",
        "nft add chain inet q thru { type filter hook forward priority 0 ; }",
        "nft add rule inet q thru iifname lan0 ip dscp af21 udp dport 9 drop",
    ] {
        run_in(router.edge(), line)?;
    }
    ping(&router, &WAN_HOST.v4.to_string(), 12)?;
    for hook in ["wan0:egress", "lan0:ingress"] {
        let answer = why(&router, &format!("{hook} AF21"))?.expect(0)?;
        let named = find(&answer.says(&["AF21 comes through: 12 from lan0:ingress, 12 at "])?, hook, "on-the-way")?;
        assert_eq!(named["level"], "info", "{named:#}");
        assert!(suspect(&named)?.starts_with("suspect 1: nft table inet q chain thru handle "), "{named:#}");
    }
    assert!(!has(&why(&router, "wan0:ingress AF21")?.expect(0)?, "on-the-way")?, "it comes in by another interface");
    Ok(())
}

#[test]
fn what_this_host_makes_may_stand_for_what_is_lost() -> anyhow::Result<()> {
    let router = router(true)?;
    ping(&router, &WAN_HOST.v4.to_string(), 12)?;
    run_in(router.edge(), &format!("ping -q -n -i 0.002 -W 2 -Q {AF21} -c 20 {}", WAN_HOST.v4))?;
    let found = find(&why(&router, "wan0:egress AF21")?.expect(4)?, "wan0:egress", "unproved")?;
    let words = "12 came in by lan0:ingress, 32 left, and what is more was made by this host, or marked on the way";
    assert!(found["text"].as_str().is_some_and(|text| text.contains(words)), "{found:#}");
    assert!(found["look"].as_str().is_some_and(|look| look.contains("why --sample 10 wan0:egress AF21")), "{found:#}");
    Ok(())
}
