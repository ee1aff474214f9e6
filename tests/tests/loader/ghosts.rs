//! Pins of network namespaces that are gone, which no command can enter.

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, ensure};
use qosbpf::kernel::netns;
use qosbpf_tests::{
    binary::{Answer, command},
    router::{Router, words},
    service::eventually,
    typed::{find, has, type_in},
};

const POLICY: &str = "[interface.v0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n";

/// A network namespace with an interface `v0`, beside those of the lab.
struct Beside<'a> {
    router: &'a Router,
    name: String,
}

impl<'a> Beside<'a> {
    fn make(router: &'a Router, name: &str) -> anyhow::Result<Self> {
        let beside = Self { router, name: format!("qosbpf-{name}-{}", std::process::id()) };
        ip(&format!("netns add {}", beside.name))?;
        beside.make_interface()?;
        Ok(beside)
    }

    fn make_interface(&self) -> anyhow::Result<()> {
        ip(&format!("-n {} link add v0 type veth peer name v1", self.name))
    }

    fn command(&self, line: &str) -> anyhow::Result<Command> {
        let mut command = command(&["--netns", &self.name, "--bpffs"])?;
        command.arg(&self.router.bpffs).args(line.split(' '));
        Ok(command)
    }

    /// Attaches at clsact, of which there is no link, and puts a policy in force.
    fn enforce(&self, ask: impl Fn(&str) -> anyhow::Result<Answer>) -> anyhow::Result<()> {
        ask("attach v0 --egress --hook clsact")?.expect(0)?;
        let policy = self.router.policy("p", POLICY)?;
        ask(&format!("policy apply {policy}"))?.expect(0).map(drop)
    }

    fn file(&self) -> String {
        format!("/run/netns/{}", self.name)
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        let _gone_already = ip(&format!("netns del {}", self.name));
    }
}

fn ip(line: &str) -> anyhow::Result<()> {
    Answer::of(&mut words(&format!("ip {line}")))?.expect(0).map(drop)
}

fn folders(router: &Router) -> anyhow::Result<Vec<PathBuf>> {
    let layout = router.bpffs.join(format!("qosbpf/v{}", qos_common::abi::LAYOUT));
    fs::read_dir(layout)?.map(|entry| Ok(entry?.path())).collect()
}

#[test]
fn pins_of_a_namespace_are_told_to_be_left_once_nothing_has_it() -> anyhow::Result<()> {
    let router = Router::start()?;
    let doctor = || router.ask("doctor lan0 --sample 0 --json");
    let beside = Beside::make(&router, "left")?;
    beside.enforce(|line| Answer::of(&mut beside.command(line)?))?;
    ensure!(!has(&doctor()?, "netns-gone")?, "it has a name");
    let mut process = words(&format!("ip netns exec {} sleep 600", beside.name)).spawn()?;
    let is_in = |file: &str| Ok(fs::metadata(file)?.ino() == fs::metadata(beside.file())?.ino());
    let own = format!("/proc/{}/ns/net", process.id());
    eventually(|| is_in(&own))?;
    let open = File::open(beside.file())?;
    drop(beside);
    ensure!(!has(&doctor()?, "netns-gone")?, "a process is in it");
    process.kill()?;
    process.wait()?;
    ensure!(!has(&doctor()?, "netns-gone")?, "a process has it open");
    drop(open);
    // Mount namespaces that other tests make have mounts of it, too.
    eventually(|| has(&doctor()?, "netns-gone"))?;
    let found = find(&doctor()?.expect(0)?, "host", "netns-gone")?;
    type_in(&found, None)?;
    assert_eq!(folders(&router)?, Vec::<PathBuf>::new());
    ensure!(!has(&doctor()?, "netns-gone")?);
    Ok(())
}

/// Its devices are gone, and it is there: what they have counted is its own to remove, though no policy is in force.
#[test]
fn pins_of_a_namespace_that_lives_are_let_alone() -> anyhow::Result<()> {
    let router = Router::start()?;
    let beside = Beside::make(&router, "lives")?;
    let ask = |line: &str| Answer::of(&mut beside.command(line)?);
    ask("attach v0 --egress --hook tcx")?.expect(0)?;
    ip(&format!("-n {} link del v0", beside.name))?;
    let change = || router.ok("attach lan0 --ingress").and_then(|_| router.ok("detach lan0").map(drop));
    change()?;
    ask("status")?.expect(0)?.says(&["the interface is gone"])?;
    let hooks = ask("stats --json")?.expect(0)?.json()?["hooks"].as_array().map(Vec::len);
    assert_eq!(hooks, Some(1), "what was counted is gone");
    drop(beside);
    // Mount namespaces that other tests make have mounts of it, too.
    eventually(|| {
        change()
            .map(|()| folders(&router).is_ok_and(|folders| folders.is_empty()) || !router.bpffs.join("qosbpf").exists())
    })
}

/// As before Linux 5.14: the kernel does not know the number of a network namespace that none gets again.
fn without_cookies(command: &mut Command) -> &mut Command {
    if !netns::has_cookies() {
        return command;
    }
    const SO_NETNS_COOKIE: u32 = 71;
    let does = |code: u32, k: u32, (jt, jf): (u8, u8)| libc::sock_filter { code: code as u16, jt, jf, k };
    let (load, equal) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
    // The number of the call, and the lower half of its third argument.
    let filter = [
        does(load, 0, (0, 0)),
        does(equal, libc::SYS_getsockopt as u32, (0, 3)),
        does(load, if cfg!(target_endian = "little") { 32 } else { 36 }, (0, 0)),
        does(equal, SO_NETNS_COOKIE, (0, 1)),
        does(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOPROTOOPT as u32, (0, 0)),
        does(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, (0, 0)),
    ];
    let refuse = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
        // SAFETY: the kernel copies a program that is there as long as this runs.
        let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: one system call, and nothing is allocated.
    unsafe { command.pre_exec(refuse) }
}

fn in_force(status: &Answer) -> anyhow::Result<bool> {
    Ok(!status.json()?["policy"].is_null())
}

#[test]
fn the_policy_of_a_namespace_that_is_gone_is_not_that_of_the_next_with_its_inode() -> anyhow::Result<()> {
    let router = Router::start()?;
    let first = Beside::make(&router, "first")?;
    let ask_first = |line: &str| Answer::of(without_cookies(&mut first.command(line)?));
    first.enforce(ask_first)?;
    // In the same one an interface may go, and come again.
    ip(&format!("-n {} link del v0", first.name))?;
    first.make_interface()?;
    ask_first("attach v0 --egress --hook clsact")?.expect(0)?;
    ensure!(in_force(&ask_first("status --json")?)?, "its own policy");
    let [was] = &folders(&router)?[..] else { anyhow::bail!("one folder") };
    assert_eq!(was.file_name(), Some(format!("netns-{}", fs::metadata(first.file())?.ino()).as_ref()));
    drop(first);

    let next = Beside::make(&router, "next")?;
    let ask_next = |line: &str| Answer::of(without_cookies(&mut next.command(line)?));
    fs::rename(was, was.with_file_name(format!("netns-{}", fs::metadata(next.file())?.ino()))).context("rename")?;
    ensure!(in_force(&ask_next("status --json")?)?, "nothing has been changed yet");
    ask_next("attach v0 --egress --hook clsact")?
        .expect(0)?
        .complains(&["is that of a network namespace that is gone"])?;
    let status = ask_next("status --json")?.expect(0)?;
    ensure!(!in_force(&status)?, "{}", status.stdout);
    assert_eq!(status.json()?["hooks"][0]["state"], "counting");
    ask_next("detach --all")?.expect(0)?;
    assert_eq!(folders(&router).unwrap_or_default(), Vec::<PathBuf>::new());
    Ok(())
}
