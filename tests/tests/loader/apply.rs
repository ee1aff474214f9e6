//! What `policy apply` changes, what it refuses to change, and what survives it.

use anyhow::Context as _;
use qosbpf_tests::{
    features::Feature,
    router::{HOOKS, Router, run_in},
    typed,
};
use serde_json::Value;

const BOTH: &str = "[interface.lan0]\ningress = \"in\"\n[interface.wan0]\negress = \"out\"\n\
                    [remark.in]\nother = \"keep\"\n[remark.out]\nEF = \"AF41\"\nother = \"keep\"\n";
const LAN_ALONE: &str = "[interface.lan0]\ningress = \"in\"\n[remark.in]\nCS1 = \"LE\"\nother = \"keep\"\n";

/// What became of each hook.
fn results(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hooks = document["hooks"].as_array().into_iter().flatten();
    hooks.map(|hook| (text(&hook["hook"]), text(&hook["result"]))).collect()
}

fn pair(hook: &str, result: &str) -> (String, String) {
    (hook.to_owned(), result.to_owned())
}

#[test]
fn attach_attaches_what_is_bound() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("both", BOTH)?;
    let unattached = router.ok(&format!("policy apply {policy} --json"))?.json()?;
    let expected = [pair("lan0:ingress", "bound, not attached"), pair("wan0:egress", "bound, not attached")];
    assert_eq!(results(&unattached), expected);
    router.ask("status")?.expect(3)?.says(&["MISSING"])?;
    // One direction is bound, and the command that is given attaches no other.
    typed::last_command(&reason(&router.ask("status --json")?.json()?, "wan0")?)?;
    let there = router.ask("status --json")?.expect(3)?.json()?;
    let there = there["hooks"].as_array().into_iter().flatten().filter(|hook| hook["interface"] == "wan0");
    let there: Vec<_> = there.map(|hook| (hook["direction"].as_str(), hook["state"].as_str())).collect();
    assert_eq!(there, [(Some("egress"), Some("active"))]);
    router.ok("detach wan0:egress")?;
    router.ok(&format!("policy apply {policy}"))?;
    let attached = router.ok(&format!("policy apply {policy} --attach --json"))?.json()?;
    assert_eq!(results(&attached), [pair("lan0:ingress", "attached"), pair("wan0:egress", "attached")]);
    router.ok("status")?;
    router.ping(false, 184, 3)?;
    assert_eq!(router.counted("wan0:egress")?.packets_after(), [(34, 3)].into());
    Ok(())
}

/// What is missing is more than a table.
#[test]
fn the_rules_of_a_hook_that_is_not_attached_are_counted() -> anyhow::Result<()> {
    let router = Router::start()?;
    let rules = ["one", "two"].map(|name| format!("[[rule]]\nname = \"{name}\"\non = \"wan0:egress\"\nset = \"DF\"\n"));
    let policy = router.policy("ruled", &format!("{BOTH}{}", rules.concat()))?;
    router.ok(&format!("policy apply {policy}"))?;
    let status = router.ask("status --json")?.expect(3)?.json()?;
    let hooks = status["hooks"].as_array().into_iter().flatten();
    let rules: Vec<_> = hooks.map(|hook| (hook["interface"].as_str(), hook["rules"].as_u64())).collect();
    assert_eq!(rules, [(Some("lan0"), Some(0)), (Some("wan0"), Some(2))], "{status:#}");
    Ok(())
}

/// Why an interface of a document is as it is.
fn reason(document: &Value, interface: &str) -> anyhow::Result<String> {
    let mut hooks = document["hooks"].as_array().into_iter().flatten();
    let of = |hook: &&Value| {
        hook["interface"] == interface || hook["hook"].as_str().is_some_and(|hook| hook.starts_with(interface))
    };
    let hook = hooks.find(of).context("the interface")?;
    Ok(hook["reason"].as_str().context("a reason")?.to_owned())
}

/// The cure is what it says, once there is such an interface.
#[test]
fn a_bound_interface_that_is_not_there_is_said_with_what_attaches_it() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("absent", &BOTH.replace("wan0", "ppp9"))?;
    let applied = router.ok(&format!("policy apply {policy} --attach"))?;
    applied.says(&["! ppp9:egress", "bound, not attached: no interface has this name", " attach ppp9:egress"])?;
    let document = router.ok(&format!("policy apply {policy} --json"))?.json()?;
    assert_eq!(results(&document)[1], pair("ppp9:egress", "bound, not attached"));
    assert!(document["hooks"][0]["reason"].is_null(), "{document:#}");
    run_in(router.edge(), "ip link add ppp9 type veth peer name peer9")?;
    typed::last_command(&reason(&document, "ppp9")?)?;
    let status = router.ok("status")?.says(&["ppp9:egress", "active"])?;
    assert!(!status.stdout.contains("ppp9:ingress"), "{status:?}");
    // Without --attach it is there, and left alone.
    router.ok("detach ppp9")?;
    router.ok(&format!("policy apply {policy}"))?.says(&["bound, not attached: ", " attach ppp9:egress"])?;
    Ok(())
}

/// No switch of programs moves a hook from one mechanism to another.
#[test]
fn a_hook_that_is_attached_by_another_mechanism_than_the_policy_says_is_named() -> anyhow::Result<()> {
    const SAID: &str = "attached by xdp-native, and the policy says tcx";
    if Feature::Tcx.leaves_out("a policy that asks for TCX")? {
        return Ok(());
    }
    let router = Router::start()?;
    router.ok("attach lan0:ingress")?;
    let text = LAN_ALONE.replace("ingress =", "hook = \"tcx\"\ningress =");
    let policy = router.policy("tcx", &text)?;
    router.ok(&format!("policy apply {policy}"))?;
    router.ok("status")?.says(&[SAID])?;
    let status = router.ok("status --json")?.json()?;
    typed::last_command(status["hooks"][0]["notes"][0].as_str().context("a note")?)?;
    let status = router.ok("status")?.says(&["active", "tcx"])?;
    assert!(!status.stdout.contains(SAID), "{status:?}");
    Ok(())
}

#[test]
fn a_hook_loses_its_table_only_by_prune() -> anyhow::Result<()> {
    let router = Router::start()?;
    let (both, lan) = (router.policy("both", BOTH)?, router.policy("lan", LAN_ALONE)?);
    router.ok(&format!("policy apply {both} --attach"))?;
    let refused = router.ask(&format!("policy apply {lan}"))?.expect(1)?;
    refused.complains(&["wan0:egress would lose its policy", "--prune", "--only"])?;
    router.ping(false, 184, 3)?;
    assert_eq!(router.counted("wan0:egress")?.packets_after(), [(34, 3)].into(), "the old policy is in force");
    let pruned = router.ok(&format!("policy apply {lan} --prune --json"))?.json()?;
    assert_eq!(results(&pruned)[1], pair("wan0:egress", "not in the file: counts without a policy"));
    router.ping(false, 184, 2)?;
    assert_eq!(router.counted("wan0:egress")?.packets_after(), [(34, 3), (46, 2)].into());
    Ok(())
}

/// Where the file names the interface, its other direction may count.
#[test]
fn an_interface_that_the_file_does_not_name_is_left_to_count_only_by_prune() -> anyhow::Result<()> {
    let router = Router::start()?;
    let lan = router.policy("lan", LAN_ALONE)?;
    router.ok("attach lan0")?;
    router.ok("attach wan0 --egress")?;
    let refused = router.ask(&format!("policy apply {lan}"))?.expect(1)?;
    refused.complains(&["attached at wan0:egress: ", "binds nothing there", "--prune", "--only"])?;
    assert!(router.ok("status --json")?.json()?["policy"].is_null(), "nothing is changed");
    let document = router.ask(&format!("policy apply {lan} --json"))?.expect(1)?.json()?;
    assert_eq!(document["error"]["code"], "not-in-file");
    let pruned = router.ok(&format!("policy apply {lan} --prune --json"))?.json()?;
    let expected = [
        pair("lan0:ingress", "changed"),
        pair("lan0:egress", "counts, not bound"),
        pair("wan0:egress", "not in the file: counts"),
    ];
    assert_eq!(results(&pruned), expected);
    let everywhere = "[[rule]]\nname = \"all\"\non = \"all\"\nmatch = { dscp = \"LE\" }\nset = \"DF\"\n";
    router.ok(&format!("policy apply {}", router.policy("all", everywhere)?))?;
    Ok(())
}

#[test]
fn only_changes_one_interface() -> anyhow::Result<()> {
    let router = Router::start()?;
    let (both, lan) = (router.policy("both", BOTH)?, router.policy("lan", LAN_ALONE)?);
    router.ok(&format!("policy apply {both} --attach"))?;
    let applied = router.ok(&format!("policy apply {lan} --only lan0 --json"))?.json()?;
    assert_eq!(results(&applied), [pair("lan0:ingress", "changed"), pair("wan0:egress", "left as it is")]);
    router.ask("status")?.expect(3)?.says(&["runs policy", "not the one in force"])?;
    router.ping(false, 184, 3)?;
    router.ping(false, 32, 3)?;
    assert_eq!(router.counted("lan0:ingress")?.packets_after(), [(46, 3), (1, 3)].into());
    assert_eq!(router.counted("wan0:egress")?.packets_after(), [(34, 3), (1, 3)].into());
    router.ask(&format!("policy apply {lan} --only lan0 --prune"))?.expect(2)?;
    Ok(())
}

#[test]
fn only_with_a_name_that_is_nowhere_changes_nothing() -> anyhow::Result<()> {
    let router = Router::start()?;
    let both = router.policy("both", BOTH)?;
    let refused = router.ask(&format!("policy apply {both} --attach --only lna0 --json"))?.expect(2)?;
    assert_eq!(refused.json()?["error"]["code"], "no-such-interface", "{refused:?}");
    let status = router.ok("status --json")?.json()?;
    assert!(status["policy"].is_null() && status["hooks"] == serde_json::json!([]), "{status:#}");
    let absent = router.policy("absent", "[interface.ppp0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n")?;
    router.ok(&format!("policy apply {absent} --only ppp0"))?.says(&["! ppp0:egress"])?;
    Ok(())
}

#[test]
fn a_wrong_policy_leaves_the_running_one_untouched() -> anyhow::Result<()> {
    let router = Router::start()?;
    let both = router.policy("both", BOTH)?;
    router.ok(&format!("policy apply {both} --attach"))?;
    let earlier = router.ok("status --json")?.json()?["policy"].clone();
    let wrong = router.policy("wrong", "[interface.lan0]\ningress = \"nowhere\"\n")?;
    for line in [
        format!("policy apply {wrong}"),
        format!("policy apply {wrong} --attach --prune"),
        "policy apply /nowhere".to_owned(),
    ] {
        router.ask(&line)?.expect(2)?;
        assert_eq!(router.ok("status --json")?.json()?["policy"], earlier, "{line}");
    }
    router.ping(false, 184, 3)?;
    assert_eq!(router.counted("wan0:egress")?.packets_after(), [(34, 3)].into());
    Ok(())
}

#[test]
fn counters_survive_apply_bypass_and_resume() -> anyhow::Result<()> {
    for hook in ["auto", "xdp-generic", "clsact"] {
        let router = Router::start()?;
        for interface in ["lan0", "wan0"] {
            router.ok(&format!("attach {interface} --hook {hook}"))?;
        }
        let (both, lan) = (router.policy("both", BOTH)?, router.policy("lan", LAN_ALONE)?);
        let changes = [
            format!("policy apply {both}"),
            "policy bypass".to_owned(),
            "policy resume".to_owned(),
            format!("policy apply {lan} --prune"),
        ];
        let mut sent = 0;
        for change in changes {
            router.ping(false, 184, 2)?;
            sent += 2;
            router.ok(&change)?;
            for name in HOOKS {
                let counted = router.counted(name)?.packets();
                let all = counted.get(&184).copied().unwrap_or(0) + counted.get(&0x88).copied().unwrap_or(0);
                assert_eq!(all, sent, "{name} by {hook} after {change}: {counted:?}");
            }
        }
    }
    Ok(())
}
