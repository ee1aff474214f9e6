//! Types commands at the edge router, and reads what they print.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use crate::{cmd::Context, invocation::quoted, lab::Lab};

/// How long a command may take to start the command that it was given.
const START: Duration = Duration::from_millis(700);

/// Somebody at the edge router.
#[derive(Debug)]
pub struct Operator {
    executable: PathBuf,
    netns: String,
    bpffs: PathBuf,
    color: bool,
    context: Context,
}

impl Operator {
    /// One for this lab, who types the executable that is running.
    ///
    /// # Errors
    ///
    /// That the executable cannot be found.
    pub fn new(lab: &Lab, context: &Context) -> anyhow::Result<Self> {
        Ok(Self {
            executable: std::env::current_exe().context("the path of this executable")?,
            netns: lab.edge().name().to_owned(),
            bpffs: lab.bpffs(),
            color: context.color,
            context: context.clone(),
        })
    }

    /// What every command begins with.
    pub fn prefix(&self) -> String {
        format!("qosbpf --netns {} --bpffs {}", self.netns, self.bpffs.display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(["--netns", &self.netns, "--bpffs"]).arg(&self.bpffs);
        command.args(["--color", if self.color { "always" } else { "never" }]);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs a command with its screen, and gives its exit code; none if a signal ended it.
    ///
    /// # Errors
    ///
    /// That it cannot be started.
    pub fn show(&self, arguments: &[&str]) -> anyhow::Result<Option<i32>> {
        self.show_during(arguments, || Ok(()))
    }

    /// The same; `meanwhile` is done when the command runs the command that it was given.
    ///
    /// # Errors
    ///
    /// That it cannot be started, and those of `meanwhile`.
    pub fn show_during(
        &self,
        arguments: &[&str],
        meanwhile: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<i32>> {
        self.echo(arguments)?;
        let mut child = self.command(arguments).spawn().context("run this executable")?;
        if arguments.contains(&"--") {
            wait_for_grandchild(&child);
        }
        let done = meanwhile();
        let status = child.wait().context("wait for a command")?;
        done.map(|()| status.code())
    }

    /// What a command with `--json` says.
    ///
    /// # Errors
    ///
    /// That it fails, or says something else.
    pub fn read<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        let output = self.command(arguments).stderr(Stdio::inherit()).output().context("run this executable")?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("the output of {}", arguments.join(" ")))
    }

    fn echo(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let words: Vec<_> = arguments.iter().map(|word| quoted(word)).collect();
        let line = format!("$ qosbpf {}", words.join(" "));
        let dimmed = anstyle::Style::new().dimmed();
        self.context.screen(&if self.color { format!("{dimmed}{line}{dimmed:#}\n") } else { format!("{line}\n") })
    }
}

/// A kernel that does not list children costs the whole time, and nothing else.
fn wait_for_grandchild(child: &Child) {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let start = Instant::now();
    while start.elapsed() < START && fs::read_to_string(&children).is_ok_and(|pids| pids.is_empty()) {
        thread::sleep(Duration::from_millis(5));
    }
}
