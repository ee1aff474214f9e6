//! A service whose stderr nobody reads, as behind a log collector that hangs: it does what it is there for, and what it has
//! said comes when somebody reads.

use std::{
    io::{self, PipeReader, Read as _},
    process::Stdio,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use qosbpf_tests::{
    manager::Manager,
    router::run_in,
    service::{Lab, MARK, OTHER, eventually},
    timers,
    unread::full_pipe,
};

use crate::denied::refuse;

const DYN0: &str = "[interface.dyn0]\negress = \"mark\"\n";

/// How long the end may take: it waits a little for somebody who reads.
const SOON: Duration = Duration::from_secs(10);

/// A service that is ready, and of which nobody reads what it says.
fn unread(options: &str) -> anyhow::Result<(Lab, PipeReader)> {
    let mut lab = Lab::start()?;
    lab.save("edge", &format!("{MARK}{DYN0}"))?;
    let manager = Manager::listen(lab.router.folder())?;
    let (reader, writer) = full_pipe()?;
    lab.start_with(manager.starts(&mut lab.command(&format!("{options}run"))?).stdout(Stdio::null()), writer)?;
    manager.hears("READY=1")?;
    Ok((lab, reader))
}

/// Somebody who begins to read.
struct Reading {
    text: Arc<Mutex<String>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Reading {
    fn of(mut reader: PipeReader) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let read = Arc::clone(&text);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let length = reader.read(&mut buffer)?;
                if length == 0 {
                    return Ok(());
                }
                let said = buffer[..length].iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte));
                read.lock().expect("no panic").extend(said);
            }
        });
        Self { text, thread }
    }

    /// Waits until this was said.
    fn hears(&self, words: &str) -> anyhow::Result<()> {
        eventually(|| Ok(self.text.lock().expect("no panic").contains(words)))
    }

    /// All that the service says to its end.
    fn rest(self, lab: &mut Lab) -> anyhow::Result<String> {
        ensure!(lab.end_by(Signal::SIGTERM)?.success());
        self.thread.join().expect("no panic")?;
        let text = self.text.lock().expect("no panic").clone();
        Ok(text)
    }
}

#[test]
fn it_holds_up_no_change_no_deadline_and_no_interface() -> anyhow::Result<()> {
    let (mut lab, reader) = unread("")?;
    let other = lab.router.policy("other", &format!("{OTHER}{DYN0}").replace("\"mark\"", "\"other\""))?;
    lab.ok(&format!("policy apply {other} --confirm 3s"))?;
    timers::kill_all(&lab.router)?;
    // No command of ours, which would do it.
    eventually(|| Ok(lab.metrics()?.contains("qosbpf_policy_info{name=\"edge\"")))?;
    run_in(lab.router.edge(), "ip link add dyn0 type veth peer name far0")?;
    lab.becomes("dyn0:egress", "active")?;
    lab.ok("policy bypass")?.says(&["out of the policy's path"])?;
    lab.ok("policy resume")?;
    lab.ok("run --reload")?;
    ensure!(lab.five_become(34)?);
    let said = Reading::of(reader).rest(&mut lab)?;
    let places = ["policy edge", "lan0:ingress", "INFO ready", "not confirmed in time", "dyn0:egress", "ended; what"]
        .map(|words| said.find(words).with_context(|| format!("no `{words}`:\n{said}")));
    let places = places.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(places.is_sorted() && !said.contains("were lost"), "{places:?}:\n{said}");
    Ok(())
}

#[test]
fn it_ends_all_the_same() -> anyhow::Result<()> {
    let (mut lab, _reader) = unread("")?;
    let start = Instant::now();
    ensure!(lab.end_by(Signal::SIGTERM)?.success() && start.elapsed() < SOON, "{:?}", start.elapsed());
    let (_reader, writer) = full_pipe()?;
    let mut once = lab.command("run --once")?;
    let start = Instant::now();
    let status = once.stdout(Stdio::null()).stderr(writer).status()?;
    ensure!(status.success() && start.elapsed() < SOON, "{status}: {:?}", start.elapsed());
    lab.becomes("lan0:ingress", "active")
}

/// A program that is loaded has much to say at `-vv`.
#[test]
fn how_much_was_lost_is_said_where_it_is_missing() -> anyhow::Result<()> {
    let (mut lab, reader) = unread("-vv ")?;
    for policy in [OTHER, MARK].repeat(2) {
        lab.save("edge", policy)?;
        lab.ok("run --reload")?;
    }
    let (reading, gap) = (Reading::of(reader), "lines were lost: stderr was not read");
    reading.hears(gap)?;
    let said = reading.rest(&mut lab)?;
    let gaps = said.lines().filter(|line| line.contains(gap)).count();
    ensure!(gaps > 0 && said.trim_end().ends_with("ended; what is attached goes on"), "{} bytes, {gaps}", said.len());
    Ok(())
}

/// Its runtime cannot wait for anything.
#[test]
fn a_panic_is_told_as_everything_else_is() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let mut run = lab.command("--log-format json run")?;
    lab.start_by(refuse(&mut run, &[libc::SYS_epoll_wait, libc::SYS_epoll_pwait]))?;
    lab.says(&["panicked"])?;
    let status = lab.ended()?;
    let log = lab.log()?;
    ensure!(!status.success(), "{status}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).with_context(|| log.clone())?;
    }
    let (_reader, writer) = full_pipe()?;
    let mut run = lab.command("run")?;
    let start = Instant::now();
    let status = refuse(&mut run, &[libc::SYS_epoll_wait, libc::SYS_epoll_pwait]).stderr(writer).status()?;
    ensure!(!status.success() && start.elapsed() < SOON, "{status}: {:?}", start.elapsed());
    Ok(())
}
