//! The bpf file system goes, cannot be written to, or is full.

use anyhow::{Context as _, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use qosbpf_tests::{
    left::assert_nothing,
    mounts::refuse_changes,
    router::{Router, run_in},
};
use serde_json::Value;

use crate::{
    Fault,
    kills::nothing_waits,
    stage::{AF41, POLICY, Row, Stage, complaint, other_policy, passed, quote},
    trace::{Call, fail, nth},
};

pub const FAULTS: &[Fault] = &[
    ("bpffs unmounted", || unmounted("auto")),
    ("bpffs unmounted, clsact", || unmounted("clsact")),
    ("bpffs read-only", read_only),
    ("bpffs full: ENOSPC for each pin", || full(Call::is_pin, libc::ENOSPC, &[APPLY, ATTACH])),
    ("bpffs full: ENOSPC for one pin of `attach`, each in turn", one_pin_of_attach),
    ("bpffs full: ENOSPC for one pin of `policy apply`, each in turn", one_pin_of_apply),
    ("bpffs full: ENOSPC for each folder", || full(Call::is_folder, libc::ENOSPC, &[ATTACH])),
    ("no memory: ENOMEM for each map", || full(Call::is_map, libc::ENOMEM, &[APPLY, ATTACH])),
    ("no room: ENOSPC for each link", || full(Call::is_link, libc::ENOSPC, &["attach lo --egress --hook tcx"])),
];

/// The pins are what holds links; a filter of clsact is held by its qdisc.
fn unmounted(hook: &str) -> anyhow::Result<Row> {
    let stage = Stage::start(hook)?;
    umount2(&stage.router.bpffs, MntFlags::MNT_DETACH)?;
    stage.flow.pass(100)?;
    let status = stage.router.ask("status")?;
    let said = complaint(&stage.router, &format!("{}{}", status.stdout, status.stderr))?;
    let policy = stage.router.policy("edge", POLICY)?;
    let said = match hook {
        "clsact" => [said, freed(&stage)?].join(" / "),
        _ => said,
    };
    for device in ["lan0", "wan0"] {
        stage.router.ok(&format!("attach {device} --hook {hook}"))?;
    }
    stage.router.ok(&format!("policy apply {policy}"))?;
    let earlier = stage.router.counted("wan0:egress")?;
    stage.flow.pass(100)?;
    let now = stage.router.counted("wan0:egress")?.since(&earlier);
    ensure!(now.packets_after().keys().all(|mark| *mark == AF41), "{now:?}");
    let (router, outcome) = stage.end()?;
    let traffic = passed(&outcome)?;
    router.ok("detach --all")?;
    let _mounted = umount2(&router.bpffs, MntFlags::MNT_DETACH);
    remount(&router)?;
    // The first qdisc is not known to be ours any more: it was made by qosbpf before its pins were gone.
    for device in ["lan0", "wan0"].into_iter().filter(|_| hook == "clsact") {
        run_in(router.edge(), &format!("tc qdisc del dev {device} clsact"))?;
    }
    assert_nothing(&router, "detach --all")?;
    Ok(Row { traffic, counters: "gone with the pins; `attach` mounts it again, and begins at zero".to_owned(), said })
}

/// Filters stay that no pin tells of: they are named, and the cure removes them.
fn freed(stage: &Stage) -> anyhow::Result<String> {
    let mut said = String::new();
    for device in ["lan0", "wan0"] {
        // By a better mechanism, which would be free, packets would meet two programs.
        for (direction, hook) in [("ingress", "clsact"), ("egress", "auto")] {
            let line = format!("attach {device} --{direction} --hook {hook}");
            let removal = format!("tc filter del dev {device} {direction} pref 20819");
            let cure = format!("ip netns exec {} {removal} removes it", stage.edge().name());
            let refused = stage.refused(&line, 1, &["no pin is known", &cure])?;
            said = quote(&stage.router, &refused)?;
            stage.run(&removal)?;
        }
    }
    Ok(said)
}

/// For what looks at it afterwards.
fn remount(router: &Router) -> anyhow::Result<()> {
    Ok(mount(Some("bpf"), &router.bpffs, Some("bpf"), MsFlags::empty(), Some("mode=0755"))?)
}

fn read_only() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let other = stage.router.policy("other", &other_policy())?;
    refuse_changes(&stage.router.bpffs, true)?;
    let mut said = String::new();
    let apply = format!("policy apply {other}");
    for line in [apply.as_str(), "detach lan0", "policy bypass", "attach lan0 --hook xdp"] {
        let refused = stage.router.ask(line)?;
        ensure!(refused.code == 1 && refused.stderr.contains("mount -o remount,rw"), "{refused:?}");
        said = quote(&stage.router, &refused)?;
    }
    stage.router.ok("status")?.says(&["active", "not verified: the bpf file system is read-only"])?;
    stage.router.ok("stats")?;
    let found = stage.router.ask("doctor --sample 0 --fix-script")?;
    ensure!(found.stdout.contains("remount,rw") && !found.stdout.contains("detach"), "{found:?}");
    stage.flow.pass(50)?;
    refuse_changes(&stage.router.bpffs, false)?;
    stage.router.ok("status")?;
    stage.unharmed(said)
}

const APPLY: &str = "policy apply FILE";
const ATTACH: &str = "attach lo --ingress";

/// Runs a command of which some calls fail: how it ends, how many have failed, and what it says.
pub fn failing(
    router: &Router,
    line: &str,
    errno: i32,
    which: impl FnMut(&Call) -> bool,
) -> anyhow::Result<(i32, usize, String)> {
    let output = tempfile::NamedTempFile::new()?;
    let mut command = router.command(line)?;
    command.stderr(output.reopen()?).stdout(std::process::Stdio::null());
    let (code, failed) = fail(&mut command, errno, which)?;
    Ok((code, failed, std::fs::read_to_string(output.path())?))
}

/// Lets one pin after the other fail, and nothing else, until the command has no more of them and succeeds; how many it makes.
/// `check` is asked after each.
fn one_pin_after_the_other(
    router: &Router,
    line: &str,
    check: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut number = 0;
    loop {
        let (code, failed, stderr) = failing(router, line, libc::ENOSPC, nth(Call::is_pin, number))?;
        if failed == 0 {
            ensure!(code == 0 && number > 6, "{line} ended with {code} after {number} pins: {stderr}");
            return Ok(number);
        }
        ensure!(code == 1 && stderr.contains("No space left"), "{line}, pin {number}: ended with {code}: {stderr}");
        complaint(router, &stderr)?;
        check().with_context(|| format!("{line} without pin {number}: {stderr}"))?;
        number += 1;
    }
}

/// What could be attached only in part is not attached, and the next one succeeds.
fn one_pin_of_attach() -> anyhow::Result<Row> {
    let stage = Stage::of(Router::start()?)?;
    let router = &stage.router;
    let pins = one_pin_after_the_other(router, "attach wan0 --hook tcx", || assert_nothing(router, "attach"))?;
    router.ok("status")?;
    router.ok("detach --all")?;
    assert_nothing(router, "detach --all")?;
    let (_, outcome) = stage.end()?;
    Ok(Row {
        traffic: passed(&outcome)?,
        counters: "none: nothing is attached, as before".to_owned(),
        said: format!("of {pins} pins the one that failed; nothing leaks, and the next `attach` succeeds"),
    })
}

/// What was switched goes back, at both hooks, and no program waits for a switch.
fn one_pin_of_apply() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let router = &stage.router;
    // Another table at each of them.
    let text = other_policy().replace("[remark.in]\n", "[remark.in]\nCS1 = \"CS2\"\n");
    let other = router.policy("other", &text)?;
    let hash = |router: &Router| anyhow::Ok(router.ok("status --json")?.json()?["policy"]["hash"].clone());
    let before = hash(router)?;
    let pins = one_pin_after_the_other(router, &format!("policy apply {other}"), || {
        nothing_waits(router)?;
        let now = router.ok("status --json")?.json()?;
        let runs = |hook: &Value| hook["policy_hash"].is_null() || hook["policy_hash"] == before;
        ensure!(now["policy"]["hash"] == before && now["confirm"].is_null(), "{now:#}");
        ensure!(now["hooks"].as_array().is_some_and(|hooks| hooks.iter().all(runs)), "{now:#}");
        Ok(())
    })?;
    ensure!(hash(router)? != before);
    stage.changed(format!("of {pins} pins the one that failed; both hooks go back, and the next `apply` succeeds"))
}

/// A bpf file system has no limit that one could reach: the error is put into the system calls.
fn full(which: fn(&Call) -> bool, errno: i32, lines: &[&str]) -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let other = stage.router.policy("other", &other_policy())?;
    let reason = std::io::Error::from_raw_os_error(errno).to_string();
    let mut said = String::new();
    for line in lines {
        let (code, _, stderr) = failing(&stage.router, &line.replace("FILE", &other), errno, which)?;
        ensure!(code == 1 && stderr.contains(&reason), "{line} ended with {code}, without `{reason}`: {stderr}");
        ensure!(stderr.contains("no room for "), "{line}: {stderr}");
        said = complaint(&stage.router, &stderr)?;
        stage.router.ok("status")?;
    }
    stage.flow.pass(50)?;
    stage.unharmed(said)
}
