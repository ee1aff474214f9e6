//! Hooks that the policy does not bind.

use anyhow::{Context as _, ensure};
use qosbpf_tests::{router::run_in, service::Lab, typed::shell};

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
