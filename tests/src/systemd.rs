//! A systemd of its own, which runs the unit of the service as it is shipped: the first process of a PID namespace in the
//! router of a lab, with an overlay of this machine's files. Nothing of it is left on the machine, whatever the first
//! process of that is.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::{
    binary::{self, Answer},
    router::{Router, words},
    service::{counted_after, eventually},
};

/// The unit, as it is shipped.
pub const UNIT: &str = include_str!("../../dist/qosbpf.service");

/// What all cgroups of such machines are called.
const CGROUPS: &str = "qosbpf-tests-";

/// A machine that systemd has booted, in the router of a lab.
#[derive(Debug)]
pub struct Machine {
    /// The lab.
    pub router: Router,
    /// The process above systemd: it is in all namespaces of the machine but that of its processes.
    above: Child,
    cgroup: String,
}

impl Machine {
    /// Boots one, in which nothing of qosbpf is but the binary.
    ///
    /// # Errors
    ///
    /// That systemd is not here, or does not boot, with what it said.
    pub fn boot() -> anyhow::Result<Self> {
        static MACHINES: AtomicUsize = AtomicUsize::new(0);
        let systemd = Path::new("/lib/systemd/systemd");
        ensure!(systemd.exists(), "{} is not there: cargo xtask setup installs it", systemd.display());
        let router = Router::start()?;
        let folder = folder(&router);
        fs::create_dir(&folder)?;
        let cgroup = format!("{CGROUPS}{}-{}", process::id(), MACHINES.fetch_add(1, Ordering::Relaxed));
        let above = start(&router, &folder, &cgroup)?;
        let mut machine = Self { router, above, cgroup };
        machine.wait_until_booted()?;
        Ok(machine)
    }

    fn wait_until_booted(&mut self) -> anyhow::Result<()> {
        let booted = eventually(|| {
            if let Some(status) = self.above.try_wait()? {
                bail!("it ended with {status}");
            }
            Ok(self.ask("systemctl is-active machine.target")?.stdout == "active\n")
        });
        booted.with_context(|| {
            format!("systemd does not boot: {}", fs::read_to_string(log(&self.router)).unwrap_or_default())
        })
    }

    /// A command in the machine, as root.
    #[must_use]
    pub fn command(&self, line: &str) -> Command {
        let above = self.above.id();
        let mut command = words(&format!("nsenter --target {above} --mount --net --uts --ipc --cgroup"));
        command.arg(format!("--pid=/proc/{above}/ns/pid_for_children"));
        command.args(line.split_whitespace());
        command.env_clear().envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")]);
        command
    }

    /// Runs a command in the machine.
    ///
    /// # Errors
    ///
    /// That it cannot be run.
    pub fn ask(&self, line: &str) -> anyhow::Result<Answer> {
        Answer::of(&mut self.command(line))
    }

    /// The same; it has to succeed.
    ///
    /// # Errors
    ///
    /// What it said, and what the journal has of the service.
    pub fn ok(&self, line: &str) -> anyhow::Result<Answer> {
        self.ask(line)?.expect(0).with_context(|| self.journal().unwrap_or_default())
    }

    /// The same for another user of the machine: `alice` is in the group `netops`, and `bob` is not.
    ///
    /// # Errors
    ///
    /// That it cannot be run.
    pub fn ask_as(&self, user: &str, line: &str) -> anyhow::Result<Answer> {
        self.ask(&format!("setpriv --reuid {user} --regid {user} --init-groups {line}"))
    }

    /// Writes a file of the machine.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        fs::write(self.path(path), text).with_context(|| path.to_owned())
    }

    /// Where a file of the machine is for those outside of it.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.above.id()))
    }

    /// Writes the saved policy.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn save(&self, name: &str, text: &str) -> anyhow::Result<()> {
        self.write("/etc/qosbpf/policy.toml", &format!("version = 1\nname = \"{name}\"\n{text}"))
    }

    /// Installs the unit and starts the service, as docs/service.md says.
    ///
    /// # Errors
    ///
    /// What systemd says.
    pub fn enable(&self) -> anyhow::Result<()> {
        self.write("/etc/systemd/system/qosbpf.service", UNIT)?;
        self.ok("systemctl enable --now qosbpf").map(drop)
    }

    /// A property of the service.
    ///
    /// # Errors
    ///
    /// What systemd says.
    pub fn property(&self, name: &str) -> anyhow::Result<String> {
        Ok(self.ok(&format!("systemctl show --value -p {name} qosbpf"))?.stdout.trim().to_owned())
    }

    /// Waits until a property of the service has a value.
    ///
    /// # Errors
    ///
    /// That it never has.
    pub fn becomes(&self, name: &str, value: &str) -> anyhow::Result<()> {
        eventually(|| Ok(self.property(name)? == value)).with_context(|| {
            format!("{name} is {:?}, not {value}\n{}", self.property(name), self.journal().unwrap_or_default())
        })
    }

    /// What the journal has of the service.
    ///
    /// # Errors
    ///
    /// What journalctl says.
    pub fn journal(&self) -> anyhow::Result<String> {
        Ok(self.ask("journalctl --unit qosbpf --output cat --no-pager")?.stdout)
    }

    /// Waits until the journal has a line of the service with these words, and returns its priority.
    ///
    /// # Errors
    ///
    /// That it never comes.
    pub fn logs(&self, line: &str) -> anyhow::Result<String> {
        let mut found = None;
        let seen = eventually(|| {
            let entries = self.ask("journalctl --unit qosbpf --output json --no-pager")?.stdout;
            let mut entries = entries.lines().filter_map(|entry| serde_json::from_str::<Value>(entry).ok());
            let entry = entries.find(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.contains(line)));
            found = entry.and_then(|entry| entry["PRIORITY"].as_str().map(str::to_owned));
            Ok(found.is_some())
        });
        seen.with_context(|| format!("no `{line}` in:\n{}", self.journal().unwrap_or_default()))?;
        found.context("a priority")
    }

    /// Five EF pings from the LAN; what left with which mark is what `lan0:ingress` counted meanwhile.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn five_become(&self, dscp: u8) -> anyhow::Result<bool> {
        let before = self.after(dscp)?;
        self.router.ping(false, 184, 5)?;
        Ok(self.after(dscp)? == before + 5)
    }

    fn after(&self, dscp: u8) -> anyhow::Result<u64> {
        Ok(counted_after(&self.ok("qosbpf stats --json lan0:ingress")?.json()?, dscp))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With it goes systemd, and with that every process of the machine, every mount and every name.
        let _ended = self.above.kill();
        let _reaped = self.above.wait();
        let removed =
            scripted(&folder(&self.router), include_str!("systemd/after.sh"), &self.cgroup).arg(CGROUPS).output();
        let is_removed = removed.is_ok_and(|removed| removed.status.success());
        assert!(is_removed || thread::panicking(), "the cgroup {} is left", self.cgroup);
    }
}

fn folder(router: &Router) -> PathBuf {
    router.folder().join("machine")
}

fn log(router: &Router) -> PathBuf {
    router.folder().join("systemd.log")
}

/// It ends with this thread, however that ends, and cannot do to the host what no namespace holds back.
fn start(router: &Router, folder: &Path, cgroup: &str) -> anyhow::Result<Child> {
    let log = File::create(log(router))?;
    let mut command =
        words("setpriv --pdeathsig KILL --bounding-set -sys_module,-sys_time,-sys_boot,-sys_rawio nsenter");
    command.arg(format!("--net=/run/netns/{}", router.edge().name()));
    let around = scripted(folder, include_str!("systemd/around.sh"), cgroup);
    command.arg(around.get_program()).args(around.get_args()).arg(binary::path()?);
    command.env("WITHIN", include_str!("systemd/within.sh"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("setpriv")
}

/// A script in a mount namespace of its own.
fn scripted(folder: &Path, script: &str, cgroup: &str) -> Command {
    let mut command = words("unshare --mount --uts --ipc sh -euc");
    command.arg(script).arg("sh").arg(folder).arg(cgroup);
    command
}
