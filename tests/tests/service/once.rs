//! `run --once`, for images without a service manager.

use std::path::PathBuf;

use qosbpf_tests::{
    router::run_in,
    service::{Lab, MARK},
};

#[test]
fn once_attaches_and_ends() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    lab.save("edge", &format!("{MARK}[interface.\"ppp*\"]\negress = \"mark\"\n"))?;
    lab.ok("run --once")?.complains(&["policy edge", "lan0:ingress", "attached"])?;
    assert!(lab.five_become(34)?);
    // Again: nothing to do. With a device that has come since: that one.
    lab.ok("run --once")?;
    run_in(lab.router.edge(), "ip link add ppp0 type veth peer name peer0")?;
    lab.ok("run --once")?.complains(&["ppp0:egress"])?;
    lab.becomes("ppp0:egress", "active")?;
    let left = service_folder(&lab)?;
    anyhow::ensure!(!left.exists(), "{} is left", left.display());
    Ok(())
}

/// Where a service of this network namespace has its lock and its socket.
fn service_folder(lab: &Lab) -> anyhow::Result<PathBuf> {
    lab.router.edge().run(qosbpf::cmd::control::folder)
}

#[test]
fn once_says_what_it_could_not_do() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    lab.save("edge", &MARK.replace("AF41", "AF44"))?;
    lab.ask("run --once")?.expect(3)?.complains(&["unknown DSCP `AF44`", "no policy is in force"])?;
    // The loopback device has no XDP in its driver; the other hook is attached all the same.
    let xdp = "[interface.lo]\nhook = \"xdp\"\ningress = \"mark\"\n";
    lab.save("edge", &format!("{MARK}{xdp}"))?;
    lab.ask("run --once")?.expect(3)?.complains(&["lo:ingress", "cannot attach"])?;
    assert!(lab.five_become(34)?);
    Ok(())
}
