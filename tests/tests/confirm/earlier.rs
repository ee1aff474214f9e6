//! Counters go on over every policy: what an earlier one has changed is not put on the one in force.

use std::net::SocketAddr;

use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::udp;

use crate::edge::{Edge, MARK};

const EF: u8 = 46 << 2;

/// A rule at `lan0:ingress`.
fn rule(name: &str, condition: &str, does: &str) -> String {
    format!("[[rule]]\nname = \"{name}\"\non = \"lan0:ingress\"\nmatch = {{ {condition} }}\n{does}\n")
}

impl Edge {
    /// What `stats` and `why` say of EF at `lan0:ingress`; both, since both have to say the same.
    fn said_of_ef(&self, stats: &str, why: &str) -> anyhow::Result<()> {
        self.ok("stats lan0:ingress --rate 0")?.says(&[stats])?;
        self.ok("why lan0:ingress EF --sample 0")?.says(&[why])?;
        Ok(())
    }

    /// What `stats --json` says of the first row of `remarked` or `dropped` at `lan0:ingress` that has counted: its packets, and how
    /// many of them an earlier policy has changed.
    fn row(&self, kind: &str) -> anyhow::Result<(Option<u64>, Option<u64>)> {
        let document = self.ok("stats lan0:ingress --json")?.json()?;
        let mut rows = document["hooks"][0][kind].as_array().into_iter().flatten();
        let row = rows.find(|row| row["packets"] != 0).cloned().unwrap_or_default();
        Ok((row["packets"].as_u64(), row["earlier"].as_u64()))
    }

    /// Another policy than `mark`, with a table and a rule at `lan0:ingress`, and `keep` at the other hook.
    fn apply(&self, name: &str, table: &str, rules: &str) -> anyhow::Result<()> {
        let hooks = "[interface.lan0]\ningress = \"u\"\n[interface.wan0]\negress = \"keep\"\n";
        let tables = format!("[remark.keep]\nother = \"keep\"\n[remark.u]\n{table}other = \"keep\"\n");
        let file = self.router.policy(name, &format!("{hooks}{tables}{rules}"))?;
        self.ok(&format!("policy apply {file}")).map(drop)
    }
}

#[test]
fn another_table_has_not_changed_what_the_one_before_it_has() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.router.ping(false, EF, 9)?;
    edge.said_of_ef("9 -> AF41 table: EF (line 8)", "9 EF -> AF41 here, by table t, entry EF")?;
    assert_eq!(edge.row("remarked")?, (Some(9), None));
    // The same table by another policy goes on.
    edge.ok(&format!("policy apply {}", edge.router.policy("renamed", MARK)?))?;
    edge.said_of_ef("9 -> AF41 table: EF (line 8)", "9 EF -> AF41 here, by table t, entry EF")?;
    assert_eq!(edge.row("remarked")?, (Some(9), None));
    edge.apply("other", "EF = \"AF41\"\n", "")?;
    edge.said_of_ef("9 -> AF41 (by an earlier policy)", "9 EF -> AF41 here, by an earlier policy")?;
    assert_eq!(edge.row("remarked")?, (Some(9), Some(9)));
    edge.router.ping(false, EF, 3)?;
    let both = ", 9 of them by an earlier policy";
    edge.ok("stats lan0:ingress --rate 0")?.says(&[&format!("12 -> AF41 table: EF (line 10){both}")])?;
    let why = edge.ok("why lan0:ingress EF --sample 0 --json")?;
    assert!(why.stdout.contains("12 EF -> AF41 here, by table u, entry EF ("), "{why:?}");
    assert!(why.stdout.contains(both), "{why:?}");
    assert_eq!(edge.row("remarked")?, (Some(12), Some(9)));
    edge.apply("none", "", "")?;
    edge.said_of_ef("12 -> AF41 (by an earlier policy)", "12 EF -> AF41 here, by an earlier policy")
}

/// A rule that was hit since by others, and could have done it.
#[test]
fn a_rule_has_not_changed_what_was_changed_before_it_came() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.router.ping(false, EF, 9)?;
    let echo = rule("echo", "proto = \"icmp\"", "set = \"AF41\"");
    edge.apply("ruled", "", &echo)?;
    edge.router.ping(false, 0, 4)?;
    edge.said_of_ef("9 -> AF41 (by an earlier policy)", "9 EF -> AF41 here, by an earlier policy")?;
    edge.router.ping(false, EF, 2)?;
    edge.ok("stats lan0:ingress --rate 0")?.says(&["11 -> AF41 rule: echo, 9 of them by an earlier policy"])?;
    // A rule that keeps its name keeps what it has done.
    edge.apply("beside", "CS1 = \"DF\"\n", &echo)?;
    edge.ok("stats lan0:ingress --rate 0")?.says(&["11 -> AF41 rule: echo, 9 of them by an earlier policy"])?;
    Ok(())
}

#[test]
fn what_was_dropped_by_an_earlier_policy_is_not_by_a_rule_of_this_one() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let drops = |name: &str| rule(name, "dscp = \"EF\"", "drop = true");
    edge.apply("first", "", &drops("no voice"))?;
    let to = SocketAddr::new(WAN_HOST.v4.into(), 5060);
    udp::send(edge.router.lab().lan(), SocketAddr::new(LAN_HOST.v4.into(), 0), to, EF, 5)?;
    edge.ok("why lan0:ingress EF --sample 0")?.says(&["5 EF dropped here, by rule \"no voice\" ("])?;
    assert_eq!(edge.row("dropped")?, (Some(5), None));
    edge.apply("second", "", &drops("still none"))?;
    edge.ok("why lan0:ingress EF --sample 0")?.says(&["5 EF dropped here, by an earlier policy"])?;
    assert_eq!(edge.row("dropped")?, (Some(5), Some(5)));
    Ok(())
}

/// Counters follow names: neither another order nor what comes beside takes from a rule what it has done.
#[test]
fn what_comes_beside_a_rule_takes_nothing_from_it() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let rule = |name: &str| rule(name, "dscp = \"EF\"", "set = \"DF\"");
    let said = |what: &str| {
        let stats = edge.ok("stats lan0:ingress --rate 0")?.says(&["9 -> DF rule: a"])?;
        anyhow::ensure!(!stats.stdout.contains("earlier policy"), "{what}: {stats:?}");
        edge.ok("why lan0:ingress EF --sample 0")?.says(&["9 EF -> DF here, by rule \"a\" ("]).map(drop)
    };
    edge.apply("first", "", &rule("a"))?;
    edge.router.ping(false, EF, 9)?;
    said("its own policy")?;
    edge.apply("beside", "", &format!("{}{}", rule("a"), rule("b")))?;
    said("one behind it")?;
    edge.apply("swapped", "", &format!("{}{}", rule("b"), rule("a")))?;
    said("one before it")?;
    edge.apply("table", "EF = \"DF\"\n", &format!("{}{}", rule("b"), rule("a")))?;
    said("an entry")?;
    edge.apply("without", "", &rule("b"))?;
    edge.said_of_ef("9 -> DF (by an earlier policy)", "9 EF -> DF here, by an earlier policy")
}

/// What the table of the terminal leaves out is what came first.
#[test]
fn after_a_clear_the_terminal_says_so_of_what_came_since() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.router.ping(false, EF, 9)?;
    edge.ok("stats clear lan0:ingress")?;
    edge.router.ping(false, EF, 4)?;
    edge.apply("other", "EF = \"AF41\"\n", "")?;
    edge.router.ping(false, EF, 2)?;
    edge.ok("stats lan0:ingress --rate 0")?.says(&["6 -> AF41 table: EF (line 10), 4 of them by an earlier policy"])?;
    edge.ok("stats clear lan0:ingress")?;
    edge.router.ping(false, EF, 1)?;
    edge.ok("stats lan0:ingress --rate 0")?.says(&["1 -> AF41 table: EF (line 10)"])?;
    Ok(())
}

/// Out of the path and back it is the same policy.
#[test]
fn a_bypass_makes_nothing_earlier() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.router.ping(false, EF, 9)?;
    for verb in ["bypass", "resume"] {
        edge.ok(&format!("policy {verb} lan0:ingress"))?;
        edge.ok("stats lan0:ingress --rate 0")?.says(&["9 -> AF41 table: EF (line 8)"])?;
    }
    Ok(())
}
