//! Where the bpf file system is missing.

use nix::{
    mount::umount,
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use qosbpf_tests::{
    binary::{self, Answer},
    router::{Router, words},
};

use qosbpf_tests::left::assert_nothing;

#[test]
fn one_that_is_not_mounted_is_mounted() -> anyhow::Result<()> {
    let router = Router::start()?;
    let path = router.folder().join("absent");
    let ask = |line: &str| {
        let mut command = binary::command(&["--netns", router.edge().name(), "--bpffs"])?;
        Answer::of(command.arg(&path).args(line.split(' ')))
    };
    ask("status")?.expect(0)?.says(&["nothing is attached"])?;
    assert!(!path.exists(), "looking mounts nothing");
    let attached = ask("attach lan0 --ingress");
    let mounted = statfs(&path).map(|stat| stat.filesystem_type() == BPF_FS_MAGIC);
    let seen = ask("status");
    let detached = ask("detach --all");
    let _not_mounted = umount(&path);
    attached?.expect(0)?;
    assert_eq!(mounted, Ok(true));
    seen?.expect(0)?.says(&["lan0:ingress"])?;
    detached?.expect(0)?;
    assert_nothing(&router, "the other bpf file system")
}

/// A mistyped `--bpffs`.
#[test]
fn nothing_is_mounted_over_files_nor_to_detach() -> anyhow::Result<()> {
    let router = Router::start()?;
    let ask = |path: &str, line: &str| {
        let mut command = binary::command(&["--netns", router.edge().name(), "--bpffs", path])?;
        Answer::of(command.args(line.split(' ')))
    };
    let used = router.folder().join("used");
    std::fs::create_dir_all(used.join("file"))?;
    let empty = tempfile::tempdir()?;
    let [used, empty] = [&used, empty.path()].map(|path| path.display().to_string());
    let refused = ask(&used, "attach lan0 --json")?.expect(1)?.complains(&[&used, "nor an empty folder"])?;
    assert_eq!(refused.json()?["error"]["code"], "bpffs-not-empty");
    ask(&empty, "detach --all")?.expect(0)?.says(&["nothing was attached"])?;
    for line in ["detach lan0", "stats clear", "policy bypass", "policy resume"] {
        ask(&empty, line)?.expect(1)?.complains(&["nothing is attached", &empty])?;
    }
    for path in [used, empty] {
        assert_ne!(statfs(path.as_str())?.filesystem_type(), BPF_FS_MAGIC, "{path}");
    }
    Ok(())
}

/// `ip netns exec` gives its child a /sys of its own: a pin made there would be gone with it, and those outside are not
/// to be seen.
#[test]
fn inside_ip_netns_exec_the_way_out_is_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    for line in ["attach lan0", "status", "stats", "detach --all", "policy show"] {
        let mut command = words(&format!("ip netns exec {}", router.edge().name()));
        let refused = Answer::of(command.arg(binary::path()?).args(line.split(' ')))?;
        refused.expect(1)?.complains(&["/sys/fs/bpf", "--netns NAME"])?;
    }
    router.ok("status")?.says(&["lan0:ingress", "lan0:egress"])?;
    Ok(())
}
