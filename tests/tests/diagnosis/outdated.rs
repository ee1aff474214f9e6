//! Interfaces that are renamed or made anew while no service runs: hooks go on as they were, and every command says so.

use anyhow::{Context as _, ensure};
use qosbpf::lab::topology::{EDGE_LAN, LAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    features::Feature,
    router::{Router, run_in, wait_until_up},
    typed::{find, has, last_command, type_in},
};

use super::doctor::doctor;

/// What somebody has found, and how it is cured by what it says.
type Cured = fn(&Router) -> anyhow::Result<Answer>;

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    Answer::of(router.command("why --sample 0 --json")?.args(what.splitn(2, ' ')))
}

/// The note of `status` at a hook that has these words.
fn noted(router: &Router, hook: &str, words: &str) -> anyhow::Result<String> {
    let document = router.ask("status --json")?.expect(3)?.json()?;
    let (interface, direction) = hook.split_once(':').context("a hook")?;
    let is_it = |there: &&serde_json::Value| there["interface"] == interface && there["direction"] == direction;
    let row = document["hooks"].as_array().context("hooks")?.iter().find(is_it).context("the hook")?;
    let mut notes = row["notes"].as_array().context("notes")?.iter().filter_map(|note| note.as_str());
    let found = notes.find(|note| note.contains(words));
    Ok(found.with_context(|| format!("no `{words}` in {row:#}"))?.to_owned())
}

const NAMES: &str = "[interface.wan1]\negress = \"wash\"\n[interface.wan2]\negress = \"trust\"\n\
    [remark.wash]\nother = \"DF\"\n[remark.trust]\nCS6 = \"DF\"\nother = \"keep\"\n";

/// Two devices that the policy tells apart by their names.
fn two_names() -> anyhow::Result<Router> {
    let router = Router::start()?;
    run_in(router.edge(), "ip link add wan1 type veth peer name wan2")?;
    let policy = router.policy("p", NAMES)?;
    router.ok(&format!("policy apply {policy} --attach"))?;
    router.ok("status")?;
    Ok(router)
}

fn rename(router: &Router, names: &[(&str, &str)]) -> anyhow::Result<()> {
    names.iter().try_for_each(|(from, to)| run_in(router.edge(), &format!("ip link set {from} name {to}")).map(drop))
}

#[test]
fn hooks_whose_devices_change_names_are_told_by_each_command_with_the_cure() -> anyhow::Result<()> {
    let router = two_names()?;
    let runs = "runs table trust, as its device was called wan2; to wan1 the policy in force binds table wash";
    let by_status: Cured = |router| last_command(&noted(router, "wan1:egress", "to wan1 the policy")?);
    let by_doctor: Cured = |router| {
        let found = find(&doctor(router)?.expect(3)?, "wan1", "other-name")?;
        ensure!(found["level"] == "warn", "{found:#}");
        type_in(&found, None)
    };
    let by_why: Cured =
        |router| type_in(&find(&why(router, "wan1:egress EF")?.expect(3)?, "wan1:egress", "other-name")?, None);
    for cured in [by_status, by_doctor, by_why] {
        rename(&router, &[("wan1", "aside"), ("wan2", "wan1"), ("aside", "wan2")])?;
        noted(&router, "wan1:egress", runs)?;
        noted(&router, "wan2:egress", "to wan2 the policy in force binds table trust")?;
        cured(&router)?.says(&["wan1:egress", "changed"])?;
        router.ok("status")?;
        ensure!(!has(&doctor(&router)?, "other-name")? && !has(&why(&router, "wan1:egress")?, "other-name")?);
        let hooks = router.ok("status --json")?.json()?["hooks"].clone();
        ensure!(hooks[0]["table"] == "wash" && hooks[1]["table"] == "trust", "{hooks:#}");
    }
    Ok(())
}

/// Whoever applies the policy again takes it from a hook that has a name which the file does not know: that is said before.
#[test]
fn a_hook_whose_device_has_a_name_that_the_policy_does_not_know_is_told() -> anyhow::Result<()> {
    let router = two_names()?;
    rename(&router, &[("wan2", "spare")])?;
    let note = noted(&router, "spare:egress", "to spare the policy in force binds nothing")?;
    ensure!(note.contains("the policy leaves out spare:egress"), "{note}");
    let found = find(&doctor(&router)?.expect(3)?, "spare", "other-name")?;
    ensure!(found["cure"].is_null() && found["advice"].to_string().contains("policy apply --prune"), "{found:#}");
    last_command(&note)?;
    ensure!(!has(&doctor(&router)?, "other-name")?);
    Ok(())
}

const PHONES: &str = "[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\nCS6 = \"DF\"\n\
    [[rule]]\nname = \"EF from phones\"\non = \"wan0:egress\"\n\
    match = { dscp = \"EF\", src = \"192.0.2.0/24\", from = \"lan0\" }\nset = \"AF41\"\n";

/// The LAN's device goes, and comes back with the same name and address under another number.
fn lan_made_anew(router: &Router) -> anyhow::Result<()> {
    let (edge, lan) = (router.edge(), router.lab().lan());
    let (here, there) = (EDGE_LAN, LAN_HOST);
    run_in(edge, &format!("ip link del {}", here.device))?;
    let pair = format!("ip link add {} type veth peer name {} netns {}", here.device, there.device, lan.name());
    run_in(edge, &pair)?;
    for (namespace, end) in [(edge, here), (lan, there)] {
        run_in(namespace, &format!("ip address add {}/24 dev {}", end.v4, end.device))?;
        run_in(namespace, &format!("ip link set {} up", end.device))?;
    }
    run_in(lan, &format!("ip route replace default via {}", here.v4))?;
    wait_until_up(&[(edge, here.device), (lan, there.device)])
}

/// Five EF from the LAN: how many left as AF41.
fn marked(router: &Router) -> anyhow::Result<u64> {
    let before = router.counted("wan0:egress")?;
    router.ping(false, 184, 5)?;
    let after = router.counted("wan0:egress")?.since(&before);
    Ok(after.packets_after().get(&34).copied().unwrap_or_default())
}

const DEAD: &str = "a rule's `from` means other interfaces by now (rule \"EF from phones\")";

#[test]
fn a_rule_that_names_a_device_which_was_made_anew_is_told_by_each_command_with_the_cure() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("p", PHONES)?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {policy}"))?.says(&["wan0:egress", "changed"])?;
    ensure!(marked(&router)? == 5);
    router.ok(&format!("policy diff {policy}"))?.says(&["no difference"])?;
    lan_made_anew(&router)?;
    ensure!(marked(&router)? == 0, "its number is another one");
    let note = noted(&router, "wan0:egress", DEAD)?;
    let found = find(&doctor(&router)?.expect(3)?, "wan0", "other-from")?;
    ensure!(found["level"] == "warn" && found["text"].to_string().contains("means other interfaces"), "{found:#}");
    let by_mark = find(&why(&router, "wan0:egress EF")?.expect(3)?, "wan0:egress", "other-from")?;
    router.ask(&format!("policy diff {policy}"))?.expect(3)?.says(&["~ from   rule \"EF from phones\" means other"])?;
    explained(&router, true)?;
    let by_rule = why(&router, "wan0:egress EF from phones")?.expect(3)?;
    ensure!(!has(&by_rule, "not-matched")?, "{}", by_rule.stdout);
    let by_rule = find(&by_rule, "wan0:egress", "other-from")?;
    let cure = by_rule["cure"].as_str().context("a cure")?;
    ensure!(
        [&found, &by_mark].iter().all(|other| other["cure"] == cure) && note.ends_with(cure),
        "{note}\n{by_rule:#}"
    );
    type_in(&by_rule, None)?.says(&["wan0:egress", "changed"])?;
    ensure!(marked(&router)? == 5);
    router.ok("status")?;
    router.ok(&format!("policy diff {policy}"))?.says(&["no difference"])?;
    explained(&router, false)?;
    ensure!(!has(&doctor(&router)?, "other-from")? && !has(&why(&router, "wan0:egress EF")?, "other-from")?);
    Ok(())
}

/// Of the program that runs, not of the one that would be made now.
fn explained(router: &Router, is_dead: bool) -> anyhow::Result<()> {
    if Feature::IngressInterface.leaves_out("explain with the interface of a packet")? {
        return Ok(());
    }
    let packet = "udp 192.0.2.2:5060 > 198.51.100.2:5060 dscp EF from lan0";
    let ask = |options: &str| {
        Answer::of(router.command("policy explain wan0:egress")?.arg(packet).args(options.split_whitespace()))
    };
    let document = ask("--json")?.expect(0)?.json()?;
    if !is_dead {
        ensure!(document["after"] == 34 && document["outdated"] == serde_json::json!([]), "{document:#}");
        return Ok(());
    }
    ensure!(document["after"] == 46 && document["decided_by"]["kind"] == "entry", "{document:#}");
    ensure!(document["passed_over"][0]["not_so"] == "from lan0, as it was when the rule was compiled", "{document:#}");
    ask("")?.expect(0)?.says(&["! a rule's `from` means other interfaces by now", "policy apply "])?;
    Ok(())
}

/// Two names changed round: each rule means an interface of now, and the other one. The numbers together are the same.
#[test]
fn rules_whose_devices_change_names_are_told() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "ip link add lan1 type veth peer name lan2")?;
    let rule = |name: &str| {
        format!("[[rule]]\nname = \"{name}\"\non = \"wan0:egress\"\nmatch = {{ from = \"{name}\" }}\nset = \"CS1\"\n")
    };
    let policy = router.policy("p", &(rule("lan1") + &rule("lan2")))?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {policy}"))?;
    router.ok("status")?;
    rename(&router, &[("lan1", "aside"), ("lan2", "lan1"), ("aside", "lan2")])?;
    last_command(&noted(&router, "wan0:egress", "(rule \"lan1\" and 1 more)")?)?;
    router.ok("status").map(drop)
}

#[test]
fn an_interface_in_from_that_is_not_there_is_told_as_one_that_is_to_be_attached() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("p", &PHONES.replace("\"lan0\"", "[\"lan0\", \"lan9\"]"))?;
    let lost = "rule \"EF from phones\" is for packets from lan9, and there is no such interface";
    let advice = format!("make the interface, or name another one in {policy}:8; then apply the policy again");
    router.ok("attach wan0 --egress")?;
    let applied = router.ok(&format!("policy apply {policy} --json"))?.json()?;
    ensure!(applied["warnings"][0] == format!("{lost}: {advice}"), "{applied:#}");
    noted(&router, "wan0:egress", &format!("{lost}: {advice}"))?;
    let found = find(&doctor(&router)?.expect(3)?, "wan0", "no-interface")?;
    ensure!(found["text"].to_string().contains("from lan9") && found["advice"] == advice, "{found:#}");
    run_in(router.edge(), "ip link add lan9 type veth peer name lan8")?;
    ensure!(!has(&doctor(&router)?, "no-interface")?);
    last_command(&noted(&router, "wan0:egress", DEAD)?)?;
    router.ok("status").map(drop)
}

#[test]
fn why_a_rule_never_matches_whose_interface_is_not_there_has_advice() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("p", &PHONES.replace("lan0", "lan9"))?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {policy}"))?;
    let found = find(&why(&router, "wan0:egress EF from phones")?.expect(3)?, "wan0:egress", "no-interface")?;
    ensure!(found["advice"].to_string().contains(&format!("name another one in {policy}:8")), "{found:#}");
    Ok(())
}
