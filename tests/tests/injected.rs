//! What a test run cannot show, on real interfaces: a tag that the kernel has moved into metadata, and packets that are
//! shorter than 14 bytes.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use qos_common::{
    locate::Link,
    policy::{Local, Origin},
};
use qos_vectors::{hook::Arrival, random::sample};
use qosbpf::{
    hook::Direction,
    kernel::object::{Program, Specialisation},
};
use qosbpf_tests::{
    hex,
    host::Host,
    kernel::Kernel,
    lab::{self, Injector},
    tables,
    tally::Tally,
    tun::Tun,
};

const TUN: &str = "l3";

/// An 802.1Q tag with a priority and an id.
const TAG: [u8; 4] = [0x81, 0x00, 0xa0, 0x64];

/// The kernel moves the first tag into metadata before TC ingress, and there is where the data path finds it.
#[test]
fn a_tag_in_metadata_is_as_on_the_host() {
    for (name, wanted) in tables::specialisations(Link::Ethernet) {
        lab::in_namespace(|| tagged(name, &wanted)).unwrap();
    }
}

fn tagged(name: &str, wanted: &Specialisation) -> anyhow::Result<()> {
    lab::cable()?;
    let mut kernel = Kernel::load(Program::Tc(Direction::Ingress), wanted)?;
    kernel.attach(lab::FAR, lab::index(lab::FAR)?)?;
    let injector = Injector::open(lab::NEAR)?;
    let mut host = Host::new(wanted);
    for (sent, frame) in (1..).zip(frames_with_a_stripped_tag()) {
        let (addresses, rest) = frame.split_at(12);
        injector.send(&[addresses, &TAG, rest].concat())?;
        host.receive(&frame, &Arrival::single(frame.len(), 1));
        if sent % 100 == 0 {
            wait_for(&mut kernel, sent)?;
        }
    }
    let expected = host.counts();
    wait_for(&mut kernel, Tally::from(&expected).frames())?;
    let counted = kernel.counts()?;
    let (kernel, host) = (Tally::from(&counted), Tally::from(&expected));
    ensure!(counted == expected, "{name}: {kernel:?} instead of {host:?}, or the remark matrix");
    Ok(())
}

/// The vectors and some random frames. The kernel drops a frame that ends within 2 bytes behind its first tag, so a
/// frame without the tag has 16 bytes at least.
fn frames_with_a_stripped_tag() -> Vec<Vec<u8>> {
    let vectors = qos_vectors::all().into_iter().filter(|vector| vector.stripped_tags == 1).map(|vector| vector.frame);
    let samples = (0..2000).map(sample).filter(|sample| sample.stripped_tags == 1).map(|sample| sample.frame);
    let fits = |frame: &Vec<u8>| (16..=10 + lab::MTU).contains(&frame.len());
    let frames: Vec<_> = vectors.chain(samples).filter(fits).collect();
    assert!(frames.len() > 200, "{} frames", frames.len());
    frames
}

/// Packets that come in by a layer-3 interface, from one byte on.
#[test]
fn short_packets_that_come_in_count_as_on_the_host() {
    for (name, wanted) in tables::specialisations(Link::Layer3) {
        lab::in_namespace(|| {
            let mut tun = quiet_tun()?;
            let mut kernel = Kernel::load(Program::Tc(Direction::Ingress), &wanted)?;
            kernel.attach(TUN, lab::index(TUN)?)?;
            let mut host = Host::new(&wanted);
            for packet in layer3_packets() {
                tun.deliver(&packet)?;
                host.receive(&packet, &Arrival::single(packet.len(), 0));
            }
            let expected = host.counts();
            wait_for(&mut kernel, Tally::from(&expected).frames())?;
            ensure!(kernel.counts()? == expected, "{name}: counters differ");
            Ok(())
        })
        .unwrap();
    }
}

/// Packets that this host sends by a layer-3 interface leave as on the host, byte for byte.
#[test]
fn short_packets_that_leave_are_as_on_the_host() {
    for (name, wanted) in tables::specialisations(Link::Layer3) {
        for local in [Local::Policy, wanted.local] {
            let wanted = Specialisation { local, ..wanted.clone() };
            lab::in_namespace(|| sent_by_tun(name, &wanted)).unwrap();
        }
    }
}

fn sent_by_tun(name: &str, wanted: &Specialisation) -> anyhow::Result<()> {
    let mut tun = quiet_tun()?;
    let mut kernel = Kernel::load(Program::Tc(Direction::Egress), wanted)?;
    kernel.attach(TUN, lab::index(TUN)?)?;
    let (mut host, injector) = (Host::new(wanted), Injector::open(TUN)?);
    for packet in layer3_packets() {
        injector.send(&packet)?;
        let left = tun.receive()?;
        let arrival = Arrival { origin: Origin::Local, ..Arrival::single(packet.len(), 0) };
        let expected = host.receive(&packet, &arrival);
        ensure!(left == expected, "{name}: {} left as {} instead of {}", hex(&packet), hex(&left), hex(&expected));
    }
    ensure!(kernel.counts()? == host.counts(), "{name}: counters differ");
    Ok(())
}

/// On a device without a link header only the kernel's note tells a label stack from an IP header (RFC 3032).
#[test]
fn an_mpls_label_that_begins_like_ip_is_left_alone() {
    const MPLS: u16 = 0x8847;
    let wanted = Specialisation { table: Some(tables::wash()), ..Specialisation::counting(Link::Layer3) };
    lab::in_namespace(|| {
        let mut tun = quiet_tun()?;
        let mut kernel = Kernel::load(Program::Tc(Direction::Egress), &wanted)?;
        kernel.attach(TUN, lab::index(TUN)?)?;
        let packet = [&[0x45, 0xb8, 0x11, 0x40], &[0; 36][..]].concat();
        Injector::open(TUN)?.of_type(MPLS).send(&packet)?;
        ensure!(tun.receive()? == packet, "the packet was changed");
        let counts = kernel.counts()?;
        ensure!(counts.sums.uncounted[0].packets == 1 && Tally::from(&counts).frames() == 1, "{counts:?}");
        Injector::open(TUN)?.of_type(0x0800).send(&packet)?;
        ensure!(tun.receive()? != packet, "as IP it is washed: the table is in force");
        Ok(())
    })
    .unwrap();
}

fn layer3_packets() -> Vec<Vec<u8>> {
    let vectors = qos_vectors::all().into_iter().filter(|vector| vector.link == Link::Layer3);
    let packets: Vec<_> =
        vectors.map(|vector| vector.frame).filter(|frame| (1..=1500).contains(&frame.len())).collect();
    assert!(packets.iter().any(|packet| packet.len() == 1) && packets.iter().any(|packet| packet.len() == 13));
    packets
}

fn quiet_tun() -> anyhow::Result<Tun> {
    lab::disable_ipv6()?;
    let tun = Tun::make(TUN)?;
    lab::ip(&format!("link set {TUN} up\n"))?;
    Ok(tun)
}

/// Waits until that many frames were counted, and a little longer for one too many.
fn wait_for(kernel: &mut Kernel, frames: u64) -> anyhow::Result<()> {
    let start = Instant::now();
    while Tally::from(&kernel.counts()?).frames() < frames && start.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(5));
    Ok(())
}
