//! Faults of the machine as a whole, while packets flow: they are made in guests alone, where `QOSBPF_GUEST` is set.
//!
//! One line of standard error says how each went: the matrix of kernels prints them. The last one cannot be taken back.

use std::{
    fs, thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, ensure};
use nix::{
    mount::{MsFlags, mount},
    sys::time::TimeSpec,
    time::{ClockId, clock_settime},
};
use qosbpf_tests::{
    binary::Answer,
    features::{in_guest, left_out},
    flow::{EF, Flow, Outcome},
    router::Router,
    typed::{findings, has, type_in},
};

const POLICY: &str = "[interface.wan0]\negress = \"out\"\n[remark.out]\nEF = \"AF41\"\nother = \"keep\"\n";
const OTHER: &str = "[interface.wan0]\negress = \"out\"\n[remark.out]\nEF = \"AF31\"\nother = \"keep\"\n";
/// Lets all of the flow through its meter, as AF41.
const METERED: &str = "[interface.wan0]\negress = \"out\"\n[remark.out]\nother = \"keep\"\n[[rule]]\nname = \"slow\"\n\
    on = \"wan0:egress\"\nmatch = { dscp = \"EF\", proto = \"udp\" }\n\
    meter = { type = \"trtcm\", cir = \"8gbit\", cbs = \"8MB\", pir = \"8gbit\", pbs = \"8MB\" }\ngreen = \"AF41\"\n";
const AF41: u8 = 34;
const AF31: u8 = 26;

/// A router whose policy is in force, and EF through it.
fn start() -> anyhow::Result<(Router, Flow)> {
    let router = Router::start()?;
    for line in ["attach lan0", "attach wan0"] {
        router.ok(line)?;
    }
    let policy = router.policy("edge", POLICY)?;
    router.ok(&format!("policy apply {policy} --prune"))?;
    let flow = Flow::start(&router)?;
    flow.pass(20)?;
    Ok((router, flow))
}

/// Nothing was lost, and each packet counted.
fn whole(router: &Router, flow: Flow) -> anyhow::Result<Outcome> {
    flow.pass(20)?;
    let outcome = flow.end()?;
    ensure!(outcome.beyond == 0, "{outcome:?}");
    ensure!(outcome.marks.keys().all(|mark| [AF41, AF31].contains(mark)), "{outcome:?}");
    for hook in ["lan0:ingress", "wan0:egress"] {
        let counted = router.counted(hook)?.packets();
        ensure!(counted == [(EF, u64::from(outcome.sent))].into(), "{hook}: {counted:?} of {outcome:?}");
    }
    Ok(outcome)
}

fn set_clock(to: Duration) -> anyhow::Result<()> {
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(to)).context("settimeofday")
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Deadlines are kept by the time since the machine booted, and no time of day makes a command fail.
#[test]
fn a_clock_that_jumps() -> anyhow::Result<()> {
    if !in_guest("a clock that jumps") {
        return Ok(());
    }
    let (router, flow) = start()?;
    let other = router.policy("other", OTHER)?;
    router.ok(&format!("policy apply {other} --prune --confirm 10min"))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    for to in [now + 20 * YEAR, YEAR, now] {
        set_clock(to)?;
        for line in ["status", "stats --rate 0.2", "stats --json", "policy show", "policy history"] {
            router.ok(line).with_context(|| format!("the clock at {to:?}"))?;
        }
        let pending = router.ok("status --json")?.json()?["confirm"].clone();
        ensure!(!pending.is_null(), "the clock at {to:?}: the deadline has passed");
    }
    router.ok("policy confirm")?;
    let back = router.policy("edge", POLICY)?;
    router.ok(&format!("policy apply {back} --prune --confirm 5s"))?;
    set_clock(YEAR)?;
    until_taken_back(&router)?;
    set_clock(now)?;
    let outcome = whole(&router, flow)?;
    router.ok("detach --all")?;
    eprintln!(
        "fault: the clock 20 years ahead, back to 1971, and right again: 0 of {} lost, all counted; a deadline of ten \
         minutes does not pass, and one of five seconds is kept",
        outcome.sent
    );
    Ok(())
}

/// Waits for the end of a deadline, without a command that would keep it.
fn until_taken_back(router: &Router) -> anyhow::Result<()> {
    let (start, pending) = (Instant::now(), router.namespace_folder()?.join("pending"));
    while pending.exists() {
        ensure!(start.elapsed() < Duration::from_secs(60), "the deadline was missed");
        thread::sleep(Duration::from_millis(100));
    }
    let status = router.ok("status --json")?.json()?;
    ensure!(!status["taken_back"].is_null(), "{status}");
    Ok(())
}

const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";

/// The programs are translated for the kernel's interpreter, as on the machines for which the kernel has no JIT.
#[test]
fn an_interpreter_instead_of_the_jit() -> anyhow::Result<()> {
    const WHAT: &str = "the JIT off";
    if !in_guest(WHAT) {
        return Ok(());
    }
    if let Err(why) = fs::write(JIT, "0") {
        left_out(WHAT, &format!("this kernel has no interpreter: {why}"));
        return Ok(());
    }
    let (router, flow) = start()?;
    let found = router.ask("doctor --sample 0")?;
    let is_known = !found.stdout.contains("JIT not known");
    if !is_known {
        left_out("what doctor says of the JIT", "this kernel tells nobody in a network namespace of its own");
    } else {
        found.says(&["JIT off", "sysctl -w net.core.bpf_jit_enable=1"])?;
    }
    let metered = router.policy("metered", METERED)?;
    router.ok(&format!("policy apply {metered} --prune"))?;
    flow.pass(20)?;
    let shown = router.ok("policy show wan0:egress --json")?.json()?;
    let green = &shown["hooks"][0]["rules"][0]["colors"]["green"]["packets"];
    ensure!(green.as_u64() >= Some(20), "{shown}");
    // What the doctor says is the cure; what is attached is loaded anew, and then by a switch to another policy.
    fs::write(JIT, "1").context(JIT)?;
    let asked = router.ask("doctor --sample 0 --json")?;
    for found in findings(&asked)?.iter().filter(|found| found["code"] == "interpreted") {
        type_in(found, None)?.says(&["loaded anew"])?;
    }
    ensure!(
        has(&asked, "interpreted")? == is_known && !has(&router.ask("doctor --sample 0 --json")?, "interpreted")?,
        "{asked:?}"
    );
    let other = router.policy("other", OTHER)?;
    router.ok(&format!("policy apply {other} --prune"))?;
    let outcome = whole(&router, flow)?;
    router.ok("detach --all")?;
    eprintln!(
        "fault: the JIT off, and on again: 0 of {} lost, all counted; tables, rules and meters work, and `doctor` names \
         the cure",
        outcome.sent
    );
    Ok(())
}

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

#[test]
fn lockdown_for_confidentiality() -> anyhow::Result<()> {
    if !in_guest("lockdown") {
        return Ok(());
    }
    let (router, flow) = start()?;
    if !fs::exists(LOCKDOWN)? {
        mount(Some("securityfs"), "/sys/kernel/security", Some("securityfs"), MsFlags::empty(), None::<&str>)?;
    }
    if !fs::exists(LOCKDOWN)? {
        eprintln!("left out: lockdown: this kernel does not have it");
        return Ok(());
    }
    fs::write(LOCKDOWN, "confidentiality").context(LOCKDOWN)?;
    let mode = fs::read_to_string(LOCKDOWN)?;
    ensure!(mode.contains("[confidentiality]"), "{mode}");
    let other = router.policy("other", OTHER)?;
    for line in
        ["status", "stats", &format!("policy apply {other} --prune"), "detach lan0:egress", "attach lan0 --egress"]
    {
        router.ok(line)?;
    }
    let mut explain = router.command("policy explain wan0:egress")?;
    // All that an older kernel can try at egress is a packet that this host made.
    Answer::of(explain.arg("udp 192.0.2.2:1 > 198.51.100.2:2 dscp EF origin local"))?.expect(0)?;
    let outcome = whole(&router, flow)?;
    router.ok("detach --all")?;
    eprintln!(
        "fault: lockdown for confidentiality: 0 of {} lost, all counted; everything works: attach, apply, explain, \
         stats, detach",
        outcome.sent
    );
    Ok(())
}
