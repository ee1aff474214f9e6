//! Whoever attaches where a packet then counts twice is told, and so is who asks `doctor`.

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    features::left_out,
    router::{Router, run_in},
    typed::{find, has, type_in},
};

/// What `ip` is told, the two devices, and what is said of them.
const TIES: [(&str, &str, [&str; 2], &str); 5] = [
    ("macvlan", "link add link wan0 name m0 type macvlan", ["m0", "wan0"], "m0 is stacked on wan0"),
    ("vlan", "link add link wan0 name v0.7 type vlan id 7", ["v0.7", "wan0"], "v0.7 is a VLAN of wan0"),
    ("bridge", "link add br0 type bridge\nlink set b0 master br0", ["br0", "b0"], "br0 is the bridge of b0"),
    ("bond", "link add bond0 type bond\nlink set b0 master bond0", ["bond0", "b0"], "bond0 is the bond of b0"),
    ("vrf", "link add red type vrf table 7\nlink set b0 master red", ["red", "b0"], "red is the VRF of b0"),
];

#[test]
fn attaching_to_both_warns_in_either_order_and_to_one_does_not() -> anyhow::Result<()> {
    for (kind, make, [upper, lower], said) in TIES {
        let router = Router::start()?;
        run_in(router.edge(), "ip link add b0 type veth peer name b1")?;
        match make.lines().try_for_each(|line| run_in(router.edge(), &format!("ip {line}")).map(drop)) {
            Err(error) if error.to_string().contains("Unknown device type") => {
                left_out(&format!("{kind} devices that count twice"), "no such device type");
                continue;
            }
            made => made?,
        }
        for (first, second) in [(upper, lower), (lower, upper)] {
            assert_eq!(router.ok(&format!("attach {first} --egress"))?.stderr, "", "{kind}");
            router.ok(&format!("attach {second} --egress"))?.complains(&[said, "counts at both"])?;
            let again = router.ok(&format!("attach {second} --egress --json"))?.json()?;
            assert!(again["warnings"][0].as_str().is_some_and(|warning| warning.starts_with(said)), "{again:#}");
            router.ok("detach --all")?;
        }
        is_found(&router, [upper, lower], said).with_context(|| kind.to_owned())?;
        router.ok("detach --all")?;
        router.ok(&format!("attach {upper} --egress"))?;
        assert_eq!(router.ok(&format!("attach {lower} --ingress"))?.stderr, "", "{kind}: no packet passes both");
    }
    Ok(())
}

/// `doctor` finds it, and its cure, typed in, ends it.
fn is_found(router: &Router, [upper, lower]: [&str; 2], said: &str) -> anyhow::Result<()> {
    let doctor = || router.ask("doctor --sample 0 --json");
    router.ok(&format!("attach {lower} --egress"))?;
    ensure!(!has(&doctor()?, "counted-twice")?, "nothing counts at {upper}");
    router.ok(&format!("attach {upper} --egress"))?;
    let found = find(&doctor()?.expect(3)?, upper, "counted-twice")?;
    let text = found["text"].as_str().context("text")?;
    ensure!(found["level"] == "warn" && text.contains(said), "{found:#}");
    type_in(&found, None)?;
    ensure!(!has(&doctor()?, "counted-twice")?, "after {}", found["cure"]);
    router.ok(&format!("stats {lower}:egress")).map(drop)
}

/// `policy apply --attach` says what `attach` does.
#[test]
fn applying_a_policy_that_attaches_to_both_warns() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "ip link add link wan0 name m0 type macvlan")?;
    let bound = |interface: &str| format!("[interface.{interface}]\negress = \"t\"\n");
    let text = format!("{}{}[remark.t]\nother = \"keep\"\n", bound("wan0"), bound("m0"));
    let policy = router.policy("both", &text)?;
    const SAID: &str = "m0 is stacked on wan0: a packet that passes both counts at both";
    router.ok(&format!("policy apply {policy} --attach"))?.says(&[&format!("! {SAID}")])?;
    router.ok("detach m0")?;
    let again = router.ok(&format!("policy apply {policy} --attach --json"))?.json()?;
    assert_eq!(again["warnings"], serde_json::json!([SAID]), "{again:#}");
    let same = router.ok(&format!("policy apply {policy} --attach --json"))?.json()?;
    assert_eq!(same["warnings"], serde_json::json!([]), "nothing was attached: {same:#}");
    Ok(())
}

/// The other end of a veth is no device below, and a tunnel's packet has another header outside.
#[test]
fn what_only_looks_stacked_does_not_warn() -> anyhow::Result<()> {
    let router = Router::start()?;
    let ip = "ip link add vx0 type vxlan id 7 dstport 4789 remote 198.51.100.2 dev wan0";
    run_in(router.edge(), ip)?;
    run_in(router.edge(), "ip link add b0 type veth peer name b1")?;
    for device in ["vx0", "wan0", "lan0", "b0", "b1"] {
        assert_eq!(router.ok(&format!("attach {device}"))?.stderr, "", "{device}");
    }
    Ok(())
}
