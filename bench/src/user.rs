//! What commands take, what they need, and what stays in the kernel.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use qosbpf::{
    hook::Direction,
    kernel::{
        counters,
        pins::{Pin, Store},
    },
    lab::Lab,
    policy::{Report, Source, parse},
};

use crate::{
    Step,
    effort::Effort,
    report::Fact,
    samples::{Samples, Spread},
    thousand,
};

/// The policy of the documentation's example, and another one to switch to and fro.
const EXAMPLE: &str = include_str!("../../docs/examples/edge.toml");
const A: &str =
    "version = 1\nname = \"a\"\n[interface.lan0]\ningress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
const B: &str =
    "version = 1\nname = \"b\"\n[interface.lan0]\ningress = \"t\"\n[remark.t]\nEF = \"CS5\"\nother = \"keep\"\n";

/// How long a process is watched that should do nothing.
const IDLE: Duration = Duration::from_secs(2);

/// `qosbpf` on the router of a lab, with its own pins and no saved policy.
pub fn command(qosbpf: &Path, lab: &Lab, words: &[&str]) -> Command {
    let mut command = Command::new(qosbpf);
    command.arg("--netns").arg(lab.edge().name()).arg("--bpffs").arg(lab.bpffs());
    command.arg("--etc").arg(lab.folder()).arg("--quiet").args(words);
    // None, whoever started the measurement.
    command.env("SSH_CONNECTION", "").env_remove("SUDO_USER").stdin(Stdio::null());
    command
}

/// Measures all of it.
///
/// # Errors
///
/// That a command fails.
pub fn measure(qosbpf: &Path, effort: &Effort, step: Step<'_>) -> anyhow::Result<Vec<Fact>> {
    let lab = Lab::start()?;
    let desk = Desk { qosbpf, lab: &lab, times: effort.commands };
    let mut facts = vec![compile(effort)?];
    step("user: commands")?;
    facts.extend(desk.commands()?);
    step("user: a policy of a thousand rules")?;
    facts.extend(thousand::measure(&desk)?);
    step("user: memory and idle time")?;
    facts.extend(desk.resident()?);
    facts.extend(sizes(qosbpf)?);
    Ok(facts)
}

/// Parsing, checking and compiling the example of the documentation.
fn compile(effort: &Effort) -> anyhow::Result<Fact> {
    let mut samples = Samples::default();
    for _ in 0..effort.commands * 10 {
        let start = Instant::now();
        let source = Source::new("edge.toml", EXAMPLE.as_bytes().to_vec()).map_err(|report| bad_example(&report))?;
        let policy = parse(&source).map_err(|report| bad_example(&report))?;
        let tables: Vec<_> = policy.tables().iter().map(qosbpf::policy::RemarkTable::compile).collect();
        std::hint::black_box(tables);
        samples.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(fact("policy: parse, check and compile docs/examples/edge.toml", "us", samples.spread()))
}

fn bad_example(report: &Report) -> anyhow::Error {
    anyhow::anyhow!("docs/examples/edge.toml is no policy: {report:?}")
}

pub fn fact(name: impl Into<String>, unit: &'static str, value: Spread) -> Fact {
    Fact { name: name.into(), unit, value }
}

fn once(name: impl Into<String>, unit: &'static str, value: f64) -> Fact {
    fact(name, unit, Spread::of(value))
}

/// Commands on the router of a lab.
pub struct Desk<'a> {
    qosbpf: &'a Path,
    /// The lab.
    pub lab: &'a Lab,
    /// How often each is measured.
    pub times: usize,
}

impl Desk<'_> {
    /// A command on its router.
    pub fn command(&self, words: &[&str]) -> Command {
        command(self.qosbpf, self.lab, words)
    }

    /// The wall-clock time of a command, in ms.
    pub fn time(&self, words: &[&str]) -> anyhow::Result<f64> {
        let start = Instant::now();
        let output = self.command(words).output().context("qosbpf")?;
        let elapsed = start.elapsed();
        if !output.status.success() {
            bail!("qosbpf {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(elapsed.as_secs_f64() * 1e3)
    }

    fn commands(&self) -> anyhow::Result<Vec<Fact>> {
        let [a, b] = [("a.toml", A), ("b.toml", B)].map(|(name, text)| (self.lab.folder().join(name), text));
        fs::write(&a.0, a.1)?;
        fs::write(&b.0, b.1)?;
        let (a, b) = (a.0.display().to_string(), b.0.display().to_string());
        let names = [
            "version",
            "attach, both directions, with a policy",
            "policy apply",
            "stats --json",
            "status --json",
            "stats, as a table",
            "detach",
        ];
        let mut samples: [Samples; 7] = Default::default();
        let (mut read, mut kernel) = (Samples::default(), Samples::default());
        for _ in 0..self.times {
            let steps: [&[&str]; 7] = [
                &["--version"],
                &["attach", "lan0", "--policy", &a],
                &["policy", "apply", &b],
                &["stats", "--json"],
                &["status", "--json"],
                &["stats", "--rate", "0"],
                &["detach", "--all"],
            ];
            for (step, samples) in steps.into_iter().zip(&mut samples) {
                if step[0] == "detach" {
                    self.read(&mut read, &mut kernel)?;
                }
                samples.push(self.time(step)?);
            }
        }
        let timed = names.into_iter().zip(&samples);
        let mut facts: Vec<Fact> =
            timed.map(|(name, samples)| fact(format!("command: qosbpf {name}"), "ms", samples.spread())).collect();
        facts.push(fact("reading the counters of one hook, in process", "us", read.spread()));
        facts.push(fact("memory: the kernel's, for the counters of one hook on all CPUs", "KiB", kernel.spread()));
        Ok(facts)
    }

    /// The counters of a hook as `stats` reads them, and the memory that they take.
    fn read(&self, samples: &mut Samples, kernel: &mut Samples) -> anyhow::Result<()> {
        let bpffs = self.lab.bpffs();
        let (elapsed, bytes) = self.lab.edge().run(|| {
            let store = Store::open(&bpffs)?;
            let hooks = store.hooks()?;
            let hook = hooks.iter().find(|hook| hook.direction == Direction::Ingress).context("no hook")?;
            counters::read(hook)?;
            let start = Instant::now();
            std::hint::black_box(counters::read(hook)?);
            let elapsed = start.elapsed();
            Ok((elapsed, locked(&hook.path(Pin::Counters))? + locked(&hook.path(Pin::Remarked))?))
        })?;
        kernel.push(bytes / 1024.0);
        samples.push(elapsed.as_secs_f64() * 1e6);
        Ok(())
    }

    /// What a process that stays needs, while nothing happens.
    fn resident(&self) -> anyhow::Result<Vec<Fact>> {
        let mut child = command(self.qosbpf, self.lab, &["attach", "lan0", "--foreground"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("qosbpf")?;
        thread::sleep(Duration::from_millis(500));
        let watched = watch(child.id());
        // Asked to end, so that it detaches.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::SIGTERM)?;
        child.wait()?;
        let (peak, busy) = watched?;
        Ok(vec![
            once("memory: most that `attach --foreground` was resident with", "MiB", peak),
            once("CPU time of `attach --foreground` while nothing happens", "ms/s", busy),
        ])
    }
}

/// Bytes that the kernel holds for a pinned map.
fn locked(pin: &Path) -> anyhow::Result<f64> {
    let map = aya::maps::MapData::from_pin(pin)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd()))?;
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:")).context("no memlock")?;
    Ok(line.trim().parse()?)
}

/// The most memory that a process was resident with, in MiB, and the CPU time that it takes, in ms a second.
fn watch(pid: u32) -> anyhow::Result<(f64, f64)> {
    let schedstat = || -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
        Ok(text.split_whitespace().next().context("schedstat is empty")?.parse()?)
    };
    let before = schedstat().context("it has ended already")?;
    thread::sleep(IDLE);
    let busy = (schedstat()? - before) / 1e6 / IDLE.as_secs_f64();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok((kib / 1024.0, busy))
}

/// The binary as it is, and stripped where there is a `strip`.
fn sizes(qosbpf: &Path) -> anyhow::Result<Vec<Fact>> {
    let mib = |path: &Path| -> anyhow::Result<f64> { Ok(fs::metadata(path)?.len() as f64 / f64::from(1 << 20)) };
    let mut facts = vec![once("size of the binary, with symbols", "MiB", mib(qosbpf)?)];
    let folder = tempfile::TempDir::new()?;
    let stripped = folder.path().join("qosbpf");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(qosbpf).status();
    if status.is_ok_and(|status| status.success()) {
        facts.push(once(STRIPPED, "MiB", mib(&stripped)?));
    }
    Ok(facts)
}

/// The name of a fact that a goal asks for.
pub const STRIPPED: &str = "size of the binary, stripped";
