//! A rule is its name: its counter follows it.

use std::net::IpAddr;

use qosbpf::lab::topology::LAN_HOST;

use crate::masquerade::Masquerade;

const ONE: &str = "[[rule]]\nname = \"a\"\non = \"lan0:ingress\"\nmatch = { dst-port = 7001 }\nset = \"EF\"\n";
const TWO: &str = "[[rule]]\nname = \"b\"\non = \"lan0:ingress\"\nmatch = { dst-port = 7002 }\nset = \"AF41\"\n";
const KEEP: &str = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"keep\"\n";

fn from() -> IpAddr {
    LAN_HOST.v4.into()
}

#[test]
fn counters_follow_names_through_reloads_reordering_bypass_and_rollback() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    let both = lab.router.policy("both", &format!("{KEEP}{ONE}{TWO}"))?;
    let swapped = lab.router.policy("swapped", &format!("{KEEP}{TWO}{ONE}"))?;
    let only_b = lab.router.policy("only-b", &format!("{KEEP}{TWO}"))?;
    lab.router.ok("attach lan0")?;
    lab.router.ok(&format!("policy apply {both}"))?;
    let mut sent = 0;
    let mut count = |lab: &Masquerade| -> anyhow::Result<u64> {
        lab.send(from(), 7001, 0, 3)?;
        lab.send(from(), 7002, 0, 5)?;
        sent += 1;
        Ok(sent)
    };
    let rounds = count(&lab)?;
    assert_eq!(hits(&lab)?, [Some(3 * rounds), Some(5 * rounds)]);
    lab.router.ok(&format!("policy apply {swapped}"))?;
    let rounds = count(&lab)?;
    assert_eq!(hits(&lab)?, [Some(3 * rounds), Some(5 * rounds)]);
    lab.router.ok("policy bypass")?;
    lab.send(from(), 7001, 0, 9)?;
    lab.router.ok("policy resume")?;
    assert_eq!(hits(&lab)?, [Some(3 * rounds), Some(5 * rounds)], "out of the path nothing is decided");
    lab.router.ok(&format!("policy apply {only_b}"))?;
    lab.send(from(), 7001, 0, 9)?;
    assert_eq!(hits(&lab)?, [None, Some(5 * rounds)]);
    lab.router.ok("policy rollback")?;
    let rounds = count(&lab)?;
    assert_eq!(hits(&lab)?, [Some(3 * rounds), Some(5 * rounds)], "a rule that comes back has its counter");
    Ok(())
}

fn hits(lab: &Masquerade) -> anyhow::Result<[Option<u64>; 2]> {
    Ok([lab.hits("lan0:ingress", "a")?, lab.hits("lan0:ingress", "b")?])
}
