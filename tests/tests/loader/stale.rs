//! Pins that are not what this version would have made: refused by name, never misread.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use aya::maps::{Array, MapData};
use qosbpf_tests::router::Router;

use qosbpf_tests::left::assert_nothing;

fn hook_folder(router: &Router) -> anyhow::Result<PathBuf> {
    let namespace = router.namespace_folder()?;
    let mut interfaces = fs::read_dir(namespace)?.filter_map(Result::ok);
    let interface = interfaces.find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).expect("one interface");
    Ok(interface.path().join("ingress"))
}

fn attached() -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    Ok(router)
}

/// Every command that looks names the pin and what is wrong with it.
fn refused_by_all(router: &Router, words: &[&str]) -> anyhow::Result<()> {
    for line in ["attach lan0 --ingress", "stats", "stats lan0 --json", "status", "detach lan0", "policy bypass"] {
        let refused = router.ask(line)?.expect(1)?.complains(words)?;
        assert!(!refused.stderr.contains("panicked"), "{refused:?}");
    }
    Ok(())
}

/// One bad pin of lan0:ingress: that hook is refused by name, every other one works, and detaching it removes it.
fn spoils_itself_alone(router: &Router, path: &Path, fault: &str) -> anyhow::Result<()> {
    let name = path.display().to_string();
    let policy = router.policy("p", "[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    for line in ["attach lan0 --ingress", "stats lan0", "stats clear lan0", "policy bypass lan0"] {
        router.ask(line)?.expect(1)?.complains(&[&name, fault])?;
    }
    router.ok("attach wan0")?;
    router.ok(&format!("policy apply {policy} --attach"))?.says(&["wan0:egress", "changed"])?;
    router.ok("policy bypass")?.says(&["wan0:egress"])?;
    router.ok("policy resume")?;
    router.ask("status")?.expect(3)?.says(&["ERROR", "wan0:egress", " detach lan0:ingress"])?;
    for screen in ["stats --rate 0", "stats lan0:ingress wan0 --rate 0", "stats lan0:ingress --rate 0"] {
        let shown = router.ask(screen)?.expect(1)?;
        assert!(!shown.stdout.contains("1970"), "nobody knows since when: {shown:?}");
    }
    let stats = router.ask("stats --json")?.expect(1)?.json()?;
    let hooks: Vec<_> = stats["hooks"].as_array().into_iter().flatten().collect();
    let broken = hooks.iter().find(|hook| hook["interface"] == "lan0").expect("the hook's place");
    assert!(broken["error"].as_str().is_some_and(|error| error.contains(&name)), "{broken}");
    for unknown in ["hook", "since", "program_id"] {
        assert!(broken[unknown].is_null(), "{unknown}: {broken}");
    }
    assert_eq!(hooks.iter().filter(|hook| hook["interface"] == "wan0" && hook["error"].is_null()).count(), 2);
    router.ok("detach wan0")?;
    router.ok("detach lan0")?.says(&["lan0:ingress"])?;
    assert!(!router.bpffs.join("qosbpf").exists(), "detach removes all of it");
    router.ok("attach lan0")?;
    Ok(())
}

/// Puts something else in the place of a pin.
type Spoil = fn(&Path) -> anyhow::Result<()>;

#[test]
fn a_counter_map_of_another_shape_is_refused_and_goes_with_detach() -> anyhow::Result<()> {
    let wrong: [(&str, Spoil); 3] = [
        ("of another value size", |path| Ok(Array::<MapData, u64>::create(1, 0)?.pin(path)?)),
        ("of another type", |path| Ok(Array::<MapData, [u8; 32_768]>::create(2, 0)?.pin(path)?)),
        ("of too many entries", |path| {
            let map = aya::maps::PerCpuArray::<MapData, [u64; qos_common::abi::Counters::WORDS]>::create(9, 0)?;
            Ok(map.pin(path)?)
        }),
    ];
    for (what, make) in wrong {
        let router = attached()?;
        let path = hook_folder(&router)?.join("counters");
        fs::remove_file(&path)?;
        make(&path)?;
        let name = path.display().to_string();
        let stats = router.ask("stats lan0:ingress --json")?.expect(1)?;
        let error = stats.json()?["hooks"][0]["error"].to_string();
        assert!(error.contains(&name) && error.contains("is not a counter map of layout 1"), "{what}: {error}");
        router.ask("status")?.expect(3)?.says(&["ERROR", "counters: "])?;
        let policy = router.policy("p", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
        router.ask(&format!("policy apply {policy}"))?.expect(1)?.complains(&[&name])?;
        router.ok("detach lan0")?;
        assert_nothing(&router, what)?;
        router.ok("attach lan0")?;
    }
    Ok(())
}

#[test]
fn a_symbolic_link_in_the_place_of_a_pin_is_refused() -> anyhow::Result<()> {
    let router = attached()?;
    let path = hook_folder(&router)?.join("state");
    let away = router.bpffs.join("elsewhere");
    fs::rename(&path, &away)?;
    symlink(&away, &path)?;
    spoils_itself_alone(&router, &path, "is not a pin: refused")
}

#[test]
fn a_symbolic_link_in_the_place_of_a_folder_is_refused() -> anyhow::Result<()> {
    let router = Router::start()?;
    let path = router.bpffs.join("qosbpf");
    fs::create_dir(router.bpffs.join("elsewhere"))?;
    symlink(router.bpffs.join("elsewhere"), &path)?;
    refused_by_all(&router, &[&path.display().to_string(), "is a symbolic link: refused"])
}

#[test]
fn a_folder_of_somebody_else_is_refused() -> anyhow::Result<()> {
    for part in ["", "v1", "v1/netns"] {
        let router = attached()?;
        let path = match part {
            "v1/netns" => router.namespace_folder()?,
            part => router.bpffs.join("qosbpf").join(part).components().collect(),
        };
        let name = path.display().to_string();
        chown(&path, Some(65_534), None)?;
        refused_by_all(&router, &[&name, "does not belong to root: refused"])?;
        chown(&path, Some(0), None)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o775))?;
        refused_by_all(&router, &[&name, "can be written by others than root: refused"])?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        router.ok("detach --all")?;
        assert_nothing(&router, "refused pins have changed nothing")?;
    }
    Ok(())
}

#[test]
fn a_pin_of_somebody_else_is_refused() -> anyhow::Result<()> {
    let router = attached()?;
    let path = hook_folder(&router)?.join("state");
    chown(&path, Some(65_534), None)?;
    spoils_itself_alone(&router, &path, "does not belong to root: refused")
}

#[test]
fn a_state_that_is_no_text_is_refused() -> anyhow::Result<()> {
    let router = attached()?;
    let path = hook_folder(&router)?.join("state");
    fs::remove_file(&path)?;
    Array::<MapData, u64>::create(1, 0)?.pin(&path)?;
    spoils_itself_alone(&router, &path, "pin ")
}

#[test]
fn pins_of_another_layout_are_refused() -> anyhow::Result<()> {
    let router = attached()?;
    let namespace = router.namespace_folder()?;
    router.ok("detach --all")?;
    let other = router.bpffs.join("qosbpf/v0");
    fs::create_dir_all(other.join(namespace.file_name().expect("a name")))?;
    refused_by_all(&router, &[&other.display().to_string(), "was made by another version of qosbpf", "layout 1"])?;
    fs::remove_dir_all(other)?;
    router.ok("attach lan0")?;
    Ok(())
}
