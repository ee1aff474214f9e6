//! Whoever reads events for long: hooks come and go meanwhile.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use qosbpf::lab::topology::LAN_HOST;

use crate::masquerade::Masquerade;

const RULES: &str = "\
    [[rule]]\nname = \"in\"\non = \"lan0:ingress\"\nmatch = { dst-port = 7201 }\nlog = \"9/h\"\n";
const BEHIND: &str = "\
    [[rule]]\nname = \"out\"\non = \"ppp0:egress\"\nmatch = { dst-port = 7201 }\nlog = \"9/h\"\n";

/// Longer than a reader goes without a look at which hooks there are.
const A_LOOK: Duration = Duration::from_millis(1_500);

/// A lab with a rule that logs, and somebody who has read one event of it.
struct Reading {
    lab: Masquerade,
    reader: Child,
    out: BufReader<ChildStdout>,
}

impl Reading {
    fn start() -> anyhow::Result<Self> {
        let lab = Masquerade::start()?;
        lab.router.ok("attach lan0 --ingress")?;
        lab.router.ok("attach ppp0 --egress")?;
        lab.router.ok(&format!("policy apply {} --prune", lab.router.policy("in", RULES)?))?;
        let mut events = lab.router.command("events --json")?;
        let mut reader = events.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let out = BufReader::new(reader.stdout.take().context("stdout")?);
        let mut reading = Self { lab, reader, out };
        reading.send_one()?;
        ensure!(reading.line()?.contains("\"lan0:ingress\""));
        Ok(reading)
    }

    fn send_one(&self) -> anyhow::Result<()> {
        self.lab.send(LAN_HOST.v4.into(), 7201, 0, 1)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.reader.id())?), signal)?)
    }

    /// Ends the reader: what else it has said, on stdout and on stderr.
    fn end(mut self) -> anyhow::Result<[String; 2]> {
        self.signal(Signal::SIGTERM)?;
        let mut rest = String::new();
        self.out.read_to_string(&mut rest)?;
        let ended = self.reader.wait_with_output()?;
        ensure!(ended.status.success(), "{ended:?}");
        Ok([rest, String::from_utf8(ended.stderr)?])
    }
}

/// One that has been held up has it all the same, also where it is told to end at once.
#[test]
fn what_was_told_before_a_hook_was_detached_is_read() -> anyhow::Result<()> {
    for ends in [false, true] {
        let reading = Reading::start()?;
        reading.signal(Signal::SIGSTOP)?;
        thread::sleep(A_LOOK);
        reading.send_one()?;
        reading.lab.router.ok("detach --all")?;
        if ends {
            reading.signal(Signal::SIGTERM)?;
        }
        reading.signal(Signal::SIGCONT)?;
        thread::sleep(if ends { Duration::ZERO } else { A_LOOK });
        let [rest, _] = reading.end()?;
        assert_eq!(rest.lines().count(), 1, "ends: {ends}: {rest}");
    }
    Ok(())
}

/// The others are read meanwhile.
#[test]
fn a_hook_that_comes_later_and_cannot_be_read_is_told_of_once() -> anyhow::Result<()> {
    const TOLD: &str = "! ppp0:egress: its events are not read: another process reads the events of this hook";
    let mut reading = Reading::start()?;
    let router = &reading.lab.router;
    let folder = router.hook_folder("ppp0", "egress")?.join("reader");
    fs::create_dir(&folder)?;
    let held = Flock::lock(File::open(&folder)?, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
    router.ok(&format!("policy apply {}", router.policy("both", &format!("{RULES}{BEHIND}"))?))?;
    thread::sleep(2 * A_LOOK);
    reading.send_one()?;
    ensure!(reading.line()?.contains("\"lan0:ingress\""));
    drop(held);
    ensure!(reading.line()?.contains("\"ppp0:egress\""), "whose reader has ended");
    let [_, said] = reading.end()?;
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(said.matches(TOLD).count(), 1, "{said}");
    Ok(())
}
