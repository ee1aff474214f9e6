//! `run --once`, for images without a service manager.

use std::{fs, path::PathBuf};

use nix::mount::{MntFlags, umount2};
use qosbpf::kernel::bpffs;
use qosbpf_tests::{
    binary::{self, Answer},
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

/// Not even a bpf file system is mounted.
#[test]
fn who_is_refused_since_another_one_serves_has_changed_nothing() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let (other, etc) = (lab.router.folder().join("other"), lab.etc("").display().to_string());
    fs::create_dir(&other)?;
    for line in ["run --once", "run"] {
        let mut command = binary::command(&["--netns", lab.router.edge().name(), "--etc", &etc, "--bpffs"])?;
        let refused = Answer::of(command.arg(&other).args(line.split(' ')));
        let mounted = bpffs::is_mounted(&other);
        if mounted {
            umount2(&other, MntFlags::MNT_DETACH)?;
        }
        refused?.expect(1)?.complains(&["qosbpf run serves this network namespace already"])?;
        anyhow::ensure!(!mounted, "{line}");
    }
    Ok(())
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
