//! Clients of `qosbpf run` that hang on purpose: more of them than it has room for, each of which sends a byte now and then
//! and comes again when it is sent away.

use std::{
    io::{self, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use qosbpf::{cmd::control, lab::namespace::Namespace};
use qosbpf_tests::{
    flow::Flow,
    manager::Manager,
    router::run_in,
    service::{Lab, eventually},
};

use crate::{
    Fault,
    stage::{POLICY, Row, unharmed},
};

pub const FAULTS: &[Fault] = &[
    ("scrapers of `run` that hang, a hundred", || hang(scraper)),
    ("clients of the control socket of `run` that hang, a hundred", || hang(asker)),
];

/// Scrapes have room for 64, questions for 32.
const CLIENTS: usize = 100;

type Client = Box<dyn Write + Send>;

fn scraper() -> io::Result<Client> {
    let mut stream = TcpStream::connect("127.0.0.1:9776")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")?;
    Ok(Box::new(stream))
}

fn asker() -> io::Result<Client> {
    let folder = control::folder().map_err(io::Error::other)?;
    Ok(Box::new(UnixStream::connect(folder.join("control"))?))
}

struct Hanging {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Hanging {
    /// Begins, and waits until all of them have come and sent something.
    fn start(namespace: &Namespace, open: fn() -> io::Result<Client>) -> anyhow::Result<Self> {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (namespace, until, done) = (namespace.clone(), Arc::clone(&stop), Arc::clone(&rounds));
        let work = move || {
            let _entered = namespace.run(|| {
                hang_on(open, &until, &done);
                Ok(())
            });
        };
        let hanging = Self { stop, rounds, thread: Some(thread::Builder::new().spawn(work)?) };
        eventually(|| Ok(hanging.rounds.load(Ordering::SeqCst) >= 2)).context("no client comes in")?;
        Ok(hanging)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// A byte of each of them a round.
fn hang_on(open: fn() -> io::Result<Client>, stop: &AtomicBool, rounds: &AtomicUsize) {
    let mut clients: Vec<Client> = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        clients = clients.into_iter().filter_map(|mut client| client.write_all(b"x").ok().map(|()| client)).collect();
        while clients.len() < CLIENTS
            && let Ok(client) = open()
        {
            clients.push(client);
        }
        rounds.fetch_add(usize::from(clients.len() == CLIENTS), Ordering::SeqCst);
        thread::sleep(Duration::from_millis(200));
    }
}

/// Meanwhile a device comes, files are read again, the service manager hears that it lives, and nothing else waits.
fn hang(open: fn() -> io::Result<Client>) -> anyhow::Result<Row> {
    let mut lab = Lab::start()?;
    lab.save("edge", &format!("{POLICY}[interface.\"new*\"]\ningress = \"in\"\n"))?;
    let manager = Manager::listen(lab.router.folder())?;
    let mut command = lab.command("run")?;
    lab.serve_by(manager.starts(&mut command))?;
    lab.becomes("wan0:egress", "active")?;
    let flow = Flow::start(&lab.router)?;
    let hanging = Hanging::start(lab.router.edge(), open)?;
    manager.forget()?;
    run_in(lab.router.edge(), "ip link add new0 type veth peer name old0")?;
    lab.becomes("new0:ingress", "active")?;
    lab.signal(Signal::SIGHUP)?;
    for line in ["RELOADING=1", "READY=1"].into_iter().chain(["WATCHDOG=1"; 5]) {
        manager.hears(line)?;
    }
    lab.ok("attach lan0 --egress")?;
    drop(hanging);
    flow.pass(50)?;
    let outcome = flow.end()?;
    let log = lab.log()?;
    ensure!(!log.contains("does not end") && !log.contains("panicked"), "{log}");
    lab.stop()?;
    let said =
        "nothing: a new device is attached, files are read again, the watchdog is told; each goes after its time";
    unharmed(&lab.router, &outcome, said.to_owned())
}
