//! The lab with the real binary in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::Context as _;
use nix::unistd::geteuid;
use qos_common::abi::LAYOUT;
use qosbpf::lab::{Lab, namespace::Namespace, topology::WAN_HOST};

use crate::{
    binary::{self, Answer},
    counted::Counted,
    service::eventually,
};

/// The four hooks of the router.
pub const HOOKS: [&str; 4] = ["lan0:ingress", "lan0:egress", "wan0:ingress", "wan0:egress"];

/// A lab, and qosbpf working in its router.
#[derive(Debug)]
pub struct Router {
    lab: Lab,
    /// Where the pins are.
    pub bpffs: PathBuf,
}

impl Router {
    /// Builds a lab of its own.
    ///
    /// # Errors
    ///
    /// That this process is not root, or what `ip` says.
    pub fn start() -> anyhow::Result<Self> {
        anyhow::ensure!(geteuid().is_root(), "this test makes network namespaces: run it as root");
        let lab = Lab::start()?;
        let bpffs = lab.bpffs();
        Ok(Self { lab, bpffs })
    }

    /// The lab itself.
    #[must_use]
    pub const fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The router's network namespace.
    #[must_use]
    pub const fn edge(&self) -> &Namespace {
        self.lab.edge()
    }

    /// A folder that goes with the lab.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.lab.folder()
    }

    /// `qosbpf` in the router, ready to be started; `line` is split at spaces.
    ///
    /// # Errors
    ///
    /// That there is no binary.
    pub fn command(&self, line: &str) -> anyhow::Result<Command> {
        self.command_in(self.edge(), line)
    }

    /// The same in another of the lab's namespaces.
    ///
    /// # Errors
    ///
    /// That there is no binary.
    pub fn command_in(&self, namespace: &Namespace, line: &str) -> anyhow::Result<Command> {
        let mut command = binary::command(&["--netns", namespace.name(), "--bpffs"])?;
        command.arg(&self.bpffs).args(line.split_whitespace());
        Ok(command)
    }

    /// Runs `qosbpf` in the router.
    ///
    /// # Errors
    ///
    /// That it cannot be run.
    pub fn ask(&self, line: &str) -> anyhow::Result<Answer> {
        Answer::of(&mut self.command(line)?)
    }

    /// Runs `qosbpf` in the router; it has to succeed.
    ///
    /// # Errors
    ///
    /// That it did not.
    pub fn ok(&self, line: &str) -> anyhow::Result<Answer> {
        self.ask(line)?.expect(0)
    }

    /// What one hook has counted, by `stats --json`.
    ///
    /// # Errors
    ///
    /// That it has nothing to say of the hook.
    pub fn counted(&self, hook: &str) -> anyhow::Result<Counted> {
        self.all_counted(&[hook])?.pop().context("a hook")
    }

    /// What several hooks have counted, in this order.
    ///
    /// # Errors
    ///
    /// That one of them is not there.
    pub fn all_counted(&self, hooks: &[&str]) -> anyhow::Result<Vec<Counted>> {
        let document = self.ok(&format!("stats --json {}", hooks.join(" ")))?.json()?;
        hooks.iter().map(|hook| Counted::read(&document, hook)).collect()
    }

    /// The one folder of pins that the router's network namespace has.
    ///
    /// # Errors
    ///
    /// That nothing is attached.
    pub fn namespace_folder(&self) -> anyhow::Result<PathBuf> {
        let layout = self.bpffs.join(format!("qosbpf/v{LAYOUT}"));
        Ok(fs::read_dir(&layout)?.next().context("no namespace")??.path())
    }

    /// The folder of pins of one hook.
    ///
    /// # Errors
    ///
    /// That nothing is attached at the interface.
    pub fn hook_folder(&self, interface: &str, direction: &str) -> anyhow::Result<PathBuf> {
        let status = self.ask("status --json")?.json()?;
        let hooks = status["hooks"].as_array().context("hooks")?;
        let hook = hooks.iter().find(|hook| hook["interface"] == interface).context("the interface")?;
        Ok(self.namespace_folder()?.join(format!("if-{}", hook["ifindex"])).join(direction))
    }

    /// Writes a policy and returns its path.
    ///
    /// # Errors
    ///
    /// What writing says.
    pub fn policy(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder().join(name);
        fs::write(&path, format!("version = 1\nname = \"{name}\"\n{text}"))?;
        Ok(path.display().to_string())
    }

    /// Echo requests from the LAN host to the WAN host, two milliseconds apart; all of them must be answered.
    ///
    /// # Errors
    ///
    /// What ping says.
    pub fn ping(&self, ipv6: bool, tos: u8, count: u32) -> anyhow::Result<()> {
        let to = if ipv6 { WAN_HOST.v6.to_string() } else { WAN_HOST.v4.to_string() };
        let family = if ipv6 { "-6" } else { "-4" };
        let line = format!("ping {family} -q -n -i 0.002 -W 2 -Q {tos} -c {count} {to}");
        run_in(self.lab.lan(), &line).map(drop)
    }
}

/// Waits until devices carry packets: the kernel sees to that a moment after they, or their peers, have been set up.
///
/// # Errors
///
/// That one does not.
pub fn wait_until_up(devices: &[(&Namespace, &str)]) -> anyhow::Result<()> {
    for (namespace, device) in devices {
        let line = format!("ip link show dev {device}");
        eventually(|| Ok(run_in(namespace, &line)?.stdout.contains("state UP"))).with_context(|| line.clone())?;
    }
    Ok(())
}

/// Runs a tool in a namespace; it has to succeed.
///
/// # Errors
///
/// That it is not there, or what it says.
pub fn run_in(namespace: &Namespace, line: &str) -> anyhow::Result<Answer> {
    namespace.run(|| Answer::of(&mut words(line))?.expect(0))
}

/// Starts a tool in a namespace.
///
/// # Errors
///
/// That it is not there.
pub fn spawn_in(namespace: &Namespace, command: &mut Command) -> anyhow::Result<Child> {
    namespace.run(|| command.spawn().with_context(|| format!("{command:?}")))
}

/// A tool with its arguments, split at spaces.
#[must_use]
pub fn words(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}
