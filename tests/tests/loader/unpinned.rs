//! Programs of ours that outlive their bpf file system here: it is unmounted, and another mount namespace keeps their links.

use std::process::Child;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use qosbpf_tests::{
    left::assert_nothing,
    mounts,
    router::{Router, words},
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
