//! Whoever takes the policy out of the path is in a hurry, and does not wait for a large one that is being put in force.

use std::{
    fmt::Write as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use qosbpf::kernel::pins::Store;
use qosbpf_tests::router::{Router, run_in};

/// Beside lan0: so many that all of them take much longer than one.
const DEVICES: usize = 6;
const RULES: usize = 400;

/// The same rules everywhere, which set EF to something else each time.
fn policy(router: &Router, name: &str, dscp: &str, tests: bool) -> anyhow::Result<String> {
    let mut text = String::from("[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"keep\"\n");
    let on: Vec<String> = (0..DEVICES).map(|number| format!("\"many{number}:egress\"")).collect();
    let on = format!("[\"lan0:ingress\", {}]", on.join(", "));
    for number in 0..RULES {
        write!(
            text,
            "[[rule]]\nname = \"rule {number}\"\non = {on}\nmatch = {{ src = \"10.{}.{}.0/24\", proto = \"udp\", \
             dst-port = {} }}\nset = \"{dscp}\"\n",
            number / 250,
            number % 250,
            1024 + number
        )?;
    }
    write!(text, "[[rule]]\nname = \"ef\"\non = {on}\nmatch = {{ dscp = \"EF\" }}\nset = \"{dscp}\"\n")?;
    for number in (0..DEVICES).filter(|_| tests) {
        write!(
            text,
            "[[test]]\nname = \"test {number}\"\non = \"many{number}:egress\"\npacket = \"udp 10.9.9.9:9 > 192.0.2.9:9 dscp \
             EF\"\nexpect = \"{dscp}\"\n"
        )?;
    }
    router.policy(name, &text)
}

fn router() -> anyhow::Result<Router> {
    let router = Router::start()?;
    for number in 0..DEVICES {
        run_in(router.edge(), &format!("ip link add many{number} type veth peer name peer{number}"))?;
    }
    Ok(router)
}

/// Puts a policy in force, and bypasses meanwhile: how long that took, and all of it.
fn bypassed_meanwhile(router: &Router, file: &str) -> anyhow::Result<[Duration; 2]> {
    let store = router.edge().run(|| Store::open(&router.bpffs))?;
    let start = Instant::now();
    let mut apply = router.command(&format!("policy apply {file}"))?.stdout(Stdio::null()).spawn()?;
    while !store.is_busy()? {
        ensure!(apply.try_wait()?.is_none(), "it has ended before it was seen at work");
        thread::sleep(Duration::from_millis(2));
    }
    let asked = Instant::now();
    router.ok("policy bypass")?;
    let waited = asked.elapsed();
    ensure!(apply.try_wait()?.is_none(), "bypass waited for all of it: {waited:?}");
    ensure!(apply.wait()?.success());
    Ok([waited, start.elapsed()])
}

#[test]
fn a_bypass_comes_between_two_programs_of_a_policy_that_is_put_in_force() -> anyhow::Result<()> {
    let router = router()?;
    let (first, second) = (policy(&router, "first", "AF41", false)?, policy(&router, "second", "CS1", true)?);
    router.ok(&format!("policy apply {first} --attach"))?;
    router.ping(false, 184, 3)?;
    assert_eq!(router.counted("lan0:ingress")?.packets_after(), [(34, 3)].into());
    let [waited, all] = bypassed_meanwhile(&router, &second)?;
    eprintln!("bypass took {waited:?}, and the policy of {} hooks {all:?}", DEVICES + 1);
    // The new policy is in force, and out of the path.
    let status = router.ok("status --json")?.json()?;
    let hooks = status["hooks"].as_array().into_iter().flatten();
    assert!(status["policy"]["name"] == "second" && hooks.clone().count() == DEVICES + 1, "{status:#}");
    for hook in hooks {
        assert!(hook["state"] == "bypassed" && hook["policy_hash"] == status["policy"]["hash"], "{hook:#}");
    }
    router.ping(false, 184, 3)?;
    assert_eq!(router.counted("lan0:ingress")?.packets_after(), [(34, 3), (46, 3)].into());
    router.ok("policy resume")?;
    router.ping(false, 184, 3)?;
    assert_eq!(router.counted("lan0:ingress")?.packets_after(), [(34, 3), (46, 3), (8, 3)].into());
    Ok(())
}
