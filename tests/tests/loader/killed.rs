//! `kill -9` at any moment of a change: whatever comes next finishes or undoes it, and nothing is left in the end.
//!
//! `QOSBPF_KILL_SEED` repeats a run; each failure says which seed it had.

use std::{
    env,
    process::Stdio,
    thread,
    time::{Duration, Instant, SystemTime},
};

use aya::maps::{Array, MapData};
use qosbpf_tests::router::Router;

use qosbpf_tests::left::assert_nothing;

/// Each has two kills where a hook is attached and detached, and one where its policy is changed.
const ROUNDS: usize = 10;
const FIRST: &str = "[interface.lan0]\ningress = \"t\"\negress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
const SECOND: &str = "[interface.lan0]\ningress = \"t\"\negress = \"t\"\n[remark.t]\nEF = \"AF31\"\nother = \"keep\"\n";

/// Marsaglia's xorshift64: what is wanted is variety.
struct Moments(u64);

impl Moments {
    fn new() -> anyhow::Result<Self> {
        let seed = match env::var("QOSBPF_KILL_SEED") {
            Ok(seed) => seed.parse()?,
            Err(_not_given) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros() as u64,
        };
        println!("QOSBPF_KILL_SEED={seed}");
        Ok(Self(seed.max(1)))
    }

    fn before(&mut self, end: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_micros(self.0 % (end.as_micros() as u64).max(1))
    }
}

/// How long a command takes that nobody kills.
fn duration(router: &Router, line: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    router.ok(line)?;
    Ok(start.elapsed())
}

fn killed_after(router: &Router, line: &str, moment: Duration) -> anyhow::Result<()> {
    let mut child = router.command(line)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    thread::sleep(moment);
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Status answers, and a command that is repeated succeeds.
fn converges(router: &Router, line: &str, what: &str) -> anyhow::Result<()> {
    let status = router.ask("status")?;
    assert!([0, 3].contains(&status.code), "{what}: {status:?}");
    router.ok(line).map_err(|error| error.context(what.to_owned()))?;
    router.ok("status").map_err(|error| error.context(what.to_owned()))?;
    Ok(())
}

fn attach_and_detach(hook: &str) -> anyhow::Result<()> {
    let router = Router::start()?;
    let mut moments = Moments::new()?;
    let attach = format!("attach lan0 --hook {hook}");
    let (attaching, detaching) = (duration(&router, &attach)?, duration(&router, "detach lan0")?);
    for round in 0..ROUNDS {
        let moment = moments.before(attaching);
        killed_after(&router, &attach, moment)?;
        let what = format!("{hook}, round {round}: attach killed after {moment:?}");
        if round % 2 == 0 {
            converges(&router, &attach, &what)?;
        }
        let moment = moments.before(detaching);
        killed_after(&router, "detach lan0", moment)?;
        let what = format!("{what}, detach after {moment:?}");
        if round % 3 == 0 {
            let status = router.ask("status")?;
            assert!([0, 3].contains(&status.code), "{what}: {status:?}");
        }
        router.ok("detach --all").map_err(|error| error.context(what.clone()))?;
        assert_nothing(&router, &what)?;
    }
    Ok(())
}

#[test]
fn attach_and_detach_by_xdp_and_tcx() -> anyhow::Result<()> {
    attach_and_detach("auto")
}

#[test]
fn attach_and_detach_by_clsact() -> anyhow::Result<()> {
    attach_and_detach("clsact")
}

/// What a kill between making a pin and giving it its name would leave.
#[test]
fn half_written_pins_go_with_all() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    let namespace = std::fs::read_dir(router.bpffs.join("qosbpf/v1"))?.next().expect("a namespace")?.path();
    let status = router.ok("status --json")?.json()?;
    let ingress = namespace.join(format!("if-{}/ingress", status["hooks"][0]["ifindex"]));
    for path in [namespace.join("new-policy"), ingress.join("new-state"), ingress.join("new-baseline")] {
        Array::<MapData, u64>::create(1, 0)?.pin(path)?;
    }
    router.ok("detach --all")?;
    assert_nothing(&router, "detach --all")
}

fn changes_of_policy(hook: &str) -> anyhow::Result<()> {
    let router = Router::start()?;
    let mut moments = Moments::new()?;
    let apply = [("first", FIRST), ("second", SECOND)].map(|(name, text)| router.policy(name, text));
    let [first, second] = apply.map(|path| path.map(|path| format!("policy apply {path}")));
    let commands = [second?, "policy bypass".to_owned(), "policy resume".to_owned(), first?];
    router.ok(&format!("attach lan0 --hook {hook}"))?;
    let changing = duration(&router, &commands[3])?;
    let mut sent = 0;
    for round in 0..ROUNDS {
        let line = &commands[round % commands.len()];
        let moment = moments.before(changing);
        killed_after(&router, line, moment)?;
        let what = format!("{hook}, round {round}: {line} killed after {moment:?}");
        let earlier = router.counted("lan0:ingress")?;
        router.ping(false, 184, 2)?;
        sent += 2;
        let now = router.counted("lan0:ingress")?;
        assert_eq!(now.packets()[&184], sent, "{what}: counters survive");
        let marks: Vec<u8> = now.since(&earlier).packets_after().into_keys().collect();
        assert!([[34], [26], [46]].iter().any(|mark| marks == mark), "{what}: left as {marks:?}");
        converges(&router, line, &what)?;
    }
    router.ok("detach --all")?;
    assert_nothing(&router, "detach --all")
}

#[test]
fn changes_of_policy_by_xdp_and_tcx() -> anyhow::Result<()> {
    changes_of_policy("auto")
}

#[test]
fn changes_of_policy_by_clsact() -> anyhow::Result<()> {
    changes_of_policy("clsact")
}
