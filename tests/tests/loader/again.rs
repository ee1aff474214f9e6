//! Attaching twice, attaching with another policy, attaching at once.

use std::fs;

use anyhow::{Context as _, ensure};
use aya::programs::TcAttachType;
use qosbpf::kernel::{
    document,
    pins::{Pin, Store},
    state::HookState,
};
use qosbpf_tests::{
    binary::Answer,
    left::{assert_nothing, leftovers, tcx},
    router::{Router, run_in},
    typed,
};
use serde_json::Value;

const KEEP: &str = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"keep\"\n";
const WASH: &str = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n";

#[test]
fn a_second_attach_changes_nothing_and_says_so() -> anyhow::Result<()> {
    let router = Router::start()?;
    for hook in ["auto", "xdp-generic", "tcx", "clsact"] {
        router
            .ok(&format!("attach lan0 --hook {hook}"))?
            .says(&["lan0:ingress  attached:", "lan0:egress  attached:"])?;
        router.ping(false, 184, 3)?;
        let earlier = programs(&router)?;
        let again = router.ok(&format!("attach lan0 --hook {hook}"))?;
        again.says(&["lan0:ingress  already attached:", "lan0:egress  already attached:"])?;
        assert_eq!(programs(&router)?, earlier, "{hook}");
        assert_eq!(router.counted("lan0:ingress")?.packets()[&184], 3, "{hook}");
        router.ok("detach lan0")?;
        assert_nothing(&router, hook)?;
    }
    Ok(())
}

/// A hook is written as everywhere else.
#[test]
fn a_hook_may_be_named_in_one_word() -> anyhow::Result<()> {
    let router = Router::start()?;
    let attached = router.ok("attach lan0:egress")?.says(&["lan0:egress  attached:"])?;
    assert!(!attached.stdout.contains("ingress"), "{attached:?}");
    router.ask("attach wan0:egress --hook xdp")?.expect(2)?.complains(&["XDP sees packets at ingress alone"])?;
    router.ask("attach lan0:sideways")?.expect(2)?.complains(&["`sideways` is not a direction"])?;
    let both = router.ask("attach lan0:ingress --egress")?.expect(2)?;
    both.complains(&["lan0:ingress names one direction, and --egress the other one", " attach lan0"])?;
    router.ok("attach lan0:ingress --ingress")?.says(&["lan0:ingress  attached:"])?;
    router.ok("detach --all")?;
    assert_nothing(&router, "detach --all")
}

/// What runs, and since when.
fn programs(router: &Router) -> anyhow::Result<Vec<[Value; 4]>> {
    let status = router.ok("status --json")?.json()?;
    let hooks = status["hooks"].as_array().into_iter().flatten();
    Ok(hooks.map(|hook| ["hook", "program_id", "link_id", "since"].map(|field| hook[field].clone())).collect())
}

#[test]
fn another_mechanism_is_refused_while_one_is_attached() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress --hook tcx")?;
    let refused = router.ask("attach lan0 --ingress --hook xdp --json")?.expect(1)?;
    let refused = refused.complains(&["lan0:ingress is attached by tcx, not by xdp-native", " detach lan0:ingress"])?;
    assert_eq!(refused.json()?["error"]["code"], "attached");
    Ok(())
}

/// It goes with the last of its hooks, which is detached in between.
#[test]
fn the_commands_that_move_a_hook_keep_the_policy() -> anyhow::Result<()> {
    let moves = |router: &Router, hook: &str| {
        let refused = router.ask(&format!("attach lan0 --ingress --hook {hook} --json"))?.expect(1)?.json()?;
        typed::last_command(refused["error"]["hint"].as_str().context("a hint")?)?;
        let status = router.ok("status --json")?.json()?;
        ensure!(status["hooks"][0]["hook"] == hook && status["hooks"][0]["state"] == "active", "{status:#}");
        ensure!(status["policy"]["name"] == "wash" && status["hooks"][0]["table"] == "t", "{status:#}");
        anyhow::Ok(())
    };
    let router = Router::start()?;
    let wash = router.policy("wash", WASH)?;
    router.ok(&format!("attach lan0 --ingress --hook tcx --inside pppoe --policy {wash}"))?;
    moves(&router, "clsact")?;
    assert_eq!(router.ok("status --json")?.json()?["hooks"][0]["inside"], serde_json::json!(["pppoe"]));
    // Where another one is left the policy stays in force, whatever became of its file.
    router.ok("attach wan0 --egress")?;
    fs::remove_file(&wash)?;
    moves(&router, "tcx")?;
    router.ok("detach wan0")?;
    // Its text is in its pin alone, and another one is saved.
    let etc = router.folder().join("etc");
    let saved = etc.join("policy.toml");
    fs::create_dir(&etc)?;
    fs::copy(router.policy("keep", KEEP)?, &saved)?;
    let before = fs::read(&saved)?;
    let refused = router.ask(&format!("--etc {} attach lan0 --ingress --hook clsact", etc.display()))?.expect(1)?;
    let hint = refused.stderr.lines().last().context("a hint")?;
    let save = hint.find("counters: ").context("commands")? + "counters: ".len();
    let moved = typed::shell(&hint[save..], None)?;
    ensure!(moved.code == 0 && fs::read(&saved)? == before, "{hint}: {moved:?}");
    let status = router.ok("status --json")?.json()?;
    ensure!(status["hooks"][0]["hook"] == "clsact" && status["policy"]["name"] == "wash", "{status:#}");
    Ok(())
}

/// Its program ran on all the time, by the policy of then.
#[test]
fn a_device_that_was_away_while_the_policy_changed_has_it_once_it_is_attached() -> anyhow::Result<()> {
    // Under the same number there, and under another one.
    for number in [None, Some(77)] {
        let router = Router::start()?;
        let (edge, lan) = (router.edge(), router.lab().lan());
        let policy = |name: &str, dscp: &str| {
            let text = format!("[interface.dyn0]\negress = \"{name}\"\n[remark.{name}]\nother = \"{dscp}\"\n");
            router.policy(name, &text)
        };
        let (first, second) = (policy("first", "DF")?, policy("second", "CS1")?);
        if let Some(number) = number {
            run_in(lan, &format!("ip link add taken0 index {number} type veth peer name other0"))?;
        }
        run_in(edge, "ip link add dyn0 index 77 type veth peer name peer0")?;
        router.ok(&format!("policy apply {first} --attach"))?.says(&["dyn0:egress", "attached"])?;
        run_in(edge, &format!("ip link set dyn0 netns {}", lan.name()))?;
        let away = router.ask("status")?.expect(3)?.says(&["MISSING", "its device is in another network namespace"])?;
        assert!(!away.stdout.contains("active"), "{number:?}: {away:?}");
        router.ok(&format!("policy apply {second}"))?.says(&["dyn0:egress", "no interface has this name"])?;
        run_in(lan, &format!("ip link set dyn0 netns {}", edge.name()))?;
        router.ok("attach dyn0 --egress")?.says(&["dyn0:egress  changed: ", "table second"])?;
        router.ok("attach dyn0 --egress")?.says(&["dyn0:egress  already attached: ", "table second"])?;
        router.ok("status")?.says(&["dyn0:egress", "active"])?;
        assert_eq!(tcx(edge, "dyn0", TcAttachType::Egress)?.len(), 1, "{number:?}");
        router.ok("detach --all")?;
        assert_nothing(&router, "detach --all")?;
    }
    Ok(())
}

/// Somebody wanted that for the other interfaces; whoever attaches there is told.
#[test]
fn a_hook_that_apply_has_left_behind_stays_so_and_is_told() -> anyhow::Result<()> {
    let router = Router::start()?;
    let (keep, wash) = (router.policy("keep", KEEP)?, router.policy("wash", WASH)?);
    router.ok(&format!("attach lan0 --ingress --policy {keep}"))?;
    router.ok(&format!("policy apply {wash} --only wan0"))?;
    let left = router.ask("status --json")?.expect(3)?.json()?;
    let told = router.ok("attach lan0 --ingress")?.says(&["lan0:ingress  already attached"])?;
    told.complains(&["! lan0:ingress runs policy keep ", " is in force:"])?;
    let warning = router.ok("attach lan0 --ingress --json")?.json()?["warnings"][0].clone();
    let note = left["hooks"][0]["notes"][0].as_str().context("a note")?;
    let warning = warning.as_str().context("a warning")?;
    assert_eq!(note.rsplit(": ").next(), warning.rsplit(": ").next());
    typed::last_command(warning)?;
    let status = router.ok("status --json")?.json()?;
    ensure!(status["hooks"][0]["policy_hash"] == status["policy"]["hash"] && status["policy"]["name"] == "wash");
    Ok(())
}

/// Its table is out of the path still, though it is attached.
#[test]
fn a_bypass_that_a_hook_is_put_back_with_is_said() -> anyhow::Result<()> {
    let router = Router::start()?;
    let wash = router.policy("wash", WASH)?;
    let attach = "attach lan0 --ingress --hook clsact";
    let attached = router.ok(&format!("{attach} --policy {wash}"))?;
    assert!(!attached.stdout.contains("BYPASSED"), "{attached:?}");
    router.ok("policy bypass")?;
    let removed = || run_in(router.edge(), "tc qdisc del dev lan0 clsact");
    removed()?;
    router.ok(attach)?.says(&["its counters go on", "BYPASSED: qosbpf", "policy resume", "lan0:ingress"])?;
    removed()?;
    let document = router.ok(&format!("{attach} --json"))?.json()?;
    assert_eq!(document["hooks"][0]["bypassed"], true, "{document:#}");
    Ok(())
}

#[test]
fn attach_does_not_change_the_policy_in_force() -> anyhow::Result<()> {
    let router = Router::start()?;
    let (keep, wash) = (router.policy("keep", KEEP)?, router.policy("wash", WASH)?);
    router.ok(&format!("attach lan0 --policy {keep}"))?.says(&["table t"])?;
    router.ok(&format!("attach lan0 --policy {keep}"))?.says(&["already attached"])?;
    let earlier = leftovers(&router)?;
    let refused = router.ask(&format!("attach wan0 --policy {wash}"))?.expect(1)?;
    refused.complains(&["attach does not change a policy, and policy keep", " policy apply"])?;
    assert_eq!(leftovers(&router)?, earlier);
    router.ok("status")?.says(&["keep"])?;
    Ok(())
}

#[test]
fn a_policy_for_hooks_that_count_already_is_apply_s_work() -> anyhow::Result<()> {
    let router = Router::start()?;
    let wash = router.policy("wash", WASH)?;
    router.ok("attach lan0")?;
    let refused = router.ask(&format!("attach lan0 --policy {wash}"))?.expect(1)?;
    refused.complains(&["lan0:ingress is attached already, without it", "policy apply"])?;
    router.ok(&format!("policy apply {wash}"))?.says(&["lan0:ingress", "changed"])?;
    Ok(())
}

#[test]
fn what_fails_to_attach_leaves_nothing() -> anyhow::Result<()> {
    let router = Router::start()?;
    let wash = router.policy("wash", WASH)?;
    for line in ["attach nowhere0", &format!("attach nowhere0 --policy {wash}"), "attach lan0 --egress --hook xdp"] {
        let refused = router.ask(line)?;
        assert!(refused.code == 1 || refused.code == 2, "{refused:?}");
        assert_nothing(&router, line)?;
    }
    Ok(())
}

#[test]
fn two_attaches_at_once_are_one() -> anyhow::Result<()> {
    let router = Router::start()?;
    for round in 0..5 {
        let mut answers = std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| router.ok("attach lan0")));
            both.map(|one| one.join().unwrap())
        })
        .into_iter()
        .collect::<anyhow::Result<Vec<Answer>>>()?;
        answers.sort_by_key(|answer| answer.stdout.contains("already"));
        assert!(!answers[0].stdout.contains("already"), "round {round}: {answers:?}");
        assert_eq!(answers[1].stdout.matches("already attached").count(), 2, "round {round}: {answers:?}");
        router.ok("detach --all")?;
        assert_nothing(&router, "detach --all")?;
    }
    Ok(())
}

/// The folders above those of a network namespace are shared, the lock is not.
#[test]
fn two_namespaces_do_not_disturb_each_other() -> anyhow::Result<()> {
    let router = Router::start()?;
    std::thread::scope(|scope| {
        let both = [(router.edge(), "lan0"), (router.lab().wan(), "eth0")].map(|(namespace, interface)| {
            let router = &router;
            scope.spawn(move || -> anyhow::Result<()> {
                for _ in 0..10 {
                    for line in [&format!("attach {interface} --ingress"), "detach --all"] {
                        Answer::of(&mut router.command_in(namespace, line)?)?.expect(0)?;
                    }
                }
                Ok(())
            })
        });
        both.into_iter().try_for_each(|one| one.join().unwrap())
    })?;
    assert_nothing(&router, "both have detached")
}

/// Two builds of a version have other programs: the next attach puts its own in place, and the counters go on.
#[test]
fn the_program_of_another_build_is_taken_over() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress --hook tcx")?;
    router.ping(false, 184, 3)?;
    let bpffs = router.bpffs.clone();
    router.edge().run(|| {
        let pins = Store::open(&bpffs)?.hooks()?.pop().context("a hook")?;
        let path = pins.path(Pin::State);
        let state: HookState = document::read(&path)?.context("its state")?;
        document::write(&path, &HookState { object: state.object ^ 1, ..state })
    })?;
    router.ok("status")?.says(&["runs the program of another build of qosbpf", " attach lan0"])?;
    let earlier = programs(&router)?;
    router.ok("attach lan0 --ingress")?.says(&["lan0:ingress  upgraded:"])?;
    assert_ne!(programs(&router)?, earlier);
    assert_eq!(router.counted("lan0:ingress")?.packets()[&184], 3);
    router.ok("attach lan0 --ingress")?.says(&["already attached"])?;
    assert!(!router.ok("status")?.stdout.contains("another build"));
    Ok(())
}

/// As an earlier version has left it where a policy was taken back, or removed by hand, while the device was away.
#[test]
fn a_hook_that_runs_a_policy_where_none_is_in_force_is_told_and_loses_it() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok(&format!("attach lan0 --ingress --policy {}", router.policy("wash", WASH)?))?;
    let bpffs = router.bpffs.clone();
    let store = || Store::open(&bpffs);
    router.edge().run(|| Ok(fs::remove_file(store()?.policy())?))?;
    let note = router.ask("status --json")?.expect(3)?.json()?["hooks"][0]["notes"][0].clone();
    let told = router.ok("attach lan0 --ingress")?.says(&["lan0:ingress  already attached"])?;
    told.complains(&["! lan0:ingress runs policy wash ", ", and none is in force: qosbpf ", " detach lan0:ingress"])?;
    let note = note.as_str().context("a note")?;
    ensure!(note.contains(", and none is in force: ") && note.ends_with(" detach lan0:ingress"), "{note}");
    router.edge().run(|| {
        let path = store()?.hooks()?.pop().context("a hook")?.path(Pin::State);
        let state: HookState = document::read(&path)?.context("its state")?;
        document::write(&path, &HookState { bound_as: Some("if-9".to_owned()), ..state })
    })?;
    router.ok("attach lan0 --ingress")?.says(&["lan0:ingress  changed: ", "counting, no policy is bound to it"])?;
    router.ping(false, 184, 3)?;
    assert!(router.counted("lan0:ingress")?.remarked.is_empty());
    router.ok("status").map(drop)
}
