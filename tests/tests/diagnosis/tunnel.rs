//! `why` on a router with a tunnel: a packet is counted at the tunnel, and its outer header at the device below it.

use qosbpf_tests::{
    binary::Answer,
    router::{HOOKS, Router, run_in, words},
    typed::{find, has},
};

const EF: u8 = 0xb8;

/// A router with a VXLAN to the WAN's host whose outer headers inherit the mark, both ways.
fn router() -> anyhow::Result<Router> {
    let router = Router::start()?;
    let ends =
        [(router.edge(), "198.51.100.1", "198.51.100.2", 1), (router.lab().wan(), "198.51.100.2", "198.51.100.1", 2)];
    for (namespace, local, remote, number) in ends {
        let vxlan = format!("ip link add vx0 type vxlan id 7 remote {remote} local {local} dstport 4789 tos inherit");
        let address = format!("ip address add 10.7.0.{number}/24 dev vx0");
        for line in [&*vxlan, &address, "ip link set vx0 up"] {
            run_in(namespace, line)?;
        }
    }
    run_in(router.lab().wan(), "ip route add 192.0.2.0/24 via 10.7.0.1 dev vx0")?;
    Ok(router)
}

/// Twelve requests of the LAN's host through the tunnel.
fn ping(router: &Router, answered: u32) -> anyhow::Result<()> {
    let line = format!("ping -q -n -i 0.002 -W 1 -Q {EF} -c 12 10.7.0.2");
    let answer = router.lab().lan().run(|| Answer::of(&mut words(&line)))?;
    anyhow::ensure!(answer.stdout.contains(&format!(" {answered} received")), "{answer:?}");
    Ok(())
}

fn attach(router: &Router, interfaces: &[&str]) -> anyhow::Result<()> {
    interfaces.iter().try_for_each(|interface| router.ok(&format!("attach {interface}")).map(drop))
}

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    router.ask(&format!("why {what} --sample 0 --json"))
}

#[test]
fn what_goes_through_a_tunnel_is_not_missed_at_the_device_below_it() -> anyhow::Result<()> {
    let router = router()?;
    attach(&router, &["lan0", "wan0", "vx0"])?;
    ping(&router, 12)?;
    for hook in HOOKS.iter().chain(&["vx0:ingress", "vx0:egress"]) {
        assert_eq!(router.counted(hook)?.packets().get(&EF), Some(&12), "{hook}");
        let answer = why(&router, &format!("{hook} EF"))?.expect(0)?;
        let tunnel = find(&answer, hook, "tunnel")?;
        let text = "vx0 puts packets into others: packets and their outer headers are counted separately";
        assert!(tunnel["text"] == text && tunnel["details"][1] == "vx0:egress 12", "{tunnel:#}");
    }
    // What comes out of the tunnel came in by the WAN, and does not leave there.
    let answer = why(&router, "wan0:egress EF")?;
    assert!(!answer.stdout.contains("vx0:ingress before"), "{}", answer.stdout);
    answer.says(&["EF comes through: 12 from lan0:ingress, "])?;
    Ok(())
}

/// Without a hook where they come in nobody knows of packets but that there are outer headers.
#[test]
fn outer_headers_are_not_taken_for_what_came_out_of_the_tunnel() -> anyhow::Result<()> {
    let router = router()?;
    attach(&router, &["wan0", "vx0"])?;
    ping(&router, 12)?;
    let answer = why(&router, "wan0:egress EF")?.expect(0)?;
    assert!(!answer.stdout.contains("comes through"), "{}", answer.stdout);
    answer
        .says(&["EF comes here: made by this host, or marked on the way, or an outer header of what goes into vx0"])?;
    let found = find(&why(&router, "vx0:egress EF")?.expect(4)?, "vx0:egress", "tunnelled")?;
    assert!(
        found["text"].as_str().is_some_and(|text| text.contains("outer headers are counted separately")),
        "{found:#}"
    );
    Ok(())
}

/// The numbers do not tell what is lost from what is counted twice; no route is to blame.
#[test]
fn where_it_cannot_be_told_apart_that_is_said_with_the_rule_and_without_a_route() -> anyhow::Result<()> {
    let router = router()?;
    attach(&router, &["lan0", "wan0", "vx0"])?;
    for line in [
        "nft add table inet q",
        "nft add chain inet q thru { type filter hook forward priority 0 ; }",
        "nft add rule inet q thru iifname vx0 ip dscp ef drop",
        "ip link add docker0 up type bridge",
        "ip address add 172.17.0.1/16 dev docker0",
    ] {
        run_in(router.edge(), line)?;
    }
    ping(&router, 0)?;
    let answer = why(&router, "lan0:egress EF")?.expect(4)?;
    let found = find(&answer, "lan0:egress", "tunnelled")?;
    let details = found["details"].to_string();
    assert!(
        details.contains("suspect 1: nft table inet q chain thru handle ") && !details.contains("route"),
        "{found:#}"
    );
    assert!(!has(&answer, "lost-inside")? && !answer.stdout.contains("attach --"), "{}", answer.stdout);
    Ok(())
}
