//! Without root: looking works as far as the kernel allows, and changing says which capability is missing.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use qosbpf_tests::{
    binary::{self, Answer},
    left,
    router::{Router, words},
};
use tempfile::TempDir;

/// The binary where everybody can reach it, and a bpf file system likewise.
struct Public {
    router: Router,
    folder: TempDir,
}

impl Public {
    fn new() -> anyhow::Result<Self> {
        let mut router = Router::start()?;
        let folder = tempfile::Builder::new().prefix("qosbpf-public-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        binary::copy(&binary::path()?, &folder.path().join("qosbpf"))?;
        router.bpffs = folder.path().join("bpffs");
        Ok(Self { router, folder })
    }

    /// In the router, as somebody else; `how` are options of setpriv(1).
    fn ask_as(&self, how: &str, line: &str) -> anyhow::Result<Answer> {
        self.router.edge().run(|| {
            let mut command = words(&format!("setpriv {how}"));
            command.arg(self.binary()).arg("--bpffs").arg(&self.router.bpffs).args(line.split(' '));
            command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
            Answer::of(&mut command)
        })
    }

    fn binary(&self) -> PathBuf {
        self.folder.path().join("qosbpf")
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        let _not_mounted = nix::mount::umount2(&self.router.bpffs, nix::mount::MntFlags::MNT_DETACH);
    }
}

const NOBODY: &str = "--reuid=65534 --regid=65534 --clear-groups";

#[test]
fn anybody_may_look() -> anyhow::Result<()> {
    let public = Public::new()?;
    public.router.ok("attach lan0")?;
    public.router.ok("attach wan0 --hook clsact")?;
    let policy = public
        .router
        .policy("p", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n")?;
    public.router.ok(&format!("policy apply {policy} --prune"))?;
    public.router.ping(false, 184, 5)?;
    let stats = public.ask_as(NOBODY, "stats --json")?.expect(0)?.json()?;
    let mut theirs = stats["hooks"].clone();
    let mut ours = public.router.ok("stats --json")?.json()?["hooks"].clone();
    for hooks in [&mut theirs, &mut ours] {
        assert_eq!(hooks.as_array().map(Vec::len), Some(4));
    }
    assert_eq!(theirs, ours);
    public.ask_as(NOBODY, "stats lan0:ingress --rate 0")?.expect(0)?.says(&["EF", "AF41"])?;
    public.ask_as(NOBODY, "policy show")?.expect(0)?;
    let status = public.ask_as(NOBODY, "status")?.expect(0)?;
    status.says(&["lan0:ingress", "wan0:egress", "not verified: that needs root"])?;
    Ok(())
}

#[test]
fn a_change_names_what_is_missing() -> anyhow::Result<()> {
    let public = Public::new()?;
    public.router.ok("attach wan0")?;
    let policy = public.folder.path().join("p.toml");
    fs::write(&policy, "version = 1\nname = \"p\"\n[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n")?;
    let apply = format!("policy apply {}", policy.display());
    for line in ["attach lan0", "detach wan0", "detach --all", "policy bypass", "stats clear", &apply] {
        let refused = public.ask_as(NOBODY, line)?.expect(1)?;
        refused.complains(&["this process lacks CAP_NET_ADMIN", "CAP_BPF", "CAP_PERFMON", "run it as root"])?;
    }
    let only_net_admin = "--bounding-set=-all,+net_admin --inh-caps=-all";
    let refused = public.ask_as(only_net_admin, "attach lan0 --json")?.expect(1)?;
    assert!(!refused.stderr.contains("CAP_NET_ADMIN ("), "{refused:?}");
    assert_eq!(refused.json()?["error"]["code"], "privilege");
    refused.complains(&["CAP_BPF (to load programs", "CAP_PERFMON (for the verifier"])?;
    let without_perfmon = "--bounding-set=-all,+net_admin,+bpf --inh-caps=-all";
    let refused = public.ask_as(without_perfmon, "attach lan0")?.expect(1)?;
    refused.complains(&["this process lacks CAP_PERFMON (for the verifier"])?;
    public.router.ok("status")?.says(&["wan0:egress"])?;
    Ok(())
}

/// Who may look at the pins could lock their folders, and keep root out: from changes, and from reading events.
#[test]
fn nobody_else_can_hold_root_up() -> anyhow::Result<()> {
    let public = Public::new()?;
    let rule =
        "[[rule]]\nname = \"ef\"\non = \"lan0:ingress\"\nmatch = { dscp = \"EF\" }\nset = \"DF\"\nlog = \"9/h\"\n";
    public.router.ok("attach lan0")?;
    public.router.ok(&format!("policy apply {}", public.router.policy("log", rule)?))?;
    let read = |count: u32| {
        public.router.ping(false, 184, count)?;
        public.router.ask("events --once --json")
    };
    assert_eq!(read(3)?.expect(0)?.stdout.lines().count(), 3);
    let mut holders = Vec::new();
    for folder in folders(&public.router.bpffs)? {
        let mut flock = words(&format!("setpriv {NOBODY} flock -F -x -n"));
        let mut holder =
            flock.arg(&folder).args(["sh", "-c", "echo held; exec sleep 600"]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("stdout")).read_line(&mut line)?;
        assert_eq!(line, "held\n", "{}", folder.display());
        holders.push(holder);
    }
    let read = read(2);
    let detached = public.router.ask("detach lan0");
    for holder in &mut holders {
        holder.kill()?;
        holder.wait()?;
    }
    assert_eq!(read?.expect(0)?.stdout.lines().count(), 2);
    detached?.expect(0)?;
    assert!(holders.len() > 4, "{holders:?}");
    left::assert_nothing(&public.router, "detached")?;
    Ok(())
}

/// A folder and all below it that everybody may open.
fn folders(top: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = vec![top.to_owned()];
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() && meta.permissions().mode() & 0o004 != 0 {
            all.extend(folders(&entry.path())?);
        }
    }
    Ok(all)
}

/// Only root's pins are trusted: whoever made others would lock root out.
#[test]
fn capabilities_without_root_make_nothing() -> anyhow::Result<()> {
    let public = Public::new()?;
    fs::create_dir(&public.router.bpffs)?;
    nix::mount::mount(Some("bpf"), &public.router.bpffs, Some("bpf"), nix::mount::MsFlags::empty(), Some("mode=1777"))?;
    let three = "--inh-caps=+net_admin,+bpf,+perfmon --ambient-caps=+net_admin,+bpf,+perfmon";
    let refused = public.ask_as(&format!("{NOBODY} {three}"), "attach lan0 --json")?.expect(1)?;
    assert_eq!(refused.json()?["error"]["code"], "privilege");
    refused.complains(&["the pins belong to root", "run it as root"])?;
    public.router.ok("attach lan0")?;
    public.router.ok("detach --all")?;
    Ok(())
}

/// What the unit file of a service would give.
#[test]
fn three_capabilities_are_enough() -> anyhow::Result<()> {
    let public = Public::new()?;
    public.router.ok("attach wan0")?;
    let three = "--bounding-set=-all,+net_admin,+bpf,+perfmon --inh-caps=-all";
    public.ask_as(three, "attach lan0")?.expect(0)?;
    public.router.ping(false, 184, 2)?;
    public.ask_as(three, "status")?.expect(0)?;
    assert_eq!(public.router.counted("lan0:ingress")?.packets()[&184], 2);
    public.ask_as(three, "detach --all")?.expect(0)?;
    Ok(())
}
