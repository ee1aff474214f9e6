//! What a policy means to be so and is not, as `doctor` tells it.

use std::fs;

use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in},
    typed::{find, findings, has, last_command, type_in},
};

const TABLE: &str = "[remark.t]\nother = \"DF\"\n";

/// With a folder of settings of its own.
fn doctor(router: &Router, about: &str) -> anyhow::Result<Answer> {
    let etc = router.folder().join("etc");
    Answer::of(router.command("--etc")?.arg(etc).args(format!("doctor {about} --sample 0 --json").split_whitespace()))
}

#[test]
fn a_hook_that_the_policy_binds_and_nobody_attached_is_attached_by_the_cure() -> anyhow::Result<()> {
    let router = Router::start()?;
    let bound =
        "[interface.lan0]\ningress = \"t\"\n[interface.wan0]\negress = \"t\"\n[interface.ppp7]\negress = \"t\"\n";
    let policy = router.policy("p", &format!("{bound}{TABLE}"))?;
    router.ok("attach lan0 --ingress")?;
    router.ok(&format!("policy apply {policy}"))?;
    let answer = doctor(&router, "")?.expect(3)?;
    let absent = find(&answer, "ppp7", "no-interface")?;
    assert!(absent["advice"].as_str().is_some_and(|advice| advice.contains(&policy)), "{absent:#}");
    assert!(!has(&doctor(&router, "lan0")?.expect(0)?, "not-attached")?);
    let found = find(&answer, "wan0", "not-attached")?;
    assert!(found["text"].as_str().is_some_and(|text| text.starts_with("wan0:egress: the policy in force binds it")));
    type_in(&found, None)?;
    assert!(!has(&doctor(&router, "")?.expect(3)?, "not-attached")?, "the other one is still absent");
    run_in(router.edge(), "ip link add ppp7 type veth peer name ppp8")?;
    type_in(&find(&doctor(&router, "")?.expect(3)?, "ppp7", "not-attached")?, None)?;
    assert!(!has(&doctor(&router, "")?, "not-attached")?);
    Ok(())
}

#[test]
fn a_saved_policy_that_is_broken_or_not_in_force_is_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    let saved = router.folder().join("etc/policy.toml");
    fs::create_dir_all(router.folder().join("etc"))?;
    router.ok("attach wan0 --egress")?;
    doctor(&router, "")?.expect(0)?;
    fs::write(&saved, format!("version = 1\nname = \"p\"\n[interface.wan0]\negres = \"t\"\ningres = \"t\"\n{TABLE}"))?;
    let found = find(&doctor(&router, "")?.expect(3)?, "host", "saved-policy")?;
    let text = found["text"].as_str().unwrap_or_default();
    assert!(text.contains(&format!("{}:4:1: ", saved.display())) && text.contains(" (and 1 more)"), "{found:#}");
    let check = format!("policy check {}", saved.display());
    assert!(found["look"].as_str().is_some_and(|look| look.ends_with(&check)), "{found:#}");
    fs::write(&saved, format!("version = 1\nname = \"p\"\n[interface.wan0]\negress = \"t\"\n{TABLE}"))?;
    let found = find(&doctor(&router, "")?.expect(3)?, "host", "not-in-force")?;
    type_in(&found, None)?;
    doctor(&router, "")?.expect(0)?;
    assert_eq!(router.ok("status --json")?.json()?["hooks"][0]["table"], "t");
    Ok(())
}

#[test]
fn a_pin_that_says_what_is_in_force_and_is_broken_is_named_with_its_cure() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("p", &format!("[interface.wan0]\negress = \"t\"\n{TABLE}"))?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {policy}"))?;
    let pin = router.namespace_folder()?.join("policy");
    fs::remove_file(&pin)?;
    fs::create_dir(&pin)?;
    let answer = doctor(&router, "")?.expect(3)?;
    let found = findings(&answer)?.into_iter().find(|found| found["code"] == "spoiled-pin").unwrap_or_default();
    let told = |field: &str| found[field].as_str().is_some_and(|text| text.contains(&pin.display().to_string()));
    assert!(found["subject"] == "host" && told("text") && told("advice"), "{}", answer.stdout);
    Ok(())
}

/// Of hooks that only count nothing is taken away by it.
#[test]
fn a_saved_policy_that_does_not_name_where_hooks_count_is_put_in_force_by_what_is_said() -> anyhow::Result<()> {
    let router = Router::start()?;
    let etc = router.folder().join("etc");
    fs::create_dir_all(&etc)?;
    let policy = format!("version = 1\nname = \"p\"\n[interface.wan0]\negress = \"t\"\n{TABLE}");
    fs::write(etc.join("policy.toml"), policy)?;
    let status = || Answer::of(router.command("--etc")?.arg(&etc).args(["status", "--json"]));
    let by_status = || {
        let document = status()?.json()?;
        let mut notes = document["notes"].as_array().into_iter().flatten().filter_map(|note| note.as_str());
        last_command(notes.find(|note| note.contains("is saved, and not in force")).unwrap_or_default())
    };
    let by_doctor = || type_in(&find(&doctor(&router, "")?.expect(3)?, "host", "not-in-force")?, None);
    for typed in [&by_status as &dyn Fn() -> anyhow::Result<Answer>, &by_doctor] {
        router.ok("attach lan0")?;
        typed()?;
        status()?.expect(0)?.says(&["\"table\": \"t\"", "\"interface\": \"lan0\""])?;
        router.ok("detach --all")?;
    }
    Ok(())
}
