//! A device of which the type changes.

use anyhow::ensure;
use qosbpf_tests::{router::run_in, tun::Tun};

use qosbpf_tests::service::{Lab, eventually};

const POLICY: &str = "[interface.tun0]\negress = \"wash\"\n[remark.wash]\nother = \"CS1\"\n";

/// A bare IPv4 packet has its DS field at byte 1, and behind an Ethernet header at byte 15: the program that runs has to
/// be the one for what the device is now.
#[test]
fn the_program_follows_the_type_of_its_device() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    let tun = lab.router.edge().run(|| Tun::make("tun0"))?;
    lab.save("edge", POLICY)?;
    lab.serve()?;
    lab.becomes("tun0:egress", "active")?;
    for (times, kind) in [libc::ARPHRD_ETHER, libc::ARPHRD_NONE].into_iter().enumerate() {
        tun.become_kind(kind)?;
        // One after the other: a look between two changes that cancel each other would see neither.
        let changed = "changed: its device is of another type";
        eventually(|| Ok(lab.log()?.matches(changed).count() > times))?;
    }
    run_in(lab.router.edge(), "ip address add 203.0.113.1/24 dev tun0")?;
    run_in(lab.router.edge(), "ip link set tun0 up")?;
    let mut tun = tun;
    run_in(lab.router.edge(), "ping -c 1 -W 1 -Q 184 203.0.113.2").err();
    let packet = loop {
        let packet = tun.receive()?;
        if packet.first().is_some_and(|byte| byte >> 4 == 4) {
            break packet;
        }
    };
    ensure!(packet.get(1) == Some(&32), "DS byte {:?} instead of CS1", packet.get(1));
    Ok(())
}
