//! Bad packets on a device without a link header.

use anyhow::{Context as _, ensure};
use qos_common::locate::Link;
use qos_vectors::hook::Arrival;
use qosbpf::{
    hook::Via,
    kernel::object::{Program, Specialisation},
};
use qosbpf_tests::{
    binary::Answer,
    hex,
    host::Host,
    kernel::Kernel,
    lab::{self, Injector},
    router::words,
    tally::Tally,
    tun::Tun,
};

use super::{At, EGRESS, counts_of, specialisations};

const TUN: &str = "l3";
/// Where everything goes that has passed the ingress of that.
const PASSED: &str = "passed";

/// At both mechanisms of TC, and at generic XDP. There, the kernel takes what is remarked of IPv6
/// for a frame with other addresses, and the EtherType for what is before it: `attach` refuses a policy that may do that.
#[test]
fn on_a_layer_3_device() -> anyhow::Result<()> {
    let packets: Vec<Vec<u8>> = qos_vectors::all()
        .into_iter()
        .filter(|vector| vector.link == Link::Layer3 && (1..=1500).contains(&vector.frame.len()))
        .map(|vector| vector.frame)
        .collect();
    let generic = At { program: Program::Xdp, via: Via::XdpGeneric };
    for at in At::ALL.into_iter().filter(|at| !at.via.is_xdp()).chain([generic]) {
        if !at.is_here()? {
            continue;
        }
        for (name, wanted) in specialisations(Link::Layer3)? {
            lab::in_namespace(|| on_this_tun(at, &wanted, &packets)).with_context(|| format!("{at:?}, {name}"))?;
        }
    }
    Ok(())
}

/// What has passed a hook at ingress comes out of another device, right or not: the IP stack behind it would drop most of it.
fn on_this_tun(at: At, wanted: &Specialisation, packets: &[Vec<u8>]) -> anyhow::Result<()> {
    lab::disable_ipv6()?;
    let mut tun = Tun::make(TUN)?;
    lab::ip(&format!("link set {TUN} up\n"))?;
    let mut kernel = Kernel::load(at.program, wanted)?;
    kernel.attach_by(at.via, TUN, lab::index(TUN)?)?;
    let mut passed = if at.program == EGRESS { None } else { Some(passed_on()?) };
    let (injector, mut host) = (Injector::open(TUN)?, Host::new(wanted));
    for packet in packets {
        let arrival = Arrival { origin: at.origin(), ..Arrival::single(packet.len(), 0) };
        let expected = host.receive(packet, &arrival);
        let left = if let Some(passed) = &mut passed {
            tun.deliver(packet)?;
            passed.receive()
        } else {
            injector.send(packet)?;
            tun.receive()
        };
        let left = left.with_context(|| hex(packet))?;
        ensure!(left == expected, "{} left as {} instead of {}", hex(packet), hex(&left), hex(&expected));
    }
    let expected = host.counts();
    let counted = counts_of(&mut kernel, Tally::from(&expected).frames())?;
    ensure!(counted == expected, "{:?} instead of {:?}, or the matrix", Tally::from(&counted), Tally::from(&expected));
    Ok(())
}

/// Redirects, behind every other program and filter, what they have passed on; `u32` would not match one of three bytes.
fn passed_on() -> anyhow::Result<Tun> {
    const ALL: &str = "1,6 0 0 4294967295,";
    let passed = Tun::make(PASSED)?;
    lab::ip(&format!("link set {PASSED} up\n"))?;
    Answer::of(&mut words(&format!("tc qdisc replace dev {TUN} clsact")))?.expect(0)?;
    let mut filter = words(&format!("tc filter add dev {TUN} ingress pref 65000 protocol all bpf bytecode"));
    filter.arg(ALL).args(["action", "mirred", "egress", "redirect", "dev", PASSED]);
    Answer::of(&mut filter)?.expect(0)?;
    Ok(passed)
}
