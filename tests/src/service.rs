//! A service that runs in the router of a lab.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use qosbpf::invocation::Invocation;
use serde_json::Value;

use crate::{
    binary::Answer,
    router::{Router, run_in},
};

/// EF becomes AF41 on what comes from the LAN.
pub const MARK: &str = "[interface.lan0]\ningress = \"mark\"\n[remark.mark]\nEF = \"AF41\"\nother = \"keep\"\n";

/// EF becomes CS1 there.
pub const OTHER: &str = "[interface.lan0]\ningress = \"other\"\n[remark.other]\nEF = \"CS1\"\nother = \"keep\"\n";

/// How long a test waits for what should come at once: other work may be on the machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A lab, its files, and the service if it runs.
#[derive(Debug)]
pub struct Lab {
    /// The lab.
    pub router: Router,
    service: Option<Child>,
}

impl Lab {
    /// A lab in which nothing runs; the router's loopback device is up.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn start() -> anyhow::Result<Self> {
        let router = Router::start()?;
        run_in(router.edge(), "ip link set lo up")?;
        fs::create_dir(router.folder().join("etc"))?;
        Ok(Self { router, service: None })
    }

    /// The same with a saved policy, and the service serving.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn serving(policy: &str) -> anyhow::Result<Self> {
        let mut lab = Self::start()?;
        lab.save("edge", policy)?;
        lab.serve()?;
        Ok(lab)
    }

    /// A file of the folder that is /etc/qosbpf here.
    pub fn etc(&self, name: &str) -> PathBuf {
        self.router.folder().join("etc").join(name)
    }

    /// Writes the saved policy.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn save(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Ok(fs::write(self.etc("policy.toml"), format!("version = 1\nname = \"{name}\"\n{text}"))?)
    }

    /// `qosbpf` in the router, with this folder as /etc/qosbpf.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn command(&self, line: &str) -> anyhow::Result<Command> {
        self.router.command(&format!("--etc {} {line}", self.etc("").display()))
    }

    /// How a command is typed to be about this router, as hints and the log have it.
    #[must_use]
    pub fn typed(&self, command: &str) -> String {
        let path = |path: &Path| Some(path.display().to_string());
        let here = Invocation {
            netns: Some(self.router.edge().name().to_owned()),
            bpffs: path(&self.router.bpffs),
            etc: path(&self.etc("")),
        };
        here.command(command)
    }

    /// Runs `qosbpf` in the router.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn ask(&self, line: &str) -> anyhow::Result<Answer> {
        Answer::of(&mut self.command(line)?)
    }

    /// The same; it has to succeed.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn ok(&self, line: &str) -> anyhow::Result<Answer> {
        self.ask(line)?.expect(0)
    }

    /// Starts the service, and waits until it serves.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn serve(&mut self) -> anyhow::Result<()> {
        self.serve_by(&mut self.command("run")?)
    }

    /// The same by this command.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn serve_by(&mut self, command: &mut Command) -> anyhow::Result<()> {
        self.start_by(command)?;
        self.says(&["ready"])
    }

    /// Starts it by this command, and does not wait.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn start_by(&mut self, command: &mut Command) -> anyhow::Result<()> {
        let log = File::create(self.log_file())?;
        command.stdout(log.try_clone()?);
        self.start_with(command, log)
    }

    /// The same with another stderr than the log of this lab.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn start_with(&mut self, command: &mut Command, stderr: impl Into<Stdio>) -> anyhow::Result<()> {
        ensure!(self.service.is_none(), "it serves already");
        self.service = Some(command.stdin(Stdio::null()).stderr(stderr).spawn()?);
        Ok(())
    }

    /// Starts it with an allocator that gives back what is free, or it would hide what is held.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn serve_frugally(&mut self) -> anyhow::Result<()> {
        let frugal = ["MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"]
            .into_iter()
            .zip(["1", "65536", "65536"]);
        self.serve_by(self.command("run")?.envs(frugal))
    }

    /// The memory that it has, in kilobytes (`VmRSS`).
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn resident(&self) -> anyhow::Result<usize> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(resident.trim().trim_end_matches(" kB").parse()?)
    }

    fn log_file(&self) -> PathBuf {
        self.router.folder().join("log")
    }

    /// All that the service has said since it was started.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn log(&self) -> anyhow::Result<String> {
        if let Some(service) = &self.service {
            eventually(|| Ok(!writes(service.id())))?;
        }
        Ok(fs::read_to_string(self.log_file())?)
    }

    /// Waits until the service has said all of these.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn says(&self, words: &[&str]) -> anyhow::Result<()> {
        for word in words {
            eventually(|| Ok(self.log()?.contains(word)))
                .with_context(|| format!("the log has no `{word}`:\n{}", self.log().unwrap_or_default()))?;
        }
        Ok(())
    }

    /// Its process.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn pid(&self) -> anyhow::Result<i32> {
        Ok(i32::try_from(self.service.as_ref().context("no service")?.id())?)
    }

    /// The time of a processor that it has taken, in ticks of ten milliseconds.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn ticks(&self) -> anyhow::Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let fields: Vec<_> = stat.rsplit(") ").next().context("fields")?.split(' ').collect();
        Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.pid()?), signal)?)
    }

    /// Kills it, and does not wait for its end.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut service = self.service.take().context("no service")?;
        service.kill()?;
        thread::spawn(move || service.wait());
        Ok(())
    }

    /// Ends it by a signal, and waits for its end.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn end_by(&mut self, signal: Signal) -> anyhow::Result<ExitStatus> {
        self.signal(signal)?;
        Ok(self.service.take().context("no service")?.wait()?)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let service = self.service.as_mut().context("no service")?;
        eventually(|| Ok(service.try_wait()?.is_some()))?;
        Ok(self.service.take().context("no service")?.wait()?)
    }

    /// Ends it as a service manager does.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.end_by(Signal::SIGTERM)?;
        ensure!(status.success(), "it ended with {status}:\n{}", self.log()?);
        Ok(())
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
        Ok(counted_after(&self.ok("stats --json lan0:ingress")?.json()?, dscp))
    }

    /// The hooks of `status --json` by their names.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn hook(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let status = self.ask("status --json")?.json()?;
        let hooks = status["hooks"].as_array().cloned().unwrap_or_default();
        let called = |hook: &Value| {
            let (interface, direction) = (hook["interface"].as_str(), hook["direction"].as_str());
            interface.zip(direction).is_some_and(|(interface, direction)| format!("{interface}:{direction}") == name)
        };
        Ok(hooks.into_iter().find(called))
    }

    /// Waits until a hook is in a state.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn becomes(&self, name: &str, state: &str) -> anyhow::Result<()> {
        eventually(|| Ok(self.hook(name)?.is_some_and(|hook| hook["state"] == state))).with_context(|| {
            format!("{name} is not {state}: {:#?}\n{}", self.hook(name), self.log().unwrap_or_default())
        })
    }

    /// A request over HTTP from within the router: the whole answer.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn get(&self, path: &str, headers: &str) -> anyhow::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// A connection to the service's metrics.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn connect(&self) -> anyhow::Result<TcpStream> {
        self.router.edge().run(|| {
            let mut stream = None;
            eventually(|| {
                stream = TcpStream::connect("127.0.0.1:9776").ok();
                Ok(stream.is_some())
            })?;
            stream.context("metrics are not served")
        })
    }

    /// The metrics alone.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn metrics(&self) -> anyhow::Result<String> {
        let answer = self.get("/metrics", "")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(body.to_owned())
    }

    /// The value of one series.
    ///
    /// # Errors
    ///
    /// What could not be done, or was not so.
    pub fn metric(&self, series: &str) -> anyhow::Result<Option<f64>> {
        let text = self.metrics()?;
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(found.map(str::parse).transpose()?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ended = service.kill();
            let _reaped = service.wait();
        }
    }
}

/// Whether the thread that writes what a service says is at it.
fn writes(service: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{service}/task")).into_iter().flatten().flatten();
    let mut stats = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    stats.any(|stat| stat.contains("(log) R") || stat.contains("(log) D"))
}

/// How many packets of a codepoint the one hook of a `stats --json` has handed on.
#[must_use]
pub fn counted_after(document: &Value, dscp: u8) -> u64 {
    let rows = document["hooks"][0]["after"].as_array().cloned().unwrap_or_default();
    rows.iter().find(|row| row["dscp"] == dscp).and_then(|row| row["packets"].as_u64()).unwrap_or(0)
}

/// Waits until something is so.
///
/// # Errors
///
/// What could not be done, or was not so.
pub fn eventually(mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if is_so()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("not within {PATIENCE:?}")
}
