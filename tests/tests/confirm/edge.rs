//! The router with two hooks and a policy in force, and what the tests ask of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    binary::Answer,
    router::{Router, words},
    timers,
};
use serde_json::Value;

/// Nothing changes.
pub const KEEP: &str =
    "[interface.lan0]\ningress = \"t\"\n[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n";
/// EF becomes AF41 where it comes in, and stays that where it goes out.
pub const MARK: &str = "[interface.lan0]\ningress = \"t\"\n[interface.wan0]\negress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";

const EF: u8 = 46 << 2;

/// How long a test waits for what is sure to come: long enough for a machine that does ten other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A router whose `lan0:ingress` and `wan0:egress` have policy `keep`.
pub struct Edge {
    pub router: Router,
    /// The files of the two policies.
    pub keep: String,
    pub mark: String,
    /// A deadline in whole seconds which some commands are sure to meet, as slow as the machine is now.
    pub soon: Duration,
}

/// Of what two attaches took.
pub fn soon(took: Duration) -> Duration {
    Duration::from_secs((took * 5).as_secs() + 2)
}

impl Edge {
    pub fn start() -> anyhow::Result<Self> {
        let edge = Self::bare()?;
        edge.ok(&format!("policy apply {}", edge.keep))?;
        Ok(edge)
    }

    /// The same before any policy.
    pub fn bare() -> anyhow::Result<Self> {
        let router = Router::start()?;
        let (keep, mark) = (router.policy("keep", KEEP)?, router.policy("mark", MARK)?);
        let start = Instant::now();
        router.ok("attach lan0 --ingress --hook tcx")?;
        router.ok("attach wan0 --egress --hook tcx")?;
        Ok(Self { router, keep, mark, soon: soon(start.elapsed()) })
    }

    /// Runs `qosbpf` with a folder for saved policies of its own.
    pub fn ask(&self, line: &str) -> anyhow::Result<Answer> {
        self.router.ask(&self.with_etc(line))
    }

    /// The same, and it has to succeed.
    pub fn ok(&self, line: &str) -> anyhow::Result<Answer> {
        self.ask(line)?.expect(0)
    }

    pub fn with_etc(&self, line: &str) -> String {
        format!("{line} --etc {}", self.router.folder().join("etc").display())
    }

    /// How `qosbpf` is typed to be about this router.
    pub fn typed(&self) -> String {
        let Router { bpffs, .. } = &self.router;
        let etc = self.router.folder().join("etc");
        format!("qosbpf --netns {} --bpffs {} --etc {}", self.router.edge().name(), bpffs.display(), etc.display())
    }

    pub fn status(&self) -> anyhow::Result<Value> {
        self.ok("status --json")?.json()
    }

    /// The policy in force, which has to run at both hooks.
    pub fn in_force(&self) -> anyhow::Result<String> {
        let status = self.status()?;
        for hook in status["hooks"].as_array().context("hooks")? {
            ensure!(hook["policy_hash"] == status["policy"]["hash"], "{status:#}");
        }
        Ok(status["policy"]["name"].as_str().context("policy")?.to_owned())
    }

    /// What the far end gets of EF, by the counters of `wan0:egress`.
    pub fn mark_of_ef(&self) -> anyhow::Result<u8> {
        let earlier = self.router.counted("wan0:egress")?;
        self.router.ping(false, EF, 5)?;
        let after = self.router.counted("wan0:egress")?.since(&earlier).packets_after();
        ensure!(after.values().sum::<u64>() == 5 && after.len() == 1, "{after:?}");
        after.keys().next().copied().context("a mark")
    }

    /// Waits until no process waits for a deadline of this router.
    pub fn wait_for_timers(&self) -> anyhow::Result<()> {
        timers::wait_until_gone(&self.router)
    }

    /// Sleeps until a deadline of [`Edge::soon`] that begins now at the latest is over.
    pub fn sleep_past_it(&self) {
        thread::sleep(self.soon + Duration::from_millis(100));
    }

    /// Kills those that do, of which there is one at least.
    pub fn kill_timers(&self) -> anyhow::Result<()> {
        ensure!(timers::kill_all(&self.router)? > 0, "no timer to kill");
        Ok(())
    }

    /// Runs `qosbpf` in the router without any capability.
    pub fn ask_without_capabilities(&self, line: &str) -> anyhow::Result<Answer> {
        let binary = qosbpf_tests::binary::path()?;
        self.router.edge().run(|| {
            let mut command = words("setpriv --bounding-set -all --inh-caps -all");
            command.arg(binary).arg("--bpffs").arg(&self.router.bpffs).args(line.split(' '));
            Answer::of(&mut command)
        })
    }
}
