//! Who may ask the service, and who may change something by it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::PathBuf,
    process::Command,
    thread,
};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use qosbpf::{cmd::control, hook::Direction};
use qosbpf_tests::{
    binary::{self, Answer},
    router::words,
};
use tempfile::TempDir;

use qosbpf_tests::service::{Lab, MARK, eventually};

use crate::{crowded::become_user, pins::mount_bpffs};

pub const NOBODY: &str = "--reuid=65534 --regid=65534 --clear-groups";
const DAEMON: &str = "--reuid=1 --regid=1 --clear-groups";

/// A lab with the binary and the pins where everybody can reach them.
pub struct Public {
    pub lab: Lab,
    folder: TempDir,
}

impl Public {
    /// One that is served.
    pub fn serving(settings: &str) -> anyhow::Result<Self> {
        let mut public = Self::new(settings)?;
        public.lab.serve()?;
        Ok(public)
    }

    /// One with a bpf file system, a saved policy that marks, and these settings.
    pub fn new(settings: &str) -> anyhow::Result<Self> {
        let mut lab = Lab::start()?;
        let folder = tempfile::Builder::new().prefix("qosbpf-public-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        binary::copy(&binary::path()?, &folder.path().join("qosbpf"))?;
        lab.router.bpffs = folder.path().join("bpffs");
        fs::create_dir(&lab.router.bpffs)?;
        mount_bpffs(&lab.router.bpffs)?;
        lab.save("edge", MARK)?;
        fs::write(lab.etc("qosbpf.toml"), settings)?;
        Ok(Self { lab, folder })
    }

    /// What somebody is answered.
    pub fn ask_as(&self, how: &str, line: &str) -> anyhow::Result<Answer> {
        self.lab.router.edge().run(|| Answer::of(&mut self.command_as(how, line)))
    }

    /// A command of somebody's, to be run in the router.
    pub fn command_as(&self, how: &str, line: &str) -> Command {
        let mut command = words(&format!("setpriv {how}"));
        command.arg(self.folder.path().join("qosbpf")).arg("--bpffs").arg(&self.lab.router.bpffs);
        command.args(line.split(' ')).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        let _gone = self.lab.end_by(Signal::SIGKILL);
        let _not_mounted = nix::mount::umount2(&self.lab.router.bpffs, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// The states of the processes that this one has started, of zombies too.
fn children(parent: i32) -> anyhow::Result<Vec<String>> {
    let stats = fs::read_dir("/proc")?.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let of_it = stats.filter_map(|stat| {
        let mut words = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
        let state = words.next()?;
        (words.next()? == parent.to_string()).then_some(state)
    });
    Ok(of_it.collect())
}

#[test]
fn anybody_may_ask_and_only_root_may_change() -> anyhow::Result<()> {
    let public = Public::serving("")?;
    let stats = public.ask_as(NOBODY, "stats --json lan0:ingress")?.expect(0)?.json()?;
    assert!(stats["hooks"][0]["after"][0].get("rates").is_some(), "{stats:#}");
    assert!(public.ask_as(NOBODY, "status --json")?.json()?["run"]["pid"].is_u64());
    for line in ["policy bypass", "policy resume", "policy confirm", "run --reload"] {
        let refused = public.ask_as(NOBODY, line)?.expect(1)?;
        refused.complains(&["qosbpf run does not do it: only root may change anything"])?;
    }
    assert!(public.lab.five_become(34)?);
    public.lab.says(&["refused: only root may change anything"])
}

#[test]
fn members_of_the_group_may_bypass_and_confirm() -> anyhow::Result<()> {
    let public = Public::serving("group = \"nogroup\"\n")?;
    public
        .ask_as(NOBODY, "policy bypass lan0:ingress --for 10m")?
        .expect(0)?
        .says(&["out of the policy's path", "10m"])?;
    assert!(public.lab.five_become(46)?);
    public.lab.ok("status")?.says(&["BYPASS by nobody"])?;
    let service = public.lab.pid()?;
    assert_eq!(children(service)?, ["S"], "whoever keeps the deadline should the service be killed");
    public.ask_as(NOBODY, "policy resume --json")?.expect(0)?.json()?;
    assert!(public.lab.five_become(34)?);
    eventually(|| Ok(children(service)?.is_empty()))?;
    public.ask_as(NOBODY, "policy confirm")?.expect(3)?.complains(&["no policy waits to be confirmed"])?;
    public.ask_as(NOBODY, "policy bypass nowhere0")?.expect(1)?.complains(&["not attached at nowhere0"])?;
    public.ask_as(NOBODY, "run --reload")?.expect(0)?;
    let refused = public.ask_as(DAEMON, "policy bypass")?.expect(1)?;
    refused.complains(&["only root and the members of nogroup may change anything"])?;
    // What only root may, the service does for nobody.
    public.ask_as(NOBODY, "detach lan0")?.expect(1)?.complains(&["lacks"])?;
    Ok(())
}

/// Who asks without end fills no log.
#[test]
fn who_is_refused_again_and_again_is_in_the_log_once() -> anyhow::Result<()> {
    let public = Public::serving("group = \"nogroup\"\n")?;
    let refused = "only root and the members of nogroup may change anything";
    for _ in 0..10 {
        public.ask_as(DAEMON, "policy bypass")?.expect(1)?.complains(&[refused])?;
    }
    public.ask_as("--reuid=2 --regid=2 --clear-groups", "policy bypass")?.expect(1)?.complains(&[refused])?;
    let log = public.lab.log()?;
    let lines: Vec<_> = log.lines().filter(|line| line.contains(refused)).collect();
    let of = |uid: &str| lines.iter().filter(|line| line.contains(&format!("uid={uid}"))).count();
    ensure!(lines.len() == 2 && of("1") == 1 && of("2") == 1, "{log}");
    Ok(())
}

/// Whoever reads the log is not asked for the reason.
#[test]
fn a_command_of_a_member_that_fails_is_a_warning_with_the_reason() -> anyhow::Result<()> {
    let public = Public::serving("group = \"nogroup\"\n")?;
    public.ask_as(NOBODY, "policy bypass nowhere0")?.expect(1)?;
    public.ask_as(NOBODY, "policy confirm")?.expect(3)?;
    let typed = [public.lab.typed("policy bypass nowhere0"), public.lab.typed("policy confirm")];
    let failed = format!("{}: qosbpf is not attached at nowhere0", typed[0]);
    public.lab.says(&[&failed, &typed[1]])?;
    let log = public.lab.log()?;
    let level =
        |words: &str| log.lines().find(|line| line.contains(words)).and_then(|line| line.split_whitespace().next());
    ensure!((level(&failed), level(&typed[1])) == (Some("WARN"), Some("INFO")), "{log}");
    Ok(())
}

/// As a service manager gives a group to a process, or `newgrp`: no list of members has it.
#[test]
fn a_group_of_the_process_alone_counts() -> anyhow::Result<()> {
    let public = Public::serving("group = \"nogroup\"\n")?;
    let granted = "--reuid=1 --regid=1 --groups=2,65534";
    public.ask_as(granted, "policy bypass")?.expect(0)?;
    assert!(public.lab.five_become(46)?);
    public.ask_as(granted, "policy resume")?.expect(0)?;
    let others = public.ask_as("--reuid=1 --regid=1 --groups=2", "policy bypass")?.expect(1)?;
    others.complains(&["only root and the members of nogroup may change anything"])?;
    Ok(())
}

/// Where the settings name the network namespace that they are in already: it takes privileges to enter one.
#[test]
fn members_reload_from_within_the_namespace() -> anyhow::Result<()> {
    let mut public = Public::new("")?;
    let (etc, netns) = (public.folder.path().join("etc"), public.lab.router.edge().name().to_owned());
    let settings = format!("group = \"nogroup\"\nnetns = \"{netns}\"\n");
    fs::create_dir(&etc)?;
    fs::write(etc.join("qosbpf.toml"), &settings)?;
    fs::write(public.lab.etc("qosbpf.toml"), &settings)?;
    public.lab.serve()?;
    let reload = format!("--etc {} run --reload", etc.display());
    public.ask_as(NOBODY, &reload)?.expect(0)?;
    public.ask_as(NOBODY, &format!("--netns {netns} run --reload"))?.expect(0)?;
    let elsewhere = Answer::of(&mut public.command_as(NOBODY, &reload))?.expect(1)?;
    elsewhere.complains(&["cannot enter", "CAP_SYS_ADMIN is needed"])?;
    Ok(())
}

/// A question that no command asks.
fn ask_plainly(lab: &Lab, ask: control::Ask) -> anyhow::Result<control::Answer> {
    ask_by(&UnixStream::connect(socket(lab)?)?, lab, ask)
}

/// Where the service is asked.
pub fn socket(lab: &Lab) -> anyhow::Result<PathBuf> {
    Ok(lab.router.edge().run(control::folder)?.join("control"))
}

fn ask_by(stream: &UnixStream, lab: &Lab, ask: control::Ask) -> anyhow::Result<control::Answer> {
    let question = control::Question { bpffs: control::device(&lab.router.bpffs)?, ask };
    serde_json::to_writer(stream, &question)?;
    stream.shutdown(Shutdown::Write)?;
    Ok(serde_json::from_reader(stream)?)
}

/// What they may is a few commands; how the service keeps to what commands of root have done is not theirs to say.
#[test]
fn members_have_no_say_in_what_is_attached() -> anyhow::Result<()> {
    let public = Public::serving("group = \"nogroup\"\n")?;
    let lan0 = public.lab.hook("lan0:ingress")?.context("the hook")?["ifindex"].as_u64().context("a number")?;
    let place = (u32::try_from(lan0)?, Direction::Ingress);
    for ask in
        [control::Ask::Release(place.0, place.1), control::Ask::Attached(place.0, place.1), control::Ask::Deadlines]
    {
        let said = ask_by(&connect_as_nobody(socket(&public.lab)?)?, &public.lab, ask.clone())?;
        ensure!(
            matches!(&said, control::Answer::Refused(why) if why == "only root may ask for that"),
            "{ask:?}: {said:?}"
        );
    }
    let control::Answer::Status(status) = ask_plainly(&public.lab, control::Ask::Status)? else { bail!("no status") };
    ensure!(status.released.is_empty(), "{:?}", status.released);
    // It is one all the same.
    public.ask_as(NOBODY, "run --reload")?.expect(0).map(drop)
}

/// Connects as a member; whoever asks by it afterwards does so in their name.
fn connect_as_nobody(socket: PathBuf) -> anyhow::Result<UnixStream> {
    let nobody = 65_534;
    let connects = thread::spawn(move || {
        // SAFETY: a system call without pointers, which is about this thread.
        let result = unsafe { libc::syscall(libc::SYS_setresgid, nobody, nobody, nobody) };
        ensure!(result == 0, "{}", io::Error::last_os_error());
        become_user(nobody)?;
        Ok(UnixStream::connect(socket)?)
    });
    connects.join().expect("no panic")
}

/// Of what is no interface no event would ever say that it is gone.
#[test]
fn what_is_no_interface_is_not_remembered_as_detached() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let lan0 = lab.hook("lan0:ingress")?.context("the hook")?["ifindex"].as_u64().context("a number")?;
    for ifindex in (0..100).map(|number| 1_000_000 + number) {
        let answer = ask_plainly(&lab, control::Ask::Release(ifindex, Direction::Ingress))?;
        ensure!(
            matches!(&answer, control::Answer::Refused(why) if *why == format!("there is no interface {ifindex}")),
            "{answer:?}"
        );
    }
    let answer = ask_plainly(&lab, control::Ask::Release(u32::try_from(lan0)?, Direction::Ingress))?;
    ensure!(matches!(answer, control::Answer::Done), "{answer:?}");
    let control::Answer::Status(status) = ask_plainly(&lab, control::Ask::Status)? else { bail!("no status") };
    ensure!(status.released.len() == 1, "{:?}", status.released);
    Ok(())
}

/// Garbage, half questions, and people who connect and say nothing.
#[test]
fn nonsense_is_answered_and_silence_ends() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let socket = socket(&lab)?;
    assert_eq!(socket.metadata()?.permissions().mode() & 0o777, 0o666);
    let silent: Vec<_> = (0..10).map(|_| UnixStream::connect(&socket)).collect::<Result<_, _>>()?;
    for nonsense in [&b"{"[..], b"\xff\xff", b"{\"bpffs\":1,\"ask\":\"everything\"}", &[b' '; 100_000]] {
        let mut stream = UnixStream::connect(&socket)?;
        let _refused_early = stream.write_all(nonsense);
        let _closed = stream.shutdown(Shutdown::Write);
        let mut answer = String::new();
        let _reset = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.contains("refused"), "{answer}");
    }
    lab.ok("status")?.says(&["run: active"])?;
    drop(silent);
    Ok(())
}

/// Anybody can open what anybody may read, and flock(2) asks for no more.
#[test]
fn no_stranger_keeps_the_service_from_starting() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let lock = lab.router.edge().run(control::folder)?.join("lock");
    let refused = Answer::of(words(&format!("setpriv {NOBODY} flock --nonblock")).arg(&lock).arg("true"))?;
    assert!(refused.code != 0 && refused.stderr.contains("Permission denied"), "{refused:?}");
    // As an earlier version left it, with somebody who waits for it.
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644))?;
    let mut waits = words(&format!("setpriv {NOBODY} flock --no-fork")).arg(&lock).args(["sleep", "600"]).spawn()?;
    let opened = format!("/proc/{}/fd", waits.id());
    eventually(|| {
        let files = fs::read_dir(&opened).into_iter().flatten().flatten();
        Ok(files.filter_map(|file| fs::read_link(file.path()).ok()).any(|path| path == lock))
    })?;
    let second = lab.ask("run")?.expect(1)?;
    second.complains(&["qosbpf run serves this network namespace already: process"])?;
    lab.end_by(Signal::SIGKILL)?;
    let taken = || Ok(File::open(&lock)?.try_lock().is_err());
    eventually(taken)?;
    let served = lab.serve();
    let still = waits.try_wait()?.is_none();
    let (_killed, _reaped) = (waits.kill(), waits.wait());
    served?;
    assert!(still, "the stranger did not hold the lock all the time");
    assert_eq!(lock.metadata()?.permissions().mode() & 0o777, 0o600);
    lab.ask("run")?.expect(1)?.complains(&["qosbpf run serves this network namespace already: process"])?;
    Ok(())
}
