//! What helps is a cure where something is wrong, and advice where it may be meant, or no command is at hand.

use std::{fs, os::fd::AsFd as _, path::Path};

use anyhow::Context as _;
use nix::net::if_::if_nametoindex;
use qosbpf_tests::{
    binary::Answer,
    bpf::{Kind, link_xdp, load_constant},
    router::{Router, run_in},
    typed::{find, has, shell},
};

use super::doctor::doctor;

#[test]
fn where_the_policy_binds_the_upper_one_nothing_ends_its_marking() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "ip link add br0 up type bridge")?;
    run_in(router.edge(), "ip link set lan0 master br0")?;
    router.ok("attach lan0 --egress")?;
    let table = "[interface.br0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n";
    let policy = router.policy("p", table)?;
    router.ok(&format!("attach br0 --egress --policy {policy}"))?;
    let answer = doctor(&router)?.expect(0)?;
    let found = find(&answer, "br0", "counted-twice")?;
    assert_eq!(found["level"], "info", "{found:#}");
    let advice = found["advice"].as_str().unwrap_or_default();
    assert!(advice.contains("the policy binds br0:egress: leave it attached"), "{found:#}");
    let script = router.ask("doctor --sample 0 --fix-script")?.expect(0)?;
    assert!(!script.stdout.contains("detach"), "{}", script.stdout);
    router.ok("policy bypass br0:egress")?;
    assert_eq!(find(&doctor(&router)?.expect(3)?, "br0", "counted-twice")?["level"], "info");
    Ok(())
}

/// A router that only counts: what others mark there is theirs.
#[test]
fn what_is_no_fault_has_no_cure() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0")?;
    let mark = "iptables -t mangle -A FORWARD -o wan0 -j DSCP --set-dscp 0x08";
    run_in(router.edge(), mark)?;
    let found = find(&doctor(&router)?.expect(0)?, "wan0", "marked-by-others")?;
    let removal = mark.replace("-A", "-D");
    let advice = found["advice"].as_str().unwrap_or_default();
    assert!(advice.starts_with("to change that: ip netns exec ") && advice.ends_with(&removal), "{found:#}");
    let script = router.ask("doctor --sample 0 --fix-script")?.expect(0)?;
    assert!(!script.stdout.contains("iptables"), "{}", script.stdout);
    let screen = router.ok("doctor wan0 --sample 0")?;
    assert!(screen.stdout.contains("advice: to change that: ") && !screen.stdout.contains("cure: "), "{screen:?}");
    Ok(())
}

#[test]
fn a_command_of_a_tool_that_is_not_installed_is_no_cure() -> anyhow::Result<()> {
    let router = Router::start()?;
    let program = load_constant(Kind::Xdp, c"foreign", 2)?;
    let _link = router.edge().run(|| Ok(link_xdp(program.as_fd(), if_nametoindex(c"lan0")?)?))?;
    let tools = tempfile::tempdir()?;
    let ask = || {
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", tools.path().display());
        let answer = Answer::of(router.command("doctor lan0 --sample 0 --json")?.env("PATH", path))?;
        find(&answer.expect(3)?, "lan0", "xdp-slot-taken")
    };
    let folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/sbin"];
    let is_here = folders.iter().any(|folder| Path::new(folder).join("bpftool").exists());
    let found = ask()?;
    let advice = found["advice"].as_str().unwrap_or_default();
    assert_eq!(found["cure"].is_string(), is_here, "{found:#}");
    assert_eq!(advice.starts_with("bpftool is not installed; with it: ip netns exec "), !is_here, "{found:#}");
    fs::write(tools.path().join("bpftool"), "")?;
    assert!(ask()?["cure"].as_str().is_some_and(|cure| cure.contains("bpftool link detach id ")));
    Ok(())
}

/// Why a hook is where it is was so when it was attached.
#[test]
fn that_the_slot_is_free_by_now_is_said_with_what_moves_the_hook() -> anyhow::Result<()> {
    let router = Router::start()?;
    let program = load_constant(Kind::Xdp, c"foreign", 2)?;
    let link = router.edge().run(|| Ok(link_xdp(program.as_fd(), if_nametoindex(c"lan0")?)?))?;
    let policy = router.policy("p", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router
        .ok(&format!("attach lan0 --ingress --policy {policy}"))?
        .says(&["the XDP slot was taken by program ", "\"foreign\""])?;
    assert!(!has(&doctor(&router)?.expect(3)?, "xdp-slot-free")?);
    drop(link);
    let found = find(&doctor(&router)?.expect(0)?, "lan0", "xdp-slot-free")?;
    let (_, moved) = found["advice"].as_str().and_then(|advice| advice.split_once(": ")).context("a command")?;
    let status = router.ok("status")?;
    assert!(status.stdout.contains("the XDP slot is free now") && status.stdout.contains(moved), "{status:?}");
    assert_eq!(shell(moved, None)?.code, 0, "{moved}");
    router.ok("status --json")?.says(&["xdp-native", "\"table\": \"t\""])?;
    assert!(!has(&doctor(&router)?.expect(0)?, "xdp-slot-free")?);
    Ok(())
}
