//! Interfaces that get another name while nobody looks.

use anyhow::Context as _;
use qosbpf_tests::{
    router::run_in,
    service::{Lab, eventually},
};

/// Names by glob have the one table, `wan9` the other.
const POLICY: &str = "[interface.\"ppp*\"]\negress = \"wash\"\n[interface.wan9]\negress = \"sold\"\n\
    [remark.wash]\nother = \"DF\"\n[remark.sold]\nEF = \"AF41\"\nother = \"keep\"\n";

fn has_table(lab: &Lab, hook: &str, table: Option<&str>) -> anyhow::Result<()> {
    eventually(|| Ok(lab.hook(hook)?.is_some_and(|hook| hook["table"].as_str() == table)))
        .with_context(|| format!("{hook}: {:#?}\n{}", lab.hook(hook), lab.log().unwrap_or_default()))
}

/// A hook without a policy, of which nothing but what is written down says that it had another name.
#[test]
fn a_device_renamed_while_the_service_is_down_has_what_the_policy_says_of_its_name() -> anyhow::Result<()> {
    let mut lab = Lab::serving(POLICY)?;
    let edge = lab.router.edge().clone();
    run_in(&edge, "ip link add spare0 type veth peer name peer0")?;
    lab.ok("attach spare0 --egress")?;
    for (from, to, table) in
        [("spare0", "wan9", Some("sold")), ("wan9", "spare1", None), ("spare1", "ppp3", Some("wash"))]
    {
        has_table(&lab, &format!("{from}:egress"), if from == "wan9" { Some("sold") } else { None })?;
        lab.stop()?;
        run_in(&edge, &format!("ip link set {from} name {to}"))?;
        lab.serve()?;
        has_table(&lab, &format!("{to}:egress"), table)?;
    }
    Ok(())
}

/// What `--only` leaves with another policy keeps it, though the device once had another name: that was heeded.
#[test]
fn a_name_that_was_heeded_is_no_news_later() -> anyhow::Result<()> {
    let mut lab = Lab::serving(POLICY)?;
    let edge = lab.router.edge().clone();
    run_in(&edge, "ip link add ppp0 type veth peer name peer0")?;
    lab.becomes("ppp0:egress", "active")?;
    run_in(&edge, "ip link set ppp0 name ppp1")?;
    lab.says(&["ppp0 is called ppp1 now"])?;
    let hash = |lab: &Lab| anyhow::Ok(lab.hook("ppp1:egress")?.context("a hook")?["policy_hash"].clone());
    let before = hash(&lab)?;
    // One look after the other.
    run_in(&edge, "ip link set ppp1 mtu 1400")?;
    lab.says(&["ppp1: MTU 1500 is 1400 now"])?;
    lab.ok("attach lan0 --ingress")?;
    let only = POLICY.replace("\"DF\"", "\"CS1\"") + "[interface.lan0]\ningress = \"sold\"\n";
    let only = lab.router.policy("only", &only)?;
    lab.ok(&format!("policy apply {only} --only lan0"))?;
    lab.stop()?;
    lab.serve()?;
    run_in(&edge, "ip link set ppp1 mtu 1300")?;
    lab.says(&["ppp1: MTU 1400 is 1300 now"])?;
    assert_eq!(hash(&lab)?, before, "{}", lab.log()?);
    // Whoever switches the program has not asked what the policy binds to another name.
    lab.stop()?;
    run_in(&edge, "ip link set ppp1 name wan9")?;
    lab.ok("policy bypass wan9:egress")?;
    lab.ok("policy resume wan9:egress")?;
    lab.serve()?;
    has_table(&lab, "wan9:egress", Some("sold"))
}
