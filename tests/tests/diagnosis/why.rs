//! `why` on what takes a mark or a packet between our hooks: each is named.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Stdio,
};

use qosbpf::lab::topology::LAN_HOST;
use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in, spawn_in, words},
    typed::{find, has, shell, type_in},
    udp,
};

use crate::doctor::flowtable;

/// A router with all four hooks.
fn attached() -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    router.ok("attach wan0")?;
    Ok(router)
}

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    Answer::of(router.command("why --sample 0 --json")?.args(what.splitn(2, ' ')))
}

/// What a finding says, its details too.
fn said(finding: &serde_json::Value) -> String {
    format!("{} {}", finding["text"], finding["details"])
}

#[test]
fn a_mark_that_comes_through_is_no_fault() -> anyhow::Result<()> {
    let router = attached()?;
    router.ping(false, 184, 20)?;
    let answer = router.ask("why wan0:egress EF --sample 0")?.expect(0)?;
    answer.says(&[
        "EF at wan0:egress: before 20, after 20",
        "hook attached",
        "lan0:ingress before 20",
        "comes through",
    ])?;
    router.ask("why wan0:egress --sample 0")?.expect(0)?;
    router.ask("why lan0:ingress tos=184 --sample 0")?.expect(0)?.says(&["comes through"])?;
    why(&router, "wan0:ingress AF41")?.expect(0)?.says(&["none-came"])?;
    Ok(())
}

#[test]
fn a_class_that_nft_rewrites_between_two_hooks() -> anyhow::Result<()> {
    let router = attached()?;
    for line in [
        "nft add table inet qos",
        "nft add chain inet qos post { type filter hook postrouting priority 0 ; }",
        "nft add rule inet qos post oifname lan0 ip dscp set cs1",
        "nft add rule inet qos post oifname wan0 ip dscp ef ip dscp set cs0",
    ] {
        run_in(router.edge(), line)?;
    }
    let policy = router.policy(
        "p",
        "[classes]\nvoice = [\"EF\", \"VA\"]\n[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n",
    )?;
    router.ok(&format!("policy apply {policy} --prune"))?;
    router.ping(false, 184, 20)?;
    for what in ["wan0:egress EF", "wan0:egress voice", "lan0:ingress EF"] {
        let answer = why(&router, what)?.expect(3)?;
        let subject = what.split(' ').next().unwrap_or_default();
        let lost = find(&answer, subject, "lost-inside")?;
        let text = said(&lost);
        assert!(text.contains("suspect 1: nft table inet qos chain post handle 3: oifname"), "{text}");
        assert!(text.contains("ip dscp set cs0") && !text.contains("set cs1"), "{text}");
    }
    let lost = find(&why(&router, "wan0:egress")?.expect(3)?, "wan0:egress", "lost-inside")?;
    assert!(said(&lost).contains("EF is lost inside this router, between lan0:ingress and wan0:egress (20 came, 0"));
    let screen = router.ask("why wan0:egress EF --sample 0")?.expect(3)?;
    screen.says(&[
        " FAULT EF is lost inside this router",
        "cure: ip netns exec ",
        "nft delete rule inet qos post handle 3",
    ])?;
    type_in(&lost, None)?;
    while_pinging(&router, "-Q 184 198.51.100.2", "why wan0:egress EF")?.says(&["comes through"])?;
    Ok(())
}

#[test]
fn a_route_that_leaves_by_an_interface_without_a_hook() -> anyhow::Result<()> {
    let router = attached()?;
    for line in [
        "ip link add wg0 type veth peer name far0",
        "ip link set wg0 up",
        "ip link set far0 up",
        "ip route add 203.0.113.0/24 dev wg0 table 100",
        "ip rule add to 203.0.113.0/24 table 100 priority 50",
        "ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:09 dev wg0",
    ] {
        run_in(router.edge(), line)?;
    }
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 5060);
    udp::send(router.lab().lan(), SocketAddr::new(LAN_HOST.v4.into(), 0), to, 184, 20)?;
    let route = "route: 203.0.113.0/24 (table 100) by wg0, which has no hook at egress";
    // Of what came before nobody knows.
    let text = said(&find(&why(&router, "wan0:egress EF")?.expect(4)?, "wan0:egress", "vanished")?);
    assert!(text.contains(route), "{text}");
    let answer = while_pinging(&router, "-Q 184 203.0.113.9", "why wan0:egress EF --sample 3 --json")?.expect(3)?;
    let text = said(&find(&answer, "wan0:egress", "lost-inside")?);
    assert!(text.contains(route), "{text}");
    Ok(())
}

/// The answer to a question that is asked while the LAN's host pings.
fn while_pinging(router: &Router, ping: &str, question: &str) -> anyhow::Result<Answer> {
    let line = format!("ping -q -n -i 0.005 {ping}");
    let mut ping = spawn_in(router.lab().lan(), words(&line).stdout(Stdio::null()))?;
    let answer = router.ask(question);
    ping.kill()?;
    ping.wait()?;
    answer
}

/// Beside interfaces that have routes and no hook, as a host with containers has.
#[test]
fn what_is_for_the_router_itself_is_not_lost_by_any_route() -> anyhow::Result<()> {
    let router = attached()?;
    for line in [
        "ip link add docker0 up type bridge",
        "ip link add port type veth peer name far",
        "ip link set port up master docker0",
        "ip link set far up",
        "ip addr add 172.17.0.1/16 dev docker0",
    ] {
        run_in(router.edge(), line)?;
    }
    let answer = while_pinging(&router, "-Q 64 192.0.2.1", "why wan0:egress CS2 --json")?.expect(4)?;
    find(&answer, "wan0:egress", "vanished")?;
    let vanished = find(&why(&router, "wan0:egress CS2")?.expect(4)?, "wan0:egress", "vanished")?;
    assert!(said(&vanished).contains("172.17.0.0/16 by docker0"), "{vanished:#}");
    Ok(())
}

#[test]
fn a_rule_shadowed_by_another() -> anyhow::Result<()> {
    let router = attached()?;
    let policy = router.policy(
        "p",
        "[[rule]]\nname = \"all voice\"\non = \"wan0:egress\"\nmatch = { dscp = [\"EF\", \"VA\"] }\nset = \"AF41\"\n\
         [[rule]]\nname = \"calls\"\non = \"wan0:egress\"\nmatch = { dscp = \"EF\", proto = \"icmp\" }\nset = \"EF\"\n\
         [[rule]]\nname = \"other\"\non = \"wan0:egress\"\nmatch = { dscp-not = [\"EF\", \"VA\"] }\nset = \"DF\"\n\
         [[rule]]\nname = \"echo\"\non = \"wan0:egress\"\nmatch = { proto = \"icmp\" }\nset = \"CS1\"\n\
         [[rule]]\nname = \"web\"\non = \"lan0:ingress\"\nmatch = { proto = \"tcp\" }\nset = \"DF\"\n",
    )?;
    router.ok(&format!("policy apply {policy}"))?;
    router.ping(false, 184, 20)?;
    let answer = why(&router, "wan0:egress calls")?.expect(3)?;
    let text = said(&find(&answer, "wan0:egress", "shadowed")?);
    assert!(text.contains("is never asked") && text.contains("all voice"), "{text}");
    let text = said(&find(&why(&router, "wan0:egress echo")?.expect(3)?, "wan0:egress", "shadowed")?);
    assert!(text.contains("all voice") && text.contains("other") && text.contains("together"), "{text}");
    // A rule that is called as a codepoint is.
    let named = why(&router, "wan0:egress rule=echo")?.expect(3)?;
    find(&named, "wan0:egress", "shadowed")?;
    let asked = why(&router, "wan0:egress all voice")?.expect(0)?;
    asked.says(&["it has decided or counted 20 packets"])?;
    find(&why(&router, "lan0:ingress web")?.expect(4)?, "lan0:ingress", "not-matched")?;
    let marked = router.ask("why wan0:egress EF --sample 0")?.expect(0)?;
    marked.says(&["our policy: 20 EF -> AF41 here", "rule \"all voice\""])?;
    Ok(())
}

/// That the policy does not mean a rule for a hook is no fault; that no hook asks it, or one without that should, is.
#[test]
fn a_rule_that_is_not_for_this_hook() -> anyhow::Result<()> {
    let router = attached()?;
    let policy = router.policy(
        "p",
        "[[rule]]\nname = \"EF\"\non = \"lan0:ingress\"\nmatch = { proto = \"tcp\" }\nset = \"DF\"\n\
         [[rule]]\nname = \"far\"\non = \"ppp*:egress\"\nmatch = { proto = \"tcp\" }\nset = \"DF\"\n\
         [[rule]]\nname = \"out\"\non = \"wan0:egress\"\nmatch = { proto = \"icmp\" }\nset = \"CS1\"\n",
    )?;
    router.ok(&format!("policy apply {policy} --only lan0"))?;
    let answer = why(&router, "wan0:egress rule=EF")?.expect(0)?;
    assert!(answer.stdout.contains("is not asked at wan0:egress."), "{}", answer.stdout);
    let elsewhere = find(&answer, "wan0:egress", "asked-elsewhere")?;
    assert!(said(&elsewhere).contains("as the policy says: on = lan0:ingress; it is asked at lan0:ingress"));
    // Not about the codepoint of that name.
    type_in_and_see(&elsewhere, 0, "none-came")?;
    let nowhere = find(&why(&router, "wan0:egress far")?.expect(3)?, "wan0:egress", "not-asked")?;
    assert!(said(&nowhere).contains("is asked nowhere") && nowhere["advice"].is_string(), "{nowhere:#}");
    let without = find(&why(&router, "wan0:egress out")?.expect(3)?, "wan0:egress", "not-asked")?;
    assert!(said(&without).contains("is for wan0:egress (on = wan0:egress)"), "{without:#}");
    type_in(&without, None)?;
    router.ping(false, 0, 3)?;
    why(&router, "wan0:egress out")?.expect(0)?.says(&["it has decided or counted 3 packets"])?;
    Ok(())
}

/// A command that asks further.
fn type_in_and_see(finding: &serde_json::Value, code: i32, found: &str) -> anyhow::Result<()> {
    let ask = finding["look"].as_str().unwrap_or_default();
    shell(&format!("{ask} --sample 0 --json"), None)?.expect(code)?.says(&[found]).map(drop)
}

/// Sets of so many prefixes are compared by the compiler alone.
#[test]
fn a_rule_that_another_with_a_large_set_leaves_nothing() -> anyhow::Result<()> {
    let router = attached()?;
    let set: String = (0..1100).map(|host| format!("\"10.0.{}.{}\", ", host >> 7, host << 1 & 255)).collect();
    let policy = router.policy(
        "p",
        &format!(
            "[sets]\nbig = [{set}]\n\
             [[rule]]\nname = \"all of it\"\non = \"lan0:ingress\"\nmatch = {{ src = \"@big\" }}\nset = \"AF41\"\n\
             [[rule]]\nname = \"a part\"\non = \"lan0:ingress\"\nmatch = {{ src = \"@big\", proto = \"udp\" }}\nset = \"EF\"\n"
        ),
    )?;
    router.ok(&format!("policy apply {policy} --prune"))?;
    let shadowed = find(&why(&router, "lan0:ingress a part")?.expect(3)?, "lan0:ingress", "shadowed")?;
    assert!(said(&shadowed).contains("all of it"), "{shadowed:#}");
    Ok(())
}

#[test]
fn a_bypassed_policy() -> anyhow::Result<()> {
    let router = attached()?;
    let policy = router.policy("p", "[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ok(&format!("policy apply {policy} --prune"))?;
    router.ok("policy bypass")?;
    router.ping(false, 184, 20)?;
    let answer = why(&router, "wan0:egress EF")?.expect(3)?;
    let bypassed = find(&answer, "wan0:egress", "bypassed")?;
    type_in(&bypassed, None)?;
    why(&router, "wan0:egress EF")?.expect(0)?;
    Ok(())
}

#[test]
fn a_hook_that_is_not_there() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    let absent = find(&why(&router, "wan0:egress EF")?.expect(3)?, "wan0:egress", "not-attached")?;
    type_in(&absent, None)?;
    router.ping(false, 184, 20)?;
    // The hooks are of different age: what came before cannot be compared.
    router.ask("why wan0:egress EF --sample 0")?.says(&["hook attached"]).map(drop)
}

/// Recorded: see there.
#[test]
fn a_flowtable() -> anyhow::Result<()> {
    let router = attached()?;
    let tools = tempfile::tempdir()?;
    flowtable(tools.path())?;
    router.ping(false, 184, 20)?;
    let path = format!("{}:{}", tools.path().display(), std::env::var("PATH")?);
    let answer = Answer::of(router.command("why wan0:egress EF --sample 0 --json")?.env("PATH", path))?.expect(3)?;
    let found = find(&answer, "wan0", "flowtable")?;
    assert!(said(&found).contains("flowtable inet fw ft"), "{found:#}");
    Ok(())
}

#[test]
fn packets_for_the_router_itself_are_not_told_from_those_that_are_dropped() -> anyhow::Result<()> {
    let router = attached()?;
    run_in(router.lab().lan(), "ping -q -n -c 1 -W 2 192.0.2.1")?;
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
    udp::send(router.lab().lan(), SocketAddr::new(LAN_HOST.v4.into(), 0), to, 184, 20)?;
    let answer = why(&router, "wan0:egress EF")?.expect(4)?;
    find(&answer, "wan0:egress", "vanished")?;
    Ok(())
}

#[test]
fn what_is_asked_has_to_be_something() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ask("why wan0")?.expect(2)?.complains(&["wan0:ingress or wan0:egress"])?;
    router.ask("why wan0:egress nonsense")?.expect(2)?.complains(&["no codepoint, no class and no rule"])?;
    router.ask("why wan0:egress EFF")?.expect(2)?.complains(&["did you mean the codepoint \"EF\"?"])?;
    router.ask("why wan0:egress 184")?.expect(2)?.complains(&["tos=184"])?;
    let refused = router.ask("why wan9:egress --json")?.expect(1)?;
    assert_eq!(refused.json()?["error"]["code"], "no-such-interface");
    Ok(())
}

/// It takes some of them where they come in; the others come through.
#[test]
fn what_our_own_rule_took_at_another_hook() -> anyhow::Result<()> {
    let router = attached()?;
    let policy = router.policy(
        "p",
        "[[rule]]\nname = \"echo\"\non = \"lan0:ingress\"\nmatch = { dscp = \"EF\", proto = \"icmp\" }\nset = \"AF41\"\n\
         [interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n",
    )?;
    router.ok(&format!("policy apply {policy} --prune"))?;
    router.ping(false, 184, 7)?;
    let taken = "our policy: 7 EF -> AF41 at lan0:ingress, by rule \"echo\" (";
    router.ask("why wan0:egress EF --sample 0")?.expect(0)?.says(&[taken])?;
    router.ping(true, 184, 5)?;
    let answer = router.ask("why wan0:egress EF --sample 0")?.expect(0)?;
    answer.says(&[taken, "EF comes through: 5 from lan0:ingress, 5 at wan0:egress"])?;
    Ok(())
}

/// Another policy is in force than the hook runs, since it was applied to other interfaces alone. What would take policies away
/// is left to whoever reads it; and a path leads from everywhere.
#[test]
fn the_policy_in_force_is_applied_to_the_rest_by_a_command_that_is_accepted() -> anyhow::Result<()> {
    let table = "[remark.t]\nother = \"DF\"\n";
    let wan = "[interface.wan0]\negress = \"t\"\n";
    let router = Router::start()?;
    let both = router.policy("both", &format!("[interface.wan0]\ningress = \"t\"\negress = \"t\"\n{table}"))?;
    let new = router.policy("new", &format!("[interface.lan0]\ningress = \"t\"\n{wan}{table}"))?;
    let within = |line: &str| Answer::of(router.command(line)?.current_dir(router.folder()));
    let asked_within =
        || find(&within("why wan0:egress EF --sample 0 --json")?.expect(3)?, "wan0:egress", "other-policy");
    router.ok(&format!("policy apply {both} --attach"))?;
    within("policy apply new --only lan0")?.expect(0)?;
    let found = asked_within()?;
    let advice = found["advice"].as_str().unwrap_or_default();
    assert!(found["cure"].is_null(), "{found:#}");
    assert!(advice.contains("leaves out wan0:ingress") && advice.ends_with(&format!(" --prune {new}")), "{found:#}");
    let status = router.ask("status --json")?.json()?;
    let notes = status["hooks"].as_array().into_iter().flatten().flat_map(|hook| hook["notes"].as_array()).flatten();
    // From here `new` leads nowhere, and the history has its text.
    let again = notes.filter_map(|note| note.as_str()).filter(|note| note.ends_with(" policy rollback 2"));
    assert_eq!(again.count(), 2, "{status:#}");
    let elsewhere = find(&router.ask("why wan0:egress EF --sample 0 --json")?, "wan0:egress", "other-policy")?;
    let advice = elsewhere["advice"].as_str().unwrap_or_default();
    assert!(advice.contains("leaves out wan0:ingress") && advice.ends_with(" policy rollback 2"), "{elsewhere:#}");
    router.ok("detach wan0:ingress")?;
    let found = asked_within()?;
    assert!(found["cure"].as_str().is_some_and(|cure| cure.ends_with(&format!("policy apply {new}"))), "{found:#}");
    type_in(&found, None)?;
    assert!(!has(&router.ask("why wan0:egress EF --sample 0 --json")?, "other-policy")?);
    Ok(())
}
