//! Hooks of which the device is gone, or in another network namespace.

use qosbpf_tests::{
    features::Feature,
    router::{Router, run_in},
    typed::{find, shell},
};

/// Nobody wants it any more: it is told, and no fault, but where it is asked about.
#[test]
fn what_is_left_of_an_interface_is_told_by_all_who_are_asked() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    let gone = format!("if-{}", router.ok("status --json")?.json()?["hooks"][0]["ifindex"]);
    run_in(router.edge(), "ip link del lan0")?;
    let (hook, text) = (format!("{gone}:ingress"), "the interface is gone (it was lan0)");
    router.ok("status")?.says(&[&hook, text])?;
    let found = find(&router.ask("doctor --sample 0 --json")?.expect(0)?, &gone, "no-device")?;
    assert_eq!((&found["level"], &found["text"]), (&"info".into(), &format!("{hook}: {text}").into()), "{found:#}");
    let why = find(&router.ask(&format!("why {hook} --sample 0 --json"))?.expect(3)?, &hook, "no-device")?;
    assert_eq!(why["text"], text, "{why:#}");
    let old = router.ask("why lan0:ingress --sample 0")?.expect(1)?;
    old.complains(&["no interface lan0", &format!("what is left of it is {gone}")])?;
    let stats =
        router.ask(&format!("stats {hook}"))?.expect(0)?.says(&["MISSING: nothing of ours runs here any more"])?;
    assert!(!stats.stdout.contains("wanted"), "{stats:?}");
    let advice = found["advice"].as_str().unwrap_or_default();
    let (_, detach) = advice.split_once("to change that: ").unwrap_or_default();
    assert_eq!(shell(detach, None)?.code, 0, "{advice}");
    router.ok("status")?.says(&["nothing is attached"]).map(drop)
}

/// Its program runs on there, and so is not to be ended in passing.
#[test]
fn a_device_that_is_in_another_namespace_is_told_with_its_name() -> anyhow::Result<()> {
    if Feature::Tcx.leaves_out("a device that takes its program along")? {
        return Ok(());
    }
    let router = Router::start()?;
    run_in(router.edge(), "ip link add dyn4 type veth peer name dyn5")?;
    router.ok("attach dyn4 --egress")?;
    let away = format!("if-{}", router.ok("status --json")?.json()?["hooks"][0]["ifindex"]);
    run_in(router.edge(), &format!("ip link set dyn4 netns {}", router.lab().wan().name()))?;
    let text = "its device is in another network namespace (it was dyn4), and its program runs on there";
    let status = router.ok("status")?.says(&[&format!("{away}:egress")])?;
    assert!(status.stdout.split_whitespace().collect::<Vec<_>>().join(" ").contains(text), "{status:?}");
    let found = find(&router.ask("doctor --sample 0 --json")?.expect(0)?, &away, "no-device")?;
    assert_eq!(found["text"], format!("{away}:egress: {text}"), "{found:#}");
    let why = router.ask(&format!("why {away}:egress --sample 0 --json"))?.expect(3)?;
    assert_eq!(find(&why, &format!("{away}:egress"), "no-device")?["text"], text);
    // By its former name the same, and no command that ends the program is its cure.
    for asked in ["why dyn4:egress --sample 0", "stats dyn4", "expect dyn4:egress EF=0 -- true"] {
        let refused = router.ask(asked)?.expect(1)?;
        let said = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&format!("{away}:egress: {text}; to end it: ")), "{asked}: {refused:?}");
        assert!(!said.contains("is gone"), "{asked}: {refused:?}");
    }
    router.ok(&format!("detach {away}")).map(drop)
}

/// The kernel gives a number to another device when it is told to: what the one before it counted is not that one's.
#[test]
fn a_device_with_the_number_of_another_has_none_of_its_counters() -> anyhow::Result<()> {
    let router = Router::start()?;
    for hook in ["clsact", "tcx"] {
        if hook == "tcx" && Feature::Tcx.leaves_out("a device that takes its link along")? {
            continue;
        }
        run_in(router.edge(), "ip link add v9 index 77 type veth peer name peer9")?;
        router.ok(&format!("attach v9 --egress --hook {hook}"))?;
        run_in(router.edge(), "ip link del v9")?;
        run_in(router.edge(), "ip link add v9b index 77 type veth peer name peer9")?;
        router.ask("stats v9b")?.expect(1)?.complains(&["not attached at v9b", "to attach: qosbpf", " attach v9b"])?;
        let all = router.ok("stats --json")?.json()?;
        let left = &all["hooks"][0];
        assert_eq!((&left["interface"], left["device"].is_null()), (&"if-77".into(), true), "{hook}: {all:#}");
        router.ok("status")?.says(&["if-77:egress", "the interface is gone (it was v9)"])?;
        let why = router.ask("why v9b:egress --sample 0 --json")?.expect(3)?;
        find(&why, "v9b:egress", "not-attached")?;
        find(&router.ask("doctor --sample 0 --json")?.expect(0)?, "if-77", "no-device")?;
        router.ok("attach v9b --egress")?.complains(&["begins at zero: what was left there was that of v9"])?;
        router.ok("stats v9b --json")?.says(&["\"v9b\""])?;
        router.ok("detach --all")?;
        run_in(router.edge(), "ip link del v9b")?;
    }
    Ok(())
}
