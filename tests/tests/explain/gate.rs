//! The tests of a policy, by themselves and before it is put in force.

use std::path::Path;

use qosbpf_tests::{features::Feature, router::Router};

use crate::bench::RULES;

/// A test that fails where [`RULES`] are.
pub const FAILING: &str = r#"
[[test]]
name = "nobody marks our echo"
on = "lan0:ingress"
packet = "icmp 192.0.2.2 > 198.51.100.2 dscp EF"
expect = "keep"
"#;

/// Tests that pass there, at hooks of which one has no interface.
const PASSING: &str = r#"
[[test]]
name = "telnet goes nowhere"
on = "lan0:ingress"
packet = "tcp 192.0.2.2:1 > 198.51.100.2:23"
expect = "drop"
[[test]]
name = "our own BGP keeps CS6"
on = "wan0:egress"
packet = "tcp 192.0.2.2:179 > 198.51.100.2:1024 dscp CS6 origin local"
expect = "CS6"
[[test]]
name = "transit does not"
on = "wan0:egress"
packet = "tcp 192.0.2.2:179 > 198.51.100.2:1024 dscp CS6"
expect = "DF"
[[test]]
name = "what comes out of the LAN"
on = "wan0:egress"
packet = "udp 192.0.2.2:1 > 198.51.100.2:2 dscp AF21 from lan0"
expect = "AF22"
[[test]]
name = "and what does not"
on = "wan0:egress"
packet = "udp 192.0.2.2:1 > 198.51.100.2:2 dscp AF21 from ppp7"
expect = "keep"
[[test]]
name = "no policy, no change"
on = "wan9:egress"
packet = "udp 192.0.2.2:1 > 198.51.100.2:2 dscp AF41 vlan 9"
expect = "keep"
"#;

#[test]
fn the_tests_of_the_example_pass_without_its_interfaces() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/edge-full.toml");
    router.ok(&format!("policy test {}", file.display()))?.says(&[
        "ok ",
        "our own BGP keeps CS6",
        "1 of 1 [[test]]s pass",
    ])?;
    Ok(())
}

#[test]
fn a_test_that_fails_is_3_and_says_who_decided() -> anyhow::Result<()> {
    if Feature::IngressInterface.leaves_out("policy tests at egress")? {
        return Ok(());
    }
    let router = Router::start()?;
    let passing = router.policy("passing", &format!("{RULES}{PASSING}"))?;
    router.ok(&format!("policy test {passing}"))?.says(&["6 of 6 [[test]]s pass"])?;
    let failing = router.policy("failing", &format!("{RULES}{PASSING}{FAILING}"))?;
    let answer = router.ask(&format!("policy test {failing}"))?.expect(3)?;
    answer.says(&[
        "! FAIL  nobody marks our echo",
        "failing:71)",
        "expected    EF",
        "got         AF41",
        "rule \"marked echo\"",
    ])?;
    let document = router.ask(&format!("policy test {failing} --json"))?.expect(3)?.json()?;
    assert_eq!((&document["passed"], &document["failed"]), (&6.into(), &1.into()));
    assert_eq!((&document["tests"][6]["got"], &document["tests"][6]["passes"]), (&34.into(), &false.into()));
    router.ask("policy test /nowhere.toml")?.expect(2)?;
    let none = router.policy("none", RULES)?;
    router.ok(&format!("policy test {none}"))?.says(&["has no [[test]]"])?;
    Ok(())
}

#[test]
fn a_failing_test_stops_an_apply_and_changes_nothing() -> anyhow::Result<()> {
    if Feature::IngressInterface.leaves_out("policy tests at egress")? {
        return Ok(());
    }
    let router = Router::start()?;
    let keep = "[interface.lan0]\ningress = \"t\"\n[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n";
    let (keep, failing) =
        (router.policy("keep", keep)?, router.policy("failing", &format!("{RULES}{PASSING}{FAILING}"))?);
    router.ok("attach lan0 --ingress")?;
    router.ok(&format!("policy apply {keep}"))?;
    let status = router.ask("status --json")?.json()?;
    let (hooks, in_force) = (&status["hooks"], &status["policy"]["hash"]);
    let etc = router.folder().join("etc").display().to_string();
    let answer = router.ask(&format!("policy apply {failing} --attach --save --json --etc {etc}"))?.expect(3)?;
    let error = answer.json()?["error"].clone();
    assert_eq!((&error["code"], &error["line"]), (&"test-failed".into(), &71.into()), "{error:#}");
    answer.complains(&["nobody marks our echo", "expected EF, got AF41", "marked echo", "--force"])?;
    let later = router.ask("status --json")?.json()?;
    assert_eq!(
        (&later["policy"]["hash"], hooks[0]["program_id"].clone()),
        (in_force, later["hooks"][0]["program_id"].clone())
    );
    assert!(!Path::new(&etc).exists() && later["hooks"].as_array().map(Vec::len) == hooks.as_array().map(Vec::len));
    let forced = router.ok(&format!("policy apply {failing} --force"))?;
    forced.complains(&["! test \"nobody marks our echo\"", "applied all the same"])?;
    assert_eq!(router.ask("status --json")?.json()?["policy"]["name"], "failing");
    Ok(())
}

#[test]
fn a_failing_test_stops_an_attach_with_a_policy() -> anyhow::Result<()> {
    if Feature::IngressInterface.leaves_out("policy tests at egress")? {
        return Ok(());
    }
    let router = Router::start()?;
    let failing = router.policy("failing", &format!("{RULES}{FAILING}"))?;
    let answer = router.ask(&format!("attach lan0 --ingress --policy {failing} --json"))?.expect(3)?;
    assert_eq!(answer.json()?["error"]["code"], "test-failed");
    let status = router.ok("status --json")?.json()?;
    assert_eq!((status["hooks"].as_array().map(Vec::len), status["policy"].is_null()), (Some(0), true), "{status:#}");
    let passing = router.policy("passing", &format!("{RULES}{PASSING}"))?;
    router.ok(&format!("attach lan0 --ingress --policy {passing}"))?;
    Ok(())
}
