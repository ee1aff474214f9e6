//! Where the bpf file system is missing.

use nix::{
    mount::umount,
    sys::statfs::{BPF_FS_MAGIC, statfs},
};
use qosbpf_tests::{
    binary::{self, Answer},
    router::{Router, words},
};

use qosbpf_tests::{left::assert_nothing, typed};

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
    assert_eq!(refused.json()?["error"]["hint"], "a mount would hide what is in it; --bpffs names another place");
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

/// The usual place is in sysfs, which takes no folders until a bpf file system is there.
#[test]
fn a_folder_below_the_usual_place_has_that_mounted_first() -> anyhow::Result<()> {
    let router = Router::start()?;
    // What is above a process tells whether its mounts are its own: here nothing is above it.
    let alone = |script: &str| {
        let bare = "while umount -R /sys/fs/bpf 2>/dev/null; do :; done";
        let mut command = words("unshare --mount --pid --fork --mount-proc sh -c");
        Answer::of(command.arg(format!("{bare}; {script}")))
    };
    let ours = format!("{} --netns {} --bpffs /sys/fs/bpf/op", binary::path()?.display(), router.edge().name());
    let mounted = "grep -E '^bpf /sys/fs/bpf(/op)? bpf ' /proc/mounts | wc -l";
    let attached =
        alone(&format!("{ours} attach lan0 --ingress && {ours} status && {ours} detach --all && {mounted}"))?;
    let attached = attached.expect(0)?.says(&["lan0:ingress  attached", "lan0:ingress  detached"])?;
    assert!(attached.stdout.ends_with("\n2\n"), "{attached:?}");
    let doctor = format!("{ours} doctor --sample 0 --json");
    let found = typed::find(&alone(&doctor)?.expect(3)?, "host", "bpffs-absent")?;
    let cure = found["cure"].as_str().unwrap_or_default();
    assert!(!typed::has(&alone(&format!("{cure} && {doctor}"))?.expect(0)?, "bpffs-absent")?, "{cure}");
    let far = alone(&format!("{ours}/far attach lan0"))?.expect(1)?;
    far.complains(&["create /sys/fs/bpf/op/far", "No such file", "mkdir -p /sys/fs/bpf/op/far"])?;
    assert_nothing(&router, "what was in other mount namespaces")
}
