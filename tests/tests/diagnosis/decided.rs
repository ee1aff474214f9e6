//! Who made a mark, at a hook that has a table for outer headers beside its rules: nobody who had nothing to decide.

use qosbpf_tests::{router::Router, typed::find};

/// A rule that makes AF41 of EF, and a table that would.
fn enforcing(condition: &str) -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.ok("attach wan0:egress")?;
    let policy = format!(
        "[interface.wan0]\nouter = \"tun\"\n[remark.tun]\nEF = \"AF41\"\nother = \"DF\"\n\
         [[rule]]\nname = \"calls\"\non = \"wan0:egress\"\nmatch = {{ dscp = \"EF\"{condition} }}\nset = \"AF41\"\n"
    );
    router.ok(&format!("policy apply {}", router.policy("p", &policy)?))?;
    router.ping(false, 184, 20)?;
    Ok(router)
}

fn made(router: &Router) -> anyhow::Result<String> {
    let answer = router.ask("why wan0:egress EF --sample 0 --json")?;
    let found = find(&answer, "wan0:egress", "remarked")?;
    Ok(found["text"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_table_for_outer_headers_that_a_rule_leaves_nothing_has_made_none() -> anyhow::Result<()> {
    let router = enforcing("")?;
    let text = made(&router)?;
    assert!(text.starts_with("our policy: 20 EF -> AF41 here, by rule \"calls\" (") && !text.contains("tun"), "{text}");
    let stats = router.ok("stats wan0:egress --rate 0")?.says(&["rule: calls"])?;
    assert!(!stats.stdout.contains("and 1 more"), "{}", stats.stdout);
    Ok(())
}

#[test]
fn where_it_may_have_made_some_its_entry_is_named_with_its_line() -> anyhow::Result<()> {
    let router = enforcing(", proto = \"icmp\"")?;
    let text = made(&router)?;
    let (by_rule, by_table) = text.split_once(" or ").unwrap_or_default();
    assert!(by_rule.contains("by rule \"calls\" ("), "{text}");
    assert!(by_table.starts_with("outer table tun, entry EF (") && by_table.ends_with("p:6)"), "{text}");
    router.ok("stats wan0:egress --rate 0")?.says(&["rule: calls and 1 more"]).map(drop)
}
