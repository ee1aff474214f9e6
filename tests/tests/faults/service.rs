//! Clients of `qosbpf run` that hang on purpose: more of them than it has room for, each of which sends a byte now and then
//! and comes again when it is sent away. And pins that vanish while it serves.

use std::{
    fs,
    io::{self, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};
use qosbpf::{cmd::control, lab::namespace::Namespace};
use qosbpf_tests::{
    flow::Flow,
    manager::Manager,
    router::run_in,
    service::{Lab, eventually},
};

use crate::{
    Fault,
    stage::{AF41, POLICY, Row, complaint, passed, unharmed},
};

pub const FAULTS: &[Fault] = &[
    ("scrapers of `run` that hang, a hundred", || hang(scraper, "nothing")),
    ("clients of the control socket of `run` that hang, a hundred", || {
        hang(asker, "nothing: `detach`, `apply --confirm` and its way back take no longer")
    }),
    ("bpffs unmounted while `run` serves", || {
        vanish("was unmounted", |bpffs| Ok(umount2(bpffs, MntFlags::MNT_DETACH)?))
    }),
    ("the folder of pins removed while `run` serves", || {
        vanish("are gone, and what ran", |bpffs| Ok(fs::remove_dir_all(bpffs.join("qosbpf"))?))
    }),
];

/// Scrapes have room for 64, questions of one user for 8.
const CLIENTS: usize = 100;

/// Nobody, who has no right to anything.
const STRANGER: u32 = 65_534;

/// How long a command may take that asks the service; others wait ten seconds for its lock.
const AT_ONCE: Duration = Duration::from_secs(8);

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
            let _entered = namespace.run(|| Ok(hang_on(open, &until, &done)?));
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

/// This thread alone goes on as a stranger.
fn become_a_stranger() -> io::Result<()> {
    let (keep, stranger) = (-1_i64, i64::from(STRANGER));
    // SAFETY: three numbers, and no memory; glibc's function of that name would change all threads.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, keep, stranger, keep) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A byte of each of them a round.
fn hang_on(open: fn() -> io::Result<Client>, stop: &AtomicBool, rounds: &AtomicUsize) -> io::Result<()> {
    become_a_stranger()?;
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
    Ok(())
}

/// A command that has to end soon, whoever hangs.
fn at_once(lab: &Lab, line: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    lab.ok(line)?;
    ensure!(start.elapsed() < AT_ONCE, "{line} took {:?}", start.elapsed());
    Ok(())
}

/// Hooks that the policy binds are detached, and stay so; another policy comes, and goes since nobody confirms it.
fn change(lab: &Lab, policy: &str) -> anyhow::Result<()> {
    at_once(lab, "detach new0")?;
    let told = |lab: &Lab| anyhow::Ok(lab.log()?.matches("detached by hand: not attached again").count());
    ensure!(told(lab)? == 2, "the service was not told of both hooks:\n{}", lab.log()?);
    let trial = lab.router.policy("trial", policy)?;
    at_once(lab, &format!("policy apply {trial} --confirm 5s"))?;
    let in_force = |lab: &Lab| anyhow::Ok(lab.ask("status --json")?.json()?["policy"]["name"].clone());
    ensure!(in_force(lab)? == "trial");
    eventually(|| Ok(in_force(lab)? == "edge")).context("nobody went back")?;
    let gone =
        |direction| anyhow::Ok(lab.hook(&format!("new0:{direction}"))?.is_none_or(|hook| hook["state"] == "missing"));
    ensure!(gone("ingress")? && gone("egress")?, "attached again:\n{}", lab.log()?);
    Ok(())
}

/// Meanwhile a device comes, files are read again, the service manager hears that it lives, and nothing else waits.
fn hang(open: fn() -> io::Result<Client>, more: &str) -> anyhow::Result<Row> {
    let mut lab = Lab::start()?;
    let policy = format!("{POLICY}[interface.\"new*\"]\ningress = \"in\"\negress = \"in\"\n");
    lab.save("edge", &policy)?;
    let manager = Manager::listen(lab.router.folder())?;
    let mut command = lab.command("run")?;
    lab.serve_by(manager.starts(&mut command))?;
    lab.becomes("wan0:egress", "active")?;
    let flow = Flow::start(&lab.router)?;
    let hanging = Hanging::start(lab.router.edge(), open)?;
    manager.forget();
    run_in(lab.router.edge(), "ip link add new0 type veth peer name old0")?;
    lab.becomes("new0:ingress", "active")?;
    lab.signal(Signal::SIGHUP)?;
    for line in ["RELOADING=1", "READY=1"].into_iter().chain(["WATCHDOG=1"; 5]) {
        manager.hears(line)?;
    }
    // Nobody listens any more, and the service is not to wait for room in a queue.
    drop(manager);
    at_once(&lab, "attach lan0 --egress")?;
    change(&lab, &policy)?;
    drop(hanging);
    flow.pass(50)?;
    let outcome = flow.end()?;
    let log = lab.log()?;
    ensure!(!log.contains("does not end") && !log.contains("panicked"), "{log}");
    lab.stop()?;
    let said = format!(
        "{more}; a new device is attached, files are read again, the watchdog is told; each goes after its time"
    );
    unharmed(&lab.router, &outcome, said)
}

/// The pins hold what marks: packets pass as they come until the service has attached again.
fn vanish(cause: &str, make: fn(&Path) -> anyhow::Result<()>) -> anyhow::Result<Row> {
    let lab = Lab::serving(POLICY)?;
    lab.becomes("wan0:egress", "active")?;
    let flow = Flow::start(&lab.router)?;
    flow.pass(50)?;
    make(&lab.router.bpffs)?;
    lab.says(&[cause, "counts from zero"])?;
    eventually(|| Ok(lab.ask("status")?.code == 0)).with_context(|| lab.log().unwrap_or_default())?;
    let earlier = lab.router.counted("wan0:egress")?;
    flow.pass(100)?;
    let now = lab.router.counted("wan0:egress")?.since(&earlier);
    ensure!(now.packets_after().keys().all(|mark| *mark == AF41), "{now:?}");
    let outcome = flow.end()?;
    let log = lab.log()?;
    let said = log.lines().find(|line| line.contains(cause)).unwrap_or_default();
    Ok(Row {
        traffic: passed(&outcome)?,
        counters: "gone with the pins; `run` attaches again, and they begin at zero".to_owned(),
        said: complaint(&lab.router, said)?,
    })
}
