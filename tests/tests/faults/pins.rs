//! Pins and programs that are not what this version would have made, and people who make them on purpose.

use std::{
    fs,
    os::{
        fd::AsFd as _,
        unix::fs::{PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use aya::maps::{Array, MapData, PerCpuArray};
use qos_common::abi::{Counters, LAYOUT};
use qosbpf_tests::{
    bpf::{Kind, load_constant, pin},
    left::assert_nothing,
    router::{Router, words},
    typed::last_command,
};

use crate::{
    Fault,
    stage::{Row, Stage, complaint, other_policy, quote},
};

pub const FAULTS: &[Fault] = &[
    ("a foreign XDP program in the slot", foreign_program),
    ("pins of an older layout", || other_layout(LAYOUT - 1)),
    ("pins of a newer layout", || other_layout(LAYOUT + 1)),
    ("a counter map of another type", || other_map(|path| Ok(Array::<MapData, u64>::create(1, 0)?.pin(path)?))),
    ("a counter map of another size", || {
        other_map(|path| Ok(PerCpuArray::<MapData, [u64; Counters::WORDS]>::create(9, 0)?.pin(path)?))
    }),
    ("a pin of another owner", other_owner),
    ("a symbolic link in the place of a pin", symbolic_link),
    ("a local user makes the folder first", hostile_folder),
    ("a local user makes a symbolic link first", hostile_link),
    ("a text that is cut short in the place of the state", torn_state),
    ("a map of another type in the place of the policy in force", || {
        other_text("policy", |path| Ok(PerCpuArray::<MapData, u64>::create(1, 0)?.pin(path)?))
    }),
    ("a policy in force as a later version may write it", || other_text("policy", later_version)),
    ("a change to be confirmed as a later version may write it", || other_text("pending", later_version)),
    ("two loaders at once", two_loaders),
];

fn foreign_program() -> anyhow::Result<Row> {
    let router = Router::start()?;
    let path = router.bpffs.join("foreign");
    pin(load_constant(Kind::Xdp, c"foreign", 2)?.as_fd(), &path)?;
    router.ok("attach wan0")?;
    let policy = router.policy("edge", crate::stage::POLICY)?;
    router.ok(&format!("policy apply {policy}"))?;
    let stage = Stage::of(router)?;
    stage.run(&format!("ip link set dev lan0 xdpdrv pinned {}", path.display()))?;
    let refused = stage.refused("attach lan0 --hook xdp", 1, &["the XDP slot is taken by program", "\"foreign\""])?;
    stage.router.ok("attach lan0")?.says(&["tcx; not xdp-native: the XDP slot was taken"])?;
    let earlier = stage.router.counted("lan0:ingress")?;
    stage.flow.pass(100)?;
    ensure!(stage.router.counted("lan0:ingress")?.since(&earlier).packets().values().sum::<u64>() >= 100);
    let said = quote(&stage.router, &refused)?;
    let (router, outcome) = stage.end()?;
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    ensure!(router.counted("wan0:egress")?.packets()[&crate::stage::EF] >= u64::from(outcome.sent) - 60);
    let link = qosbpf_tests::router::run_in(router.edge(), "ip link show lan0")?;
    ensure!(link.stdout.contains("xdp"), "the foreign program is gone: {}", link.stdout);
    Ok(Row { traffic: format!("0 of {} lost", outcome.sent), counters: "by TCX, beside it".to_owned(), said })
}

/// Whoever changes the layout: those hooks work on, and are not read as what they are not.
fn other_layout(layout: u32) -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let namespace = stage.router.namespace_folder()?;
    let ours = namespace.parent().context("a layout")?;
    let theirs = ours.with_file_name(format!("v{layout}"));
    fs::rename(ours, &theirs)?;
    let words = [&*theirs.display().to_string(), &*format!("this one has layout {LAYOUT}")];
    let mut said = String::new();
    for line in ["attach lan0", "status", "stats", "detach --all", "policy bypass"] {
        said = quote(&stage.router, &stage.refused(line, 1, &words)?)?;
    }
    stage.flow.pass(50)?;
    fs::rename(&theirs, ours)?;
    stage.router.ok("status")?;
    stage.unharmed(said)
}

fn other_map(make: fn(&PathBuf) -> anyhow::Result<()>) -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let path = stage.router.hook_folder("lan0", "egress")?.join("counters");
    fs::rename(&path, path.with_file_name("away"))?;
    make(&path)?;
    let name = path.display().to_string();
    let refused = stage.router.ask("stats lan0:egress --json")?.expect(1)?.json()?;
    let error = refused["hooks"][0]["error"].as_str().unwrap_or_default().to_owned();
    ensure!(error.contains(&name) && error.contains("is not a counter map of layout"), "{error}");
    ensure!(!error.contains("Layout {"), "{error}");
    stage.router.ask("status")?.expect(3)?.says(&["ERROR", "to count from zero"])?;
    stage.flow.pass(50)?;
    last_command(&error)?;
    stage.router.ok("stats lan0:egress")?;
    stage.router.ok("status")?;
    let said = complaint(&stage.router, &error)?;
    stage.unharmed(said)
}

/// Spoils the state of a hook beside those that the flow passes; all others are none the worse for it.
fn spoiled(stage: Stage, fault: &str, mend: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Row> {
    let policy = stage.router.policy("edge", crate::stage::POLICY)?;
    let refused = stage.refused("stats lan0:egress", 1, &[fault])?;
    for line in ["attach lan0 --egress", "policy bypass lan0:egress"] {
        stage.refused(line, 1, &[fault])?;
    }
    stage.router.ask("status")?.expect(3)?.says(&["ERROR", " detach lan0:egress"])?;
    stage.router.ok(&format!("policy apply {policy}"))?;
    stage.flow.pass(50)?;
    mend()?;
    stage.router.ok("detach lan0:egress")?;
    let said = quote(&stage.router, &refused)?;
    stage.unharmed(said)
}

fn other_owner() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let path = stage.router.hook_folder("lan0", "egress")?.join("state");
    chown(&path, Some(65_534), None)?;
    spoiled(stage, "does not belong to root: refused", || Ok(()))
}

fn symbolic_link() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let path = stage.router.hook_folder("lan0", "egress")?.join("state");
    let away = stage.router.bpffs.join("elsewhere");
    fs::rename(&path, &away)?;
    symlink(&away, &path)?;
    spoiled(stage, "is not a pin: refused", || Ok(fs::remove_file(away)?))
}

/// A text as pins have it.
fn pin_text(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    const PIECE: usize = 4096;
    let mut map = Array::<MapData, [u8; PIECE]>::create(1, 0)?;
    let mut piece = [0; PIECE];
    piece[..text.len()].copy_from_slice(text);
    map.set(0, piece, 0)?;
    Ok(map.pin(path)?)
}

fn later_version(path: &Path) -> anyhow::Result<()> {
    pin_text(path, br#"{"policies":[{"text":"version = 2"}]}"#)
}

/// What runs goes on, and can be looked at, taken out of the path and detached; what depends on the text is refused, with the
/// cure, which works.
fn other_text(pin: &str, make: fn(&Path) -> anyhow::Result<()>) -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let policy = stage.router.policy("edge", crate::stage::POLICY)?;
    let path = stage.router.namespace_folder()?.join(pin);
    let _absent = fs::remove_file(&path);
    make(&path)?;
    let cure = format!("rm {}", path.display());
    let refused = stage.refused(&format!("policy apply {policy}"), 1, &[&cure])?;
    let status = stage.router.ask("status")?;
    ensure!(status.stdout.split_whitespace().collect::<Vec<_>>().join(" ").contains(&cure), "{status:?}");
    ensure!(stage.router.counted("wan0:egress")?.packets()[&crate::stage::EF] > 0);
    stage.router.ok("stats")?;
    stage.router.ok("policy bypass lan0:ingress")?;
    stage.router.ok("policy resume lan0:ingress")?;
    stage.router.ok("detach lan0:egress")?;
    stage.flow.pass(50)?;
    fs::remove_file(&path)?;
    stage.router.ok(&format!("policy apply {policy}"))?;
    stage.router.ok("status")?;
    // Another one that goes with the last of the hooks.
    let spare = Router::start()?;
    spare.ok("attach lan0")?;
    make(&spare.namespace_folder()?.join(pin))?;
    spare.ok("detach --all")?;
    assert_nothing(&spare, "detach --all")?;
    let said = quote(&stage.router, &refused)?;
    stage.unharmed(said)
}

fn torn_state() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let path = stage.router.hook_folder("lan0", "egress")?.join("state");
    fs::remove_file(&path)?;
    pin_text(&path, b"{\"program_id\":1,\"v")?;
    spoiled(stage, "pin ", || Ok(()))
}

/// Where a bpf file system is writable by all, as systemd mounts it.
fn public(router: &Router) -> anyhow::Result<PathBuf> {
    fs::set_permissions(&router.bpffs, fs::Permissions::from_mode(0o1777))?;
    let mut folder = Some(router.bpffs.as_path());
    // Every folder above it has to be open to the user.
    while let Some(path) = folder.filter(|path| path.starts_with(router.folder())) {
        fs::set_permissions(path, fs::Permissions::from_mode(if path == router.bpffs { 0o1777 } else { 0o755 }))?;
        folder = path.parent();
    }
    Ok(router.bpffs.join("qosbpf"))
}

fn as_nobody(line: &str) -> anyhow::Result<()> {
    let done = words(&format!("setpriv --reuid=65534 --regid=65534 --clear-groups {line}")).output()?;
    ensure!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Nothing is attached through what a stranger has made, and nothing of theirs is changed.
fn hostile(make: impl FnOnce(&Router) -> anyhow::Result<()>, fault: &str) -> anyhow::Result<Row> {
    let stage = Stage::of(Router::start()?)?;
    let path = public(&stage.router)?;
    make(&stage.router)?;
    let mut said = String::new();
    for line in ["status", "stats", "detach --all", "attach lan0"] {
        said = quote(&stage.router, &stage.refused(line, 1, &[&path.display().to_string(), fault, "rm -r"])?)?;
    }
    // The cure that was named.
    let _link_or_folder = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    stage.router.ok("attach lan0")?;
    stage.router.ok("detach --all")?;
    let (router, outcome) = stage.end()?;
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    assert_nothing(&router, "detach --all")?;
    Ok(Row {
        traffic: format!("0 of {} lost", outcome.sent),
        counters: "none yet: nothing was attached".to_owned(),
        said,
    })
}

fn hostile_folder() -> anyhow::Result<Row> {
    hostile(
        |router| as_nobody(&format!("mkdir -m 777 {}", router.bpffs.join("qosbpf").display())),
        "belong to root: refused",
    )
}

fn hostile_link() -> anyhow::Result<Row> {
    let target = tempfile::tempdir()?;
    fs::set_permissions(target.path(), fs::Permissions::from_mode(0o777))?;
    let row = hostile(
        |router| as_nobody(&format!("ln -s {} {}", target.path().display(), router.bpffs.join("qosbpf").display())),
        "is a symbolic link: refused",
    )?;
    ensure!(fs::read_dir(target.path())?.next().is_none(), "something was made behind the link");
    Ok(row)
}

fn two_loaders() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let router = &stage.router;
    let other = router.policy("other", &other_policy())?;
    let edge = router.policy("edge", crate::stage::POLICY)?;
    let answers = std::thread::scope(|scope| {
        let both = [&other, &edge].map(|policy| {
            scope.spawn(move || (0..8).map(|_| router.ask(&format!("policy apply {policy}"))).collect::<Vec<_>>())
        });
        both.into_iter().flat_map(|one| one.join().unwrap_or_default()).collect::<anyhow::Result<Vec<_>>>()
    })?;
    ensure!(answers.len() == 16 && answers.iter().all(|answer| answer.code == 0), "{answers:?}");
    router.ok("status")?;
    stage.changed(
        "each waits for the other: 16 of 16 succeed; after ten seconds it would say who holds the lock".to_owned(),
    )
}
