//! `why` and `doctor` about bridges: what is bridged from port to port comes to none of the own hooks of a bridge.

use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in},
    typed::{find, has, type_in},
};

use super::doctor::doctor;

/// A bridge between the LAN's host and the WAN's, with hooks at both ports and at itself.
fn bridge() -> anyhow::Result<Router> {
    let router = Router::start()?;
    let wan = router.lab().wan();
    let pair = format!("ip link add p1 type veth peer name far netns {}", wan.name());
    for line in
        [&*pair, "ip link add br0 up type bridge", "ip link set lan0 master br0", "ip link set p1 up master br0"]
    {
        run_in(router.edge(), line)?;
    }
    for line in ["ip address add 192.0.2.9/24 dev far", "ip link set far up"] {
        run_in(wan, line)?;
    }
    for interface in ["lan0", "p1", "br0"] {
        router.ok(&format!("attach {interface}"))?;
    }
    Ok(router)
}

/// The same with EF from the one host to the other, and back.
fn router() -> anyhow::Result<Router> {
    let router = bridge()?;
    run_in(router.lab().lan(), "ping -q -n -i 0.002 -W 2 -Q 184 -c 12 192.0.2.9")?;
    Ok(router)
}

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    router.ask(&format!("why {what} --sample 0 --json"))
}

#[test]
fn what_is_bridged_between_ports_is_not_missed_at_the_bridge_itself() -> anyhow::Result<()> {
    let router = router()?;
    for (hook, counted) in [
        ("br0:ingress", &["lan0:ingress 12", "p1:ingress 12", "lan0:egress 12", "p1:egress 12"][..]),
        ("br0:egress", &["lan0:egress 12", "p1:egress 12"]),
    ] {
        let answer = why(&router, &format!("{hook} EF"))?.expect(0)?;
        let found = find(&answer, hook, "bridged")?;
        let text = found["text"].as_str().unwrap_or_default();
        assert!(found["level"] == "info" && text.contains("bridged between ports"), "{found:#}");
        assert!(counted.iter().all(|counted| found["details"].to_string().contains(counted)), "{found:#}");
        assert!(!text.contains("sender") && !answer.stdout.contains("attach --"), "{}", answer.stdout);
    }
    for hook in ["lan0:ingress", "p1:egress"] {
        why(&router, &format!("{hook} EF"))?.expect(0)?.says(&["EF comes through: 12 from "])?;
    }
    assert!(!has(&why(&router, "br0:ingress AF41")?, "bridged")?, "none came by any port");
    Ok(())
}

/// The router answers pings with their mark, where they came from: that is no proof that they came through.
#[test]
fn what_the_router_answers_by_a_bridge_does_not_stand_for_what_it_was_sent() -> anyhow::Result<()> {
    let router = bridge()?;
    for line in ["ip -4 address flush dev lan0", "ip address add 192.0.2.7/24 dev br0"] {
        run_in(router.edge(), line)?;
    }
    run_in(router.lab().lan(), "ping -q -n -i 0.002 -W 2 -Q 184 -c 5 192.0.2.7")?;
    for hook in ["br0:ingress", "lan0:ingress"] {
        let answer = why(&router, &format!("{hook} EF"))?.expect(4)?;
        let found = find(&answer, hook, "vanished")?;
        let text = found["text"].as_str().unwrap_or_default();
        assert!(text.contains("(5 came, 0 were counted): for this host, or dropped"), "{found:#}");
    }
    for hook in ["br0:egress", "lan0:egress"] {
        let answer = why(&router, &format!("{hook} EF"))?.expect(0)?.says(&["EF comes here: made by this host"])?;
        assert!(!answer.stdout.contains("comes through"), "{}", answer.stdout);
    }
    // What is bridged beside it comes through all the same.
    run_in(router.lab().lan(), "ping -q -n -i 0.002 -W 2 -Q 184 -c 1000 192.0.2.9")?;
    why(&router, "p1:egress EF")?.expect(0)?.says(&["EF comes through"])?;
    Ok(())
}

/// What nft's family `bridge` sees goes by a bridge: a rule of it is told at its ports, and nowhere else.
#[test]
fn a_rule_of_bridges_is_told_at_bridges_and_their_ports() -> anyhow::Result<()> {
    let router = Router::start()?;
    for line in [
        "nft add table bridge b",
        "nft add chain bridge b f { type filter hook forward priority 0 ; }",
        "nft add rule bridge b f ip dscp ef ip dscp set cs1",
    ] {
        run_in(router.edge(), line)?;
    }
    let text = "[interface.lan0]\ningress = \"t\"\n[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n";
    let policy = router.policy("p", &format!("{text}CS6 = \"DF\"\n"))?;
    router.ok(&format!("policy apply {policy} --attach"))?;
    assert!(!has(&doctor(&router)?.expect(0)?, "marked-by-others")?);
    run_in(router.edge(), "ip link add br0 type bridge")?;
    run_in(router.edge(), "ip link add port0 master br0 type veth peer name port1")?;
    let found = find(&doctor(&router)?.expect(3)?, "host", "marked-by-others")?;
    let text = found["text"].as_str().unwrap_or_default();
    assert!(text.contains("nft table bridge b chain f ") && text.ends_with(", at br0, port0"), "{found:#}");
    type_in(&found, None)?;
    assert!(!has(&doctor(&router)?, "marked-by-others")?);
    Ok(())
}
