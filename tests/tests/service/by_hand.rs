//! Hooks that the policy does not bind.

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    router::run_in,
    service::{Lab, MARK},
    typed::shell,
};

/// Alarms are about what is wanted: they fire as long as the saved policy is not in force, with the service and without.
#[test]
fn what_was_detached_by_hand_is_down_for_whoever_watches() -> anyhow::Result<()> {
    const UP: &str = "qosbpf_hook_up{device=\"lan0\",direction=\"ingress\"}";
    let mut lab = Lab::serving(MARK)?;
    let says = |text: &str, value: u8| {
        let lines = [format!("{UP} {value}"), format!("qosbpf_policy_saved {value}")];
        lines.iter().all(|line| text.lines().any(|found| found == line))
    };
    let metrics = lab.metrics()?;
    ensure!(says(&metrics, 1), "{metrics}");
    lab.ok("detach --all")?;
    let metrics = lab.metrics()?;
    ensure!(says(&metrics, 0), "{metrics}");
    lab.ask("status")?.expect(3)?.says(&[
        "! lan0:ingress MISSING",
        "which is not in force",
        "run waits for a reload",
    ])?;
    lab.ok("run --reload")?;
    lab.becomes("lan0:ingress", "active")?;
    let metrics = lab.metrics()?;
    ensure!(says(&metrics, 1), "{metrics}");
    lab.stop()?;
    lab.ok("detach --all")?;
    let metrics = lab.ok("stats --prometheus")?.stdout;
    ensure!(says(&metrics, 0), "{metrics}");
    let stats = lab.ok("stats --json")?.json()?;
    ensure!(stats["policy"].is_null() && stats["hooks"][0]["state"] == "missing", "{stats:#}");
    Ok(())
}

/// What somebody attached to a device is not attached to the next one of its name; who wants that is told how.
#[test]
fn a_hook_that_is_not_made_again_with_its_device_is_named_with_what_attaches_it() -> anyhow::Result<()> {
    let lab = Lab::serving("[interface.dyn0]\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n")?;
    let make = || run_in(lab.router.edge(), "ip link add dyn0 type veth peer name peer0");
    make()?;
    lab.becomes("dyn0:egress", "active")?;
    lab.ok("attach dyn0 --ingress --hook clsact")?;
    run_in(lab.router.edge(), "ip link del dyn0")?;
    let command = lab.typed("attach --hook clsact dyn0:ingress");
    lab.says(&[&command])?;
    make()?;
    lab.becomes("dyn0:egress", "active")?;
    let log = lab.log()?;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("does not bind it")).collect();
    let [line] = *lines else { anyhow::bail!("one line: {log}") };
    ensure!(line.contains("WARN") && line.contains(&command), "{line}");
    ensure!(lab.hook("dyn0:ingress")?.is_none(), "it would not have to be said");
    ensure!(shell(&command, None)?.code == 0, "{command}");
    let hook = lab.hook("dyn0:ingress")?.context("the hook")?;
    ensure!(hook["state"] == "counting" && hook["hook"] == "clsact", "{hook:#}");
    Ok(())
}
