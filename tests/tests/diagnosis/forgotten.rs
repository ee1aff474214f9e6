//! Commands of somebody who has forgotten in which bpf file system the pins are: what works by them is not to be attached again.

use nix::mount::{MntFlags, umount2};
use qosbpf_tests::{router::Router, typed::find};

const POLICY: &str = "[interface.wan0]\negress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";

#[test]
fn where_pins_elsewhere_have_the_hook_each_command_says_so_and_none_attaches() -> anyhow::Result<()> {
    let mut router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    let policy = router.policy("p", POLICY)?;
    router.ok(&format!("policy apply {policy}"))?;
    let name = format!("name that: --bpffs {}", router.bpffs.display());
    router.bpffs = router.folder().join("forgotten");
    let found = find(&router.ask("why wan0:egress --sample 0 --json")?.expect(3)?, "wan0:egress", "own-unpinned")?;
    assert!(found["advice"] == name.as_str() && found["cure"].is_null(), "{found:#}");
    for line in ["stats wan0:egress", "expect wan0:egress EF>=1 -- true"] {
        let refused = router.ask(line)?.complains(&["at wan0:egress program ", "is qosbpf's own", &name])?;
        assert!(!refused.stderr.contains("qosbpf attach"), "{line}: {}", refused.stderr);
    }
    let applied = router.ok(&format!("policy apply {policy}"))?;
    umount2(&router.bpffs, MntFlags::MNT_DETACH)?;
    let said = applied.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("bound, not attached: program ") && said.contains(&name), "{said}");
    assert!(!said.contains("qosbpf attach"), "{said}");
    Ok(())
}
