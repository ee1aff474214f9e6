//! `policy bypass --for`: ends by itself, or by the next command.

use std::fs;

use anyhow::Context as _;
use aya::maps::{Array, MapData};
use qosbpf_tests::router::run_in;
use serde_json::Value;

use crate::edge::Edge;

fn bypassed() -> anyhow::Result<Edge> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    Ok(edge)
}

fn lan(edge: &Edge) -> anyhow::Result<Value> {
    hook(edge, "lan0")
}

/// Of a status that may say that something is wrong.
fn hook(edge: &Edge, interface: &str) -> anyhow::Result<Value> {
    let status = edge.ask("status --json")?.json()?;
    let hooks = status["hooks"].as_array().context("hooks")?;
    hooks.iter().find(|hook| hook["interface"] == interface).cloned().context("the interface")
}

#[test]
fn it_ends_by_itself() -> anyhow::Result<()> {
    let edge = bypassed()?;
    let soon = edge.soon.as_secs();
    let words = ["lan0:ingress  out of the policy's path", &format!("for {soon}s")];
    edge.ok(&format!("policy bypass --for {soon}s"))?.says(&words)?;
    assert_eq!(edge.mark_of_ef()?, 46);
    let hook = lan(&edge)?;
    let left = hook["bypass"]["seconds_left"].as_f64().context("seconds_left")?;
    assert!(
        left > 0.0 && left <= edge.soon.as_secs_f64() && hook["state"] == "bypassed" && hook["bypass"]["by"] == "root",
        "{hook:#}"
    );
    edge.ok("status")?.says(&["BYPASS by root", "ends in "])?;
    edge.wait_for_timers()?;
    assert_eq!(edge.ok("status")?.stderr, "");
    assert_eq!((edge.mark_of_ef()?, &lan(&edge)?["bypass"]), (34, &Value::Null));
    Ok(())
}

#[test]
fn the_next_command_ends_it_if_the_timer_was_killed() -> anyhow::Result<()> {
    let edge = bypassed()?;
    edge.ok(&format!("policy bypass lan0:ingress --for {}s", edge.soon.as_secs()))?;
    edge.kill_timers()?;
    edge.sleep_past_it();
    edge.ok("stats")?.complains(&["lan0:ingress is in the policy's path again", "root"])?;
    assert_eq!(edge.mark_of_ef()?, 34);
    Ok(())
}

/// Nothing is due where nothing runs. The program that only counts goes along with its device, and the next command that finds
/// it back ends the bypass.
#[test]
fn it_ends_once_a_device_that_was_away_is_back() -> anyhow::Result<()> {
    let edge = bypassed()?;
    let (here, away) = (edge.router.edge(), edge.router.lab().wan());
    edge.ok(&format!("policy bypass lan0:ingress --for {}s", edge.soon.as_secs()))?;
    run_in(here, &format!("ip link set lan0 netns {}", away.name()))?;
    edge.wait_for_timers()?;
    edge.sleep_past_it();
    for answer in [edge.ask("status")?, edge.ask_without_capabilities("dscp EF")?] {
        assert!(!answer.stderr.contains("is due") && !answer.stderr.contains("path again"), "{answer:?}");
    }
    run_in(away, &format!("ip link set lan0 netns {}", here.name()))?;
    edge.ask("status")?.complains(&["lan0:ingress is in the policy's path again"])?;
    let hook = lan(&edge)?;
    assert_eq!((&hook["state"], &hook["bypass"]), (&"active".into(), &Value::Null), "{hook:#}");
    Ok(())
}

/// A filter goes with its device's qdisc: what is attached again is in the policy's path if the time is over by then.
#[test]
fn it_is_over_where_the_program_was_removed_meanwhile() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    edge.ok("detach lan0")?;
    edge.ok("attach lan0 --ingress --hook clsact")?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.ok(&format!("policy bypass lan0:ingress --for {}s", edge.soon.as_secs()))?;
    run_in(edge.router.edge(), "tc qdisc del dev lan0 clsact")?;
    edge.wait_for_timers()?;
    edge.sleep_past_it();
    assert_eq!(edge.ask("stats wan0:egress")?.expect(0)?.stderr, "");
    let attached = edge.ok("attach lan0 --ingress --hook clsact")?.says(&["its counters go on"])?;
    assert!(!attached.stdout.contains("BYPASSED"), "{attached:?}");
    assert_eq!(edge.mark_of_ef()?, 34);
    Ok(())
}

#[test]
fn a_new_end_replaces_the_old_one() -> anyhow::Result<()> {
    let edge = bypassed()?;
    edge.ok(&format!("policy bypass --for {}s", edge.soon.as_secs()))?;
    let since = lan(&edge)?["bypass"]["since"].clone();
    let ends = "lan0:ingress  already out of the policy's path; ends in 1h, before in ";
    edge.ok("policy bypass --for 1h")?.says(&[ends])?;
    edge.sleep_past_it();
    let hook = lan(&edge)?;
    assert_eq!((&hook["state"], &hook["bypass"]["since"]), (&"bypassed".into(), &since), "{hook:#}");
    let none = edge.ok("policy bypass lan0:ingress --json")?.json()?["hooks"][0].clone();
    let result = none["result"].as_str().context("result")?;
    let words = "already out of the policy's path; no longer ends by itself, before in 5";
    assert!(none["changed"] == true && none["ends_in"].is_null() && result.starts_with(words), "{none:#}");
    assert!(lan(&edge)?["bypass"]["seconds_left"].is_null());
    let again = edge.ok("policy bypass lan0:ingress --json")?.json()?["hooks"][0].clone();
    let words = "already out of the policy's path; counts go on, nothing is changed";
    assert!(again["changed"] == false && again["result"] == words, "{again:#}");
    let words = "already out of the policy's path; ends in 1h, before not by itself";
    edge.ok("policy bypass lan0:ingress --for 1h")?.says(&[words])?;
    edge.ok("policy bypass")?.says(&["no longer ends by itself, before in "])?;
    edge.wait_for_timers()?;
    edge.ok("policy resume")?;
    assert_eq!(edge.mark_of_ef()?, 34);
    Ok(())
}

/// What is out of the path stays out while policies come and go.
#[test]
fn a_rollback_does_not_end_it() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok("policy bypass --for 1h")?;
    edge.ok(&format!("policy apply {} --confirm 1s", edge.mark))?;
    edge.sleep_past_it();
    assert_eq!((edge.in_force()?.as_str(), &lan(&edge)?["state"]), ("keep", &"bypassed".into()));
    edge.ok("policy resume")?;
    edge.wait_for_timers()
}

/// A service may be about to attach them.
#[test]
fn hooks_that_are_not_attached_yet_are_told_of() -> anyhow::Result<()> {
    const TOLD: &str =
        "! 1 hook that the policy binds is not attached: one that is attached from now on is in its path";
    let edge = bypassed()?;
    assert_eq!(edge.ok("policy bypass")?.stderr, "");
    edge.ok("detach wan0:egress")?;
    edge.ok("policy bypass")?.complains(&[TOLD])?;
    for line in ["policy bypass lan0:ingress", "policy resume"] {
        assert_eq!(edge.ok(line)?.stderr, "", "{line}");
    }
    Ok(())
}

/// As where nothing but labels change: the name of now is written down, and what is put back later is no other device's.
#[test]
fn a_policy_that_does_the_same_is_applied_for_the_name_of_now() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    edge.ok("detach lan0")?;
    edge.ok("attach lan0 --ingress --hook clsact")?;
    let globs = "[interface.\"lan*\"]\ningress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
    let first = edge.router.policy("globs", globs)?;
    edge.ok(&format!("policy apply {first} --prune"))?;
    let moved = edge.router.policy("moved", &format!("# Another line.\n{globs}"))?;
    let mut counted = 0;
    for (from, to, policy) in [("lan0", "lan1", &moved), ("lan1", "lan2", &moved)] {
        edge.router.ping(false, 46 << 2, 3)?;
        counted += 3;
        run_in(edge.router.edge(), &format!("ip link set {from} name {to}"))?;
        edge.ok(&format!("policy apply {policy} --prune"))?;
        run_in(edge.router.edge(), &format!("tc qdisc del dev {to} clsact"))?;
        edge.ok(&format!("attach {to} --ingress --hook clsact"))?.says(&["its counters go on"])?;
        assert_eq!(edge.router.counted(&format!("{to}:ingress"))?.packets()[&(46 << 2)], counted);
    }
    Ok(())
}

/// It is written down with the name of now, though nobody has asked what the policy binds to that: the device is no other one.
#[test]
fn a_renamed_hook_is_put_back_with_it() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    edge.ok("detach lan0")?;
    edge.ok("attach lan0 --ingress --hook clsact")?;
    let globs = "[interface.\"lan*\"]\ningress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
    edge.ok(&format!("policy apply {} --prune", edge.router.policy("globs", globs)?))?;
    edge.router.ping(false, 46 << 2, 3)?;
    run_in(edge.router.edge(), "ip link set lan0 name lan1")?;
    edge.ok("policy bypass lan1")?;
    run_in(edge.router.edge(), "tc qdisc del dev lan1 clsact")?;
    edge.ok("attach lan1 --ingress --hook clsact")?.says(&["its counters go on", "BYPASSED"])?;
    let counted = edge.router.counted("lan1:ingress")?;
    assert_eq!(counted.packets()[&(46 << 2)], 3);
    assert_eq!(edge.mark_of_ef()?, 46);
    Ok(())
}

/// It is the command for an emergency: what is done is said, what is not is said with why, and it ends when it was to end.
#[test]
fn a_hook_that_fails_keeps_no_other_one_in_the_path() -> anyhow::Result<()> {
    let edge = bypassed()?;
    let states = |edge: &Edge| anyhow::Ok([&lan(edge)?["state"], &hook(edge, "wan0")?["state"]].map(Value::clone));
    // The hook that comes first.
    let counters = edge.router.hook_folder("lan0", "ingress")?.join("counters");
    let away = counters.with_file_name("away");
    let spoil = || {
        fs::rename(&counters, &away)?;
        anyhow::Ok(Array::<MapData, u64>::create(1, 0)?.pin(&counters)?)
    };
    let mend = || fs::remove_file(&counters).and_then(|()| fs::rename(&away, &counters));
    spoil()?;
    let line = format!("policy bypass --for {}s", edge.soon.as_secs());
    let why = ["lan0:ingress: ", "is not a counter map"];
    edge.ask(&line)?.expect(1)?.says(&["wan0:egress  out of the policy's path"])?.complains(&why)?;
    assert_eq!(states(&edge)?, ["error", "bypassed"]);
    edge.wait_for_timers()?;
    assert_eq!(states(&edge)?, ["error", "active"], "nobody has ended it");
    let document = edge.ask(&format!("{line} --json"))?.expect(1)?.json()?;
    assert_eq!(
        (document["hooks"].as_array().map(Vec::len), &document["hooks"][0]["hook"]),
        (Some(1), &"wan0:egress".into())
    );
    assert!(document["error"]["message"].as_str().is_some_and(|said| said.contains(why[1])), "{document:#}");
    mend()?;
    edge.ok("policy bypass")?;
    spoil()?;
    edge.ask("policy resume")?.expect(1)?.says(&["wan0:egress  in the policy's path again"])?.complains(&why)?;
    // One that is meant alone fails as any command does.
    edge.ask("policy resume lan0:ingress --json")?.expect(1)?.complains(&[why[1]])?;
    mend()?;
    assert_eq!(states(&edge)?, ["bypassed", "active"]);
    edge.ok("policy resume")?;
    assert_eq!(edge.mark_of_ef()?, 34);
    edge.wait_for_timers()
}

/// Whether it has a policy nobody can say.
#[test]
fn a_hook_that_cannot_be_read_is_told_of() -> anyhow::Result<()> {
    let edge = bypassed()?;
    edge.ok("attach lan0 --egress --hook tcx")?;
    fs::remove_file(edge.router.hook_folder("lan0", "egress")?.join("state"))?;
    Array::<MapData, u64>::create(1, 0)?.pin(edge.router.hook_folder("lan0", "egress")?.join("state"))?;
    edge.ok("policy bypass")?.complains(&["! lan0:egress cannot be read, and is left as it is"])?;
    assert_eq!(edge.mark_of_ef()?, 46);
    Ok(())
}
