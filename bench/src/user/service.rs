//! The service: what it takes while nothing happens, and what a scrape costs.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use aya::programs::{TestRun as _, TestRunOptions};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use qos_common::ds::Dscp;
use qos_vectors::frame::{Ipv4, Ipv6, ether_type, ethernet, udp};
use qosbpf::kernel::pins::{HookPins, Store};

use super::{A, Desk, fact, once, peak, process_ns};
use crate::{Step, effort::Effort, program::attached, report::Fact, router::run, samples::Samples};

/// The name of a fact that a goal asks for.
pub const IDLE: &str = "CPU time of `run` with one hook while nothing happens";

/// Where it serves if nothing else is said.
const PORT: u16 = 9776;

/// How long it may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both directions of four devices.
const EIGHT: &str = "version = 1\nname = \"eight\"\n[interface.\"bench*\"]\ningress = \"t\"\negress = \"t\"\n\
                     [remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
const DEVICES: &str = "link add bench0 type veth peer name bench1\nlink add bench2 type veth peer name bench3\n\
                       link set bench0 up\nlink set bench1 up\nlink set bench2 up\nlink set bench3 up\n";

/// With one hook, then with eight.
pub(super) fn measure(desk: &Desk<'_>, effort: &Effort, step: Step<'_>) -> anyhow::Result<Vec<Fact>> {
    step("user: the service, with one hook")?;
    let mut facts = Vec::new();
    serving(desk, A, 1, |service| {
        facts.push(once("memory: most of `run` with one hook", "MiB", peak(service)?));
        facts.push(once(IDLE, "% of a CPU", idle(service, effort.idle)?));
        facts.extend(scrapes(desk, service, 1)?);
        Ok(())
    })?;
    step("user: the service, with eight hooks")?;
    desk.lab.edge().run(|| run("ip", &["-batch", "-"], DEVICES))?;
    serving(desk, EIGHT, 8, |service| {
        facts.extend(scrapes(desk, service, 8)?);
        facts.push(once("memory: most of `run` with eight hooks", "MiB", peak(service)?));
        Ok(())
    })?;
    Ok(facts)
}

/// Does something while the service serves this policy with so many hooks.
fn serving(
    desk: &Desk<'_>,
    policy: &str,
    hooks: usize,
    work: impl FnOnce(u32) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    desk.file("policy.toml", policy)?;
    let service = desk.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("qosbpf")?;
    let mut service = Service(service);
    service.wait_until_ready(desk)?;
    let attached = count_on_all(desk)?;
    ensure!(attached == hooks, "run attached {attached} hooks instead of {hooks}");
    work(service.0.id())?;
    service.end()?;
    std::fs::remove_file(desk.lab.folder().join("policy.toml"))?;
    desk.time(&["detach", "--all"]).map(drop)
}

/// The process; it is killed if it has not been asked to end.
struct Service(Child);

impl Service {
    fn wait_until_ready(&mut self, desk: &Desk<'_>) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                bail!("qosbpf run ended: {status}");
            }
            match get(desk, "/healthz") {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > PATIENCE => return Err(error.context("qosbpf run does not serve")),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn end(&mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "qosbpf run ended with {status}");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After `end` there is nothing to kill.
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// The share of a CPU that a process takes, in percent.
fn idle(pid: u32, watched: Duration) -> anyhow::Result<f64> {
    // What it had to do at its start is not what it has to do.
    thread::sleep(Duration::from_secs(1));
    let (start, before) = (Instant::now(), process_ns(pid)?);
    thread::sleep(watched);
    Ok((process_ns(pid)? - before) / start.elapsed().as_nanos() as f64 * 100.0)
}

fn scrapes(desk: &Desk<'_>, service: u32, hooks: usize) -> anyhow::Result<Vec<Fact>> {
    let (mut wall, mut cpu, mut bytes) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..desk.times {
        let (start, before) = (Instant::now(), process_ns(service)?);
        let answer = get(desk, "/metrics")?;
        wall.push(start.elapsed().as_secs_f64() * 1e3);
        cpu.push((process_ns(service)? - before) / 1e6);
        bytes.push(answer.len() as f64 / 1024.0);
    }
    let name =
        |what: &str| format!("scrape, {hooks} hook{}, all codepoints seen: {what}", if hooks == 1 { "" } else { "s" });
    Ok(vec![
        fact(name("from the request to the last byte"), "ms", wall.spread()),
        fact(name("CPU time of `run`"), "ms", cpu.spread()),
        fact(name("the answer"), "KiB", bytes.spread()),
    ])
}

/// Asks the service, from within the router.
fn get(desk: &Desk<'_>, path: &str) -> anyhow::Result<String> {
    desk.lab.edge().run(|| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        Ok(answer)
    })
}

/// A packet of each codepoint and family through each hook, so that a scrape has all rows; says how many hooks.
fn count_on_all(desk: &Desk<'_>) -> anyhow::Result<usize> {
    let bpffs = desk.lab.bpffs();
    desk.lab.edge().run(|| {
        let hooks = Store::open(&bpffs)?.hooks()?;
        hooks.iter().try_for_each(count_on)?;
        Ok(hooks.len())
    })
}

fn count_on(hook: &HookPins) -> anyhow::Result<()> {
    let program = attached(hook)?;
    let run = |frame: &[u8]| {
        program.test_run(TestRunOptions { data_in: Some(frame), repeat: 1, ..TestRunOptions::default() }).map(drop)
    };
    for dscp in Dscp::all() {
        let ds = dscp.value() << 2;
        run(&ethernet(&[], ether_type::IPV4, &Ipv4 { ds, ..Ipv4::default() }.packet(&udp(&[0; 18]))))?;
        run(&ethernet(&[], ether_type::IPV6, &Ipv6 { ds, ..Ipv6::default() }.packet(&udp(&[0; 18]))))?;
    }
    Ok(())
}
