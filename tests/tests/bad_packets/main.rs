//! Bad packets on real interfaces: every vector goes through each mechanism and out of the other side, as it went in or
//! rightly remarked, and counts as on the host. Test runs of the same are in `agreement.rs`.

mod layer3;

use std::{
    fs, io,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use qos_common::{
    inside::Inside,
    locate::{Link, Located},
    policy::{Local, Origin},
};
use qos_vectors::hook::Arrival;
use qosbpf::{
    hook::{Direction, Via},
    kernel::object::{Program, Specialisation},
    snapshot::Counts,
};
use qosbpf_tests::{
    features::Feature,
    hex,
    host::Host,
    kernel::Kernel,
    lab::{self, Injector},
    tables,
    tagged::{Received, Tagged},
    tally::Tally,
};

/// What is behind the far end of the cable.
const BEYOND: &str = "beyond";

/// Each entry of the list, and what the names of its vectors have in them.
const LIST: [(&str, &[&str]); 25] = [
    ("every length from 0 to 64", &["cut zeros at 0", "cut zeros at 13", "cut zeros at 64"]),
    ("every truncation point", &["cut IPv4 with options behind 4 tags at 31", "cut layer 3 IPv6 at 39"]),
    ("IHL below 5", &["IPv4, version 4, IHL 0", "IPv4, version 4, IHL 4"]),
    ("IHL beyond the data", &["IPv4, IHL beyond the data"]),
    ("the wrong version", &["IPv6 under the EtherType of IPv4", "IPv4 under the EtherType of IPv6"]),
    ("a length shorter than the frame", &["IPv4, total length shorter than the frame", "payload length shorter"]),
    ("a length longer than the frame", &["IPv4, total length longer than the frame", "payload length longer"]),
    ("options", &["IPv4, option router alert", "IPv4, option longer than the header"]),
    ("first fragments", &["IPv4, first fragment", "IPv6, the first fragment"]),
    ("later fragments", &["IPv4, later fragment", "IPv6, a later fragment"]),
    ("atomic fragments", &["an atomic fragment (RFC 6946)"]),
    ("ten extension headers", &["10 extension headers"]),
    ("an extension header at the end", &["an extension header that ends at the last byte"]),
    ("ESP", &["IPv4, ESP", "IPv6, ESP"]),
    ("no next header", &["IPv6, no next header"]),
    ("jumbograms", &["a jumbogram (RFC 2675)"]),
    ("a wrong checksum", &["IPv4, checksum 0x0001, wrong"]),
    ("checksums at the edges", &["IPv4, checksum 0x0000, right", "IPv4, checksum 0xffff, right as well"]),
    ("three VLAN tags", &["V4 behind three tags", "V6 behind three tags"]),
    ("a tag with nothing behind it", &["a C-tag with nothing behind it", "a whole C-tag, then nothing"]),
    ("LLC/SNAP", &["LLC/SNAP with IPv4"]),
    ("PPPoE discovery", &["PPPoE discovery"]),
    ("PPPoE sessions", &["PPPoE session with IPv4", "PPPoE session with IPv6", "PPPoE session with LCP"]),
    ("MPLS", &["MPLS with IPv4"]),
    ("ARP", &["ARP"]),
];

#[test]
fn every_entry_of_the_list_has_vectors() {
    let vectors = qos_vectors::all();
    let has = |part: &str, link: Link| {
        vectors.iter().find(|vector| vector.link == link && vector.name.contains(part)).map(|vector| vector.expect)
    };
    for (entry, parts) in LIST {
        for part in parts {
            let (ethernet, layer3) = (has(part, Link::Ethernet), has(part, Link::Layer3));
            assert!(ethernet.or(layer3).is_some(), "{entry}: no vector has `{part}` in its name");
            // What comes between is not there without a link header, nor is what is cut behind one.
            let of_the_header = part.starts_with("IPv") && matches!(ethernet, Some(Located::Ip(_)));
            assert!(!of_the_header || layer3.is_some(), "{entry}: no vector has `{part}` without a link header");
        }
    }
}

/// A hook of the cable: the program, by which mechanism, and at which end.
#[derive(Clone, Copy, Debug)]
struct At {
    program: Program,
    via: Via,
}

const INGRESS: Program = Program::Tc(Direction::Ingress);
const EGRESS: Program = Program::Tc(Direction::Egress);

impl At {
    const ALL: [Self; 6] = [
        Self { program: Program::Xdp, via: Via::XdpNative },
        Self { program: Program::XdpFrags, via: Via::XdpNative },
        Self { program: INGRESS, via: Via::Tcx },
        Self { program: INGRESS, via: Via::Clsact },
        Self { program: EGRESS, via: Via::Tcx },
        Self { program: EGRESS, via: Via::Clsact },
    ];

    fn is_here(self) -> anyhow::Result<bool> {
        let feature = match (self.program, self.via) {
            (Program::XdpFrags, _) => Feature::Frags,
            (_, Via::Tcx) => Feature::Tcx,
            _ => return Ok(true),
        };
        Ok(!feature.leaves_out(&format!("bad packets at {} by {}", self.program.name(), self.via))?)
    }

    const fn origin(self) -> Origin {
        if matches!(self.program, Program::Tc(Direction::Egress)) { Origin::Local } else { Origin::Forwarded }
    }
}

/// Rules that ask for what is behind the IP header, and a meter that holds everything.
const RULES: &str = r#"
version = 1
name = "bad-packets"
[[rule]]
name = "later fragments"
on = "all"
match.fragment = "later"
set = "CS1"
[[rule]]
name = "low ports"
on = "all"
match = { dst-port = "0-1023", proto-not = "sctp" }
set = "AF11"
[[rule]]
name = "other ports"
on = "all"
match = { src-port-not = 0, vlan-not = 7 }
set = "AF12"
[[rule]]
name = "echo"
on = "all"
match.icmp-type = [8, 128]
set = "AF13"
[[rule]]
name = "short"
on = "all"
match = { length = "0-60", family = "ipv4" }
set = "CS2"
[[rule]]
name = "the rest"
on = "all"
meter = { type = "trtcm", cir = "1gbit", cbs = "1MB", pir = "2gbit", pbs = "1MB" }
green = "AF43"
yellow = "CS7"
red = "CS6"
"#;

/// Counting; remarking; the same where the hook looks inside other headers; and by rules.
fn specialisations(link: Link) -> anyhow::Result<Vec<(&'static str, Specialisation)>> {
    let table = Some(tables::permutation());
    let remarking = Specialisation { table, local: Local::Policy, ..Specialisation::counting(link) };
    let inside = Specialisation { inside: Inside::PPPOE.and(Inside::MPLS), ..remarking.clone() };
    let ruled = Specialisation { rules: Some(Arc::new(tables::rules(RULES)?)), ..remarking.clone() };
    Ok(vec![
        ("counting", Specialisation::counting(link)),
        ("remarking", remarking),
        ("inside", inside),
        ("by rules", ruled),
    ])
}

#[test]
fn on_a_cable() -> anyhow::Result<()> {
    let frames = frames();
    for at in At::ALL {
        if !at.is_here()? {
            continue;
        }
        for (name, wanted) in specialisations(Link::Ethernet)? {
            lab::in_namespace(|| on_this_cable(at, &wanted, &frames)).with_context(|| format!("{at:?}, {name}"))?;
        }
    }
    Ok(())
}

/// Those that a cable carries: the kernel sends no frame without a whole link header, and drops one that ends less than
/// two bytes behind its first tag. A bridge wants real addresses.
fn frames() -> Vec<(String, Vec<u8>)> {
    const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    let ethernet = qos_vectors::all().into_iter().filter(|vector| vector.link == Link::Ethernet);
    let whole = ethernet.filter(|vector| (14..=14 + lab::MTU).contains(&vector.frame.len()));
    let mut frames = Vec::new();
    for mut vector in whole.filter(|vector| !is_tagged(&vector.frame) || vector.frame.len() >= 20) {
        vector.frame[..12].copy_from_slice(&ADDRESSES);
        frames.push((vector.name, vector.frame));
    }
    frames
}

fn is_tagged(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]))
}

/// Behind the far end is a bridge, and behind that another cable: what comes out there has passed TC ingress.
fn on_this_cable(at: At, wanted: &Specialisation, frames: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    lab::cable()?;
    let ingress = at.program == INGRESS;
    if ingress {
        pass_by_netfilter()?;
        lab::ip(&format!(
            "link add out mtu {mtu} type veth peer name {BEYOND} mtu {mtu}\nlink add br0 type bridge mcast_snooping 0\n\
             link set {far} master br0\nlink set out master br0\nlink set out arp off up\n\
             link set {BEYOND} arp off up\nlink set br0 arp off up\n",
            mtu = lab::MTU,
            far = lab::FAR,
        ))?;
    }
    let mut kernel = Kernel::load(at.program, wanted)?;
    let end = if at.program == EGRESS { lab::NEAR } else { lab::FAR };
    kernel.attach_by(at.via, end, lab::index(end)?)?;
    let wire = Tagged::start(if ingress { BEYOND } else { lab::FAR })?;
    let (injector, mut host) = (Injector::open(lab::NEAR)?, Host::new(wanted));
    let mut may_come = Vec::new();
    for (name, frame) in frames {
        injector.send(frame)?;
        let arrival = Arrival { origin: at.origin(), ..Arrival::single(frame.len(), 0) };
        let expected = host.receive(frame, &arrival);
        if ingress && is_too_short_for_a_bridge(frame) {
            may_come.push(expected);
            continue;
        }
        let left = next(&wire, &expected, &mut may_come).with_context(|| format!("{name}: {}", hex(frame)))?;
        ensure!(left == expected, "{name}: {} left as {} instead of {}", hex(frame), hex(&left), hex(&expected));
    }
    let expected = host.counts();
    let counted = counts_of(&mut kernel, Tally::from(&expected).frames())?;
    ensure!(counted == expected, "{:?} instead of {:?}, or the matrix", Tally::from(&counted), Tally::from(&expected));
    Ok(())
}

/// What comes out next and was not to be passed over.
fn next(wire: &Tagged, expected: &[u8], may_come: &mut Vec<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    loop {
        let left = whole(wire.receive()?, expected);
        match may_come.iter().position(|short| *short == left) {
            Some(at) if left != expected => may_come.drain(..=at),
            _ => return Ok(left),
        };
    }
}

/// Behind us, a bridge drops a second tag that is cut, and, if netfilter is built into it, a session that ends within its
/// PPPoE header.
fn is_too_short_for_a_bridge(frame: &[u8]) -> bool {
    let rest = if is_tagged(frame) { &frame[16..] } else { &frame[12..] };
    match rest {
        [0x88, 0x64, rest @ ..] => rest.len() < 8,
        [0x81, 0x00, rest @ ..] => rest.len() < 4,
        _ => false,
    }
}

/// A bridge that asks netfilter drops what is not a right IP packet.
fn pass_by_netfilter() -> anyhow::Result<()> {
    for setting in ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"] {
        let path = format!("/proc/sys/net/bridge/{setting}");
        match fs::write(&path, "0") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context(path),
            _ => {}
        }
    }
    Ok(())
}

/// The frame with its tag, which the kernel has taken out of it; of what type it was, the frame that was sent says.
fn whole(received: Received, sent: &[u8]) -> Vec<u8> {
    match received.tag {
        Some(tag) if is_tagged(sent) => {
            [&received.frame[..12], &sent[12..14], &tag.to_be_bytes(), &received.frame[12..]].concat()
        }
        _ => received.frame,
    }
}

/// The counters once that many frames were counted, or as they are after three seconds.
fn counts_of(kernel: &mut Kernel, frames: u64) -> anyhow::Result<Counts> {
    let start = Instant::now();
    loop {
        let counts = kernel.counts()?;
        if Tally::from(&counts).frames() >= frames || start.elapsed() > Duration::from_secs(3) {
            return Ok(counts);
        }
    }
}
