//! The hits of a table are its own: not those of the table before it, nor what passed while it was out of the path.

use anyhow::Context as _;
use qosbpf::lab::topology::WAN_HOST;
use qosbpf_tests::router::run_in;

use crate::edge::Edge;

const EF: u8 = 46 << 2;
const CS1: u8 = 8 << 2;

impl Edge {
    /// The hits of the table's entries at `lan0:ingress`, in their order.
    fn hits(&self) -> anyhow::Result<Vec<u64>> {
        let show = self.ok("policy show lan0:ingress --json")?.json()?;
        let entries = show["hooks"][0]["entries"].as_array().context("entries")?;
        entries.iter().map(|entry| entry["packets"].as_u64().context("packets")).collect()
    }
}

#[test]
fn another_table_begins_at_zero() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let before = edge.hits()?;
    edge.router.ping(false, EF, 5)?;
    assert!(edge.hits()?[0] >= before[0] + 5);
    edge.ok(&format!("policy apply {}", edge.mark))?;
    assert_eq!(edge.hits()?[0], 0, "EF of the new table");
    edge.router.ping(false, EF, 3)?;
    assert_eq!(edge.hits()?[0], 3);
    // The counters go on: `before` has both.
    assert!(edge.router.counted("lan0:ingress")?.before[&("ipv4".to_owned(), EF)][0] >= 8);
    // The same table by another policy counts on.
    let renamed = edge.router.policy("renamed", crate::edge::MARK)?;
    edge.ok(&format!("policy apply {renamed}"))?;
    edge.router.ping(false, EF, 2)?;
    assert_eq!(edge.hits()?[0], 5);
    Ok(())
}

#[test]
fn what_passes_a_bypassed_table_is_no_hit() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.router.ping(false, EF, 3)?;
    edge.ok("policy bypass lan0:ingress")?;
    edge.router.ping(false, EF, 4)?;
    assert_eq!(edge.hits()?[0], 3);
    edge.ok("policy resume lan0:ingress")?;
    edge.router.ping(false, EF, 2)?;
    assert_eq!(edge.hits()?[0], 5);
    Ok(())
}

/// What is counted beside the hits is of the same time, and what has none has none since then: the hook is older.
#[test]
fn what_is_said_of_hits_is_since_their_table_is_in_force() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let wash = |name: &str, table: &str, rule: &str| {
        let text =
            format!("[interface.wan0]\negress = \"{table}\"\n[remark.{table}]\nEF = \"keep\"\nother = \"DF\"\n{rule}");
        edge.ok(&format!("policy apply {} --prune", edge.router.policy(name, &text)?))
    };
    wash("first", "t", "")?;
    run_in(edge.router.edge(), &format!("ping -q -n -i 0.002 -W 2 -Q 192 -c 3 {}", WAN_HOST.v4))?;
    edge.ok("policy show wan0:egress")?.says(&[
        "local: keep-control (3 protected)",
        "protected since",
        "! never hit since",
    ])?;
    wash(
        "second",
        "u",
        "[[rule]]\nname = \"telnet\"\non = \"wan0:egress\"\nmatch = { proto = \"tcp\" }\nset = \"DF\"\n",
    )?;
    let (show, stats) =
        (edge.ok("policy show wan0:egress --json")?.json()?, edge.ok("stats wan0:egress --json")?.json()?);
    let hook = &show["hooks"][0];
    let clock = |time: &serde_json::Value| time.as_str().and_then(|time| time.get(11..19)).map(str::to_owned);
    let table_since = clock(&hook["table_since"]).context("table_since")?;
    let rule_since = clock(&hook["rules"][0]["since"]).context("since")?;
    for since in [&hook["table_since"], &hook["rules"][0]["since"]] {
        assert!(since.as_str() > stats["hooks"][0]["since"].as_str(), "{hook:#}");
    }
    let screen = edge.ok("policy show wan0:egress")?.says(&[
        &format!("keep ! never hit since {table_since}"),
        &format!("! never hit since {rule_since}"),
        &format!("since its table came into force at {table_since}"),
    ])?;
    assert!(!screen.stdout.contains("protected"), "of another time: {}", screen.stdout);
    assert_eq!(hook["protected"], 3, "machines read what was counted since attach");
    Ok(())
}

/// A rule counts since the policy that named it first; neither hits nor a bypass move that, and a bypassed one is not asked.
#[test]
fn a_rule_is_counted_since_it_was_named_whatever_became_of_it() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let rule = |name: &str, matched: &str| {
        format!("[[rule]]\nname = \"{name}\"\non = \"lan0:ingress\"\nmatch = {{ {matched} }}\nset = \"CS2\"\n")
    };
    let rules = rule("calls", "dscp = \"EF\"") + &rule("bulk", "dscp = \"CS1\", proto = \"tcp\"");
    let policy = edge.router.policy("ruled", &rules)?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    edge.ok(&format!("policy apply {policy} --prune"))?;
    edge.router.ping(false, EF, 3)?;
    let rules = edge.ok("policy show lan0:ingress --json")?.json()?["hooks"][0]["rules"].clone();
    let since = rules[0]["since"].as_str().context("since")?.to_owned();
    let hook = edge.ok("stats lan0:ingress --json")?.json()?["hooks"][0]["since"].as_str().context("since")?.to_owned();
    assert!(since > hook && rules[1]["since"] == since.as_str(), "{rules:#}");
    let clock = since.get(11..19).context("a time")?;
    let words = [&*format!(" since {clock}"), &format!("! never hit since {clock}"), ", or since the time beside it"];
    edge.ok("policy show lan0:ingress")?.says(&words)?;
    let counted = |rule: &str, packets: u32, code| {
        let why = edge.ask(&format!("why lan0:ingress {rule} --sample 0"))?.expect(code)?;
        why.says(&[&format!("at lan0:ingress: {packets} packets since {}", &since[..19])])
    };
    edge.router.ping(false, CS1, 4)?;
    counted("calls", 3, 0)?;
    counted("bulk", 0, 4)?;
    edge.ok("policy bypass lan0:ingress")?;
    edge.router.ping(false, CS1, 2)?;
    counted("calls", 3, 3)?;
    let words = "while the policy is out of the path it is not asked: 2 packets with its codepoints came since";
    counted("bulk", 0, 3)?.says(&[words, "4 before that"])?;
    Ok(())
}

/// A zero of the terminal's table says that somebody has cleared it; hits go on.
#[test]
fn a_clear_is_named_where_its_zeros_are() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.router.ping(false, EF, 3)?;
    edge.ok("stats clear")?;
    let words = ["since the clear at", "0 none came in since the clear at"];
    edge.ok("stats lan0:ingress --rate 0")?.says(&words)?;
    edge.ok("stats --rate 0")?.says(&["or the table cleared", "since the clear at"])?;
    assert_eq!(edge.hits()?[0], 3);
    Ok(())
}

/// What a meter has given of so many echo requests in EF: green and red.
fn metered(edge: &Edge, count: u32) -> anyhow::Result<[u64; 2]> {
    let counted = || -> anyhow::Result<[u64; 2]> {
        let stats = edge.ok("stats lan0:ingress --json")?.json()?;
        let meter = &stats["hooks"][0]["meters"][0];
        let color = |name: &str| meter[name]["packets"].as_u64().context("packets");
        Ok([color("green")?, color("red")?])
    };
    let earlier = counted()?;
    edge.router.ping(false, EF, count)?;
    let now = counted()?;
    Ok([now[0] - earlier[0], now[1] - earlier[1]])
}

/// A bucket belongs to a rule and its numbers: another policy with both goes on with what is left in it.
#[test]
fn tokens_survive_a_reload_that_does_not_change_the_numbers() -> anyhow::Result<()> {
    const BYTES: u64 = 84;
    let edge = Edge::start()?;
    // At a thousand bytes a second it takes a minute to fill.
    let policy = |name: &str, burst: u64, beside: &str| {
        let text = format!(
            "[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n[[rule]]\nname = \"slow\"\n\
             on = \"lan0:ingress\"\nmatch = {{ dscp = \"EF\" }}\ngreen = \"keep\"\nyellow = \"keep\"\nred = \"AF43\"\n\
             meter = {{ type = \"srtcm\", cir = \"8kbit\", cbs = \"{burst}B\", ebs = \"0B\" }}\n{beside}"
        );
        edge.router.policy(name, &text)
    };
    const BURST: u64 = 60_000;
    edge.ok(&format!("policy apply {}", policy("first", BURST, "")?))?;
    let all = u32::try_from(BURST / BYTES)? + 100;
    let [green, red] = metered(&edge, all)?;
    assert!(green >= BURST / BYTES && red > 0, "{green} green, {red} red");
    let beside = "[[rule]]\nname = \"telnet\"\non = \"lan0:ingress\"\nmatch = { proto = \"tcp\" }\nset = \"keep\"\n";
    edge.ok(&format!("policy apply {}", policy("second", BURST, beside)?))?;
    let [_, red] = metered(&edge, all)?;
    assert!(red > 0, "the bucket was filled by the reload");
    edge.ok(&format!("policy apply {}", policy("third", 2 * BURST, beside)?))?;
    assert_eq!(metered(&edge, all)?, [u64::from(all), 0], "other numbers, another bucket");
    Ok(())
}
