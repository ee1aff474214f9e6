//! Programs of ours that outlive their bpf file system here: it is unmounted, and another mount namespace keeps their links.

use std::process::Child;

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use qosbpf_tests::{
    binary::Answer,
    left::assert_nothing,
    mounts,
    router::{Router, run_in, words},
    typed::{find, has, type_in},
};

const POLICY: &str = "[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n";

/// A process whose mount namespace has what is not mounted here any more.
struct Elsewhere(Child);

impl Elsewhere {
    /// What is attached there runs on, and is not to be seen any more.
    fn only(router: &Router) -> anyhow::Result<Self> {
        let keeper = mounts::alone(&router.bpffs, || Ok(words("sleep 600").spawn()?))?;
        let elsewhere = Self(keeper);
        umount2(&router.bpffs, MntFlags::empty())?;
        Ok(elsewhere)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let (_ended, _reaped) = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn nothing_is_attached_beside_a_program_of_ours_without_pins_and_the_cure_ends_it() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    router.ok("attach wan0")?;
    router.ok("status")?;
    let _elsewhere = Elsewhere::only(&router)?;
    let policy = router.policy("p", POLICY)?;
    for (line, hook) in [
        ("attach wan0 --egress".to_owned(), "wan0:egress"),
        ("attach wan0 --egress --hook clsact".to_owned(), "wan0:egress"),
        ("attach lan0".to_owned(), "lan0:ingress"),
        ("attach lan0 --ingress --hook tcx".to_owned(), "lan0:ingress"),
        ("attach lan0 --ingress --hook xdp".to_owned(), "lan0:ingress"),
        (format!("policy apply {policy} --attach"), "wan0:egress"),
    ] {
        let said =
            [&format!("{hook}: program "), "is qosbpf's own and at work", &format!("detach --unpinned {hook} ends")];
        router.ask(&line)?.expect(1)?.complains(&said)?;
    }
    router.ok("status")?.says(&[
        "lan0:ingress: program ",
        "wan0:egress: program ",
        "detach --unpinned wan0:egress ends",
    ])?;
    let answer = router.ask("doctor --sample 0 --json")?.expect(3)?;
    for interface in ["lan0", "wan0"] {
        for _ in ["ingress", "egress"] {
            type_in(&find(&router.ask("doctor --sample 0 --json")?.expect(3)?, interface, "own-unpinned")?, None)?;
        }
    }
    assert!(has(&answer, "own-unpinned")? && !has(&router.ask("doctor --sample 0 --json")?, "own-unpinned")?);
    router.ask("detach --unpinned wan0")?.expect(1)?.complains(&["no program of qosbpf's without a pin is at wan0"])?;
    assert_nothing(&router, "detach --unpinned")?;
    router.ok("attach lan0")?;
    router.ok(&format!("policy apply {policy} --attach --prune"))?;
    router.ping(false, 184, 10)?;
    assert_eq!(router.counted("wan0:egress")?.packets(), [(184, 10)].into());
    router.ok("detach --all").map(drop)
}

/// A filter needs no pin; the command takes it too, and leaves what is pinned.
#[test]
fn a_filter_without_pins_is_ended_and_what_is_pinned_stays() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress --hook clsact")?;
    let _elsewhere = Elsewhere::only(&router)?;
    router.ok("attach wan0 --ingress")?;
    let answer = router.ask("doctor wan0 --sample 0 --json")?.expect(3)?;
    type_in(&find(&answer, "wan0", "own-unpinned")?, None)?;
    assert!(!has(&router.ask("doctor wan0 --sample 0 --json")?.expect(0)?, "own-unpinned")?);
    router.ask("detach --unpinned wan0")?.expect(1)?;
    router.ok("status")?.says(&["wan0:ingress"])?;
    router.ok("attach wan0 --egress").map(drop)
}

/// As when somebody mounts it again under a service: what is below is not to be ended, but to be seen.
#[test]
fn pins_below_another_mount_are_shown_by_the_cure_and_nothing_is_ended() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    mount(Some("bpf"), &router.bpffs, Some("bpf"), MsFlags::empty(), Some("mode=0755"))?;
    let refused = router.ask("detach --unpinned wan0:egress");
    let answer = router.ask("doctor --sample 0 --json");
    let found = answer.and_then(|answer| {
        assert!(find(&answer, "wan0", "own-unpinned")?["cure"].is_null(), "{}", answer.stdout);
        find(&answer.expect(3)?, "host", "bpffs-covered")
    });
    let typed = found.and_then(|found| type_in(&found, None));
    if typed.is_err() {
        umount2(&router.bpffs, MntFlags::MNT_DETACH)?;
    }
    typed?;
    refused?.expect(1)?.complains(&["hides what is pinned in it", "umount "])?;
    router.ask("doctor --sample 0 --json")?.expect(0)?;
    router.ok("status")?.says(&["wan0:egress"])?;
    Ok(())
}

/// Something else than a bpf file system is mounted over it: to mount one more would bury the pins deeper.
#[test]
fn what_hides_the_pins_is_taken_away_and_nothing_is_mounted_over_it() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    let policy = router.policy("p", POLICY)?;
    mount(Some("none"), &router.bpffs, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let lines = ["attach wan0 --ingress".to_owned(), format!("policy apply {policy}"), "run --once".to_owned()];
    let refused = lines.map(|line| router.ask(&line));
    let (status, answer) = (router.ask("status"), router.ask("doctor --sample 0 --json"));
    let found = answer.and_then(|answer| {
        let stray = find(&answer, "wan0", "own-unpinned")?;
        assert!(stray["advice"].as_str().is_some_and(|advice| advice.contains("umount ")), "{stray:#}");
        assert!(!has(&answer, "bpffs-absent")?, "{}", answer.stdout);
        find(&answer.expect(3)?, "host", "bpffs-covered")
    });
    let typed = found.and_then(|found| type_in(&found, None));
    if typed.is_err() {
        umount2(&router.bpffs, MntFlags::MNT_DETACH)?;
    }
    typed?;
    for answer in refused {
        answer?.expect(1)?.complains(&["over a bpf file system, and hides what is pinned in it", "umount "])?;
    }
    let status = status?;
    assert!(status.stdout.contains("umount") && !status.stdout.contains("--unpinned"), "{}", status.stdout);
    router.ask("doctor --sample 0 --json")?.expect(0)?;
    router.ok("status")?.says(&["wan0:egress"])?;
    Ok(())
}

/// It takes its programs with it, and their pins stay where they are.
#[test]
fn a_device_that_was_moved_here_is_told_where_its_pins_are() -> anyhow::Result<()> {
    let router = Router::start()?;
    let here = router.lab().lan();
    router.ok("attach wan0 --egress")?;
    run_in(router.edge(), &format!("ip link set wan0 netns {}", here.name()))?;
    let ask = |line: &str| Answer::of(&mut router.command_in(here, line)?);
    let found = find(&ask("doctor wan0 --sample 0 --json")?.expect(3)?, "wan0", "own-unpinned")?;
    let (advice, there) = (found["advice"].as_str().unwrap_or_default(), router.edge().name());
    assert!(found["cure"].is_null(), "{found:#}");
    let (_, line) = advice.split_once(&format!("qosbpf --netns {there} ")).with_context(|| advice.to_owned())?;
    for answer in [ask("status")?, ask("attach wan0 --egress")?.expect(1)?] {
        let said = answer.stdout.clone() + &answer.stderr;
        assert!(said.contains(line) && !said.contains("--unpinned"), "{said}");
    }
    router.ok(line)?;
    assert!(!has(&ask("doctor wan0 --sample 0 --json")?, "own-unpinned")?);
    assert_nothing(&router, "detach where the pins are")
}
