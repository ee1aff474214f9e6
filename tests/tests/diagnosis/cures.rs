//! What somebody else has taken away, put back by the command that `doctor` prints.

use anyhow::Context as _;
use qosbpf_tests::{
    router::Router,
    typed::{find, has, shell, type_in},
};

#[test]
fn a_program_that_somebody_removed_is_attached_again_with_its_counters() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    router.ping(false, 184, 10)?;
    let status = router.ok("status --json")?.json()?;
    let link = status["hooks"][0]["link_id"].as_u64().context("a link")?;
    assert_eq!(shell(&format!("bpftool link detach id {link}"), None)?.code, 0);
    let answer = router.ask("doctor --sample 0 --json")?.expect(3)?;
    type_in(&find(&answer, "wan0", "program-removed")?, None)?;
    assert!(!has(&router.ask("doctor --sample 0 --json")?.expect(0)?, "program-removed")?);
    router.ping(false, 184, 10)?;
    let counted = router.counted("wan0:egress")?;
    assert_eq!(counted.packets().get(&184), Some(&20), "what it had counted is kept");
    router.ask("stats wan0:ingress")?.expect(1)?;
    Ok(())
}

#[test]
fn a_bpf_file_system_that_can_only_be_read_is_made_writable() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --egress")?;
    assert_eq!(shell(&format!("mount -o remount,ro {}", router.bpffs.display()), None)?.code, 0);
    let answer = router.ask("doctor --sample 0 --json");
    let found = answer.and_then(|answer| find(&answer.expect(3)?, "host", "bpffs-read-only"));
    let refused = router.ask("attach wan0 --egress")?;
    let typed = found.and_then(|found| type_in(&found, None));
    if typed.is_err() {
        shell(&format!("mount -o remount,rw {}", router.bpffs.display()), None)?;
    }
    typed?;
    refused.expect(1)?;
    assert!(!has(&router.ask("doctor --sample 0 --json")?.expect(0)?, "bpffs-read-only")?);
    router.ok("attach wan0 --egress").map(drop)
}
