//! What a packet takes that rules decide on: 16 and 1,024 of them, and one that meters.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use anyhow::ensure;
use qos_common::locate::Link;
use qos_vectors::frame::{Ipv4, Ipv6, ether_type, ethernet, protocol, udp};
use qosbpf::{
    hook::Direction,
    kernel::object::{Form, Program, Specialisation},
};
use qosbpf_tests::{
    tables,
    walk::{Context, INGRESS_IFINDEX, Walk, Walker},
};

use super::packets::{GSO_SEGS, GSO_SIZE};

/// Where every rule is in one word of the rows, and where the rows are full.
const COUNTS: [u16; 2] = [16, 1024];

/// The packet's port, and that of the last rule.
const PORT: u16 = 9;

/// All packets through all programs, by rules that keep their mark.
pub fn measure() -> anyhow::Result<BTreeMap<String, Walk>> {
    let searched = COUNTS.map(|count| (Form::Rules, format!("{count} rules"), searched(count)));
    let metered = [(Form::Rules, "lock"), (Form::Swap, "swap")]
        .map(|(form, how)| (form, format!("trTCM by {how}"), METERED.to_owned()));
    let mut walks = BTreeMap::new();
    for program in [Program::Xdp, Program::Tc(Direction::Ingress), Program::Tc(Direction::Egress)] {
        for (form, kind, text) in searched.iter().chain(&metered) {
            walks.extend(walk(program, *form, kind, text)?);
        }
    }
    Ok(walks)
}

fn walk(program: Program, form: Form, kind: &str, text: &str) -> anyhow::Result<BTreeMap<String, Walk>> {
    let (tables, context) =
        (tables::rules(text)?, if program == Program::Xdp { Context::Xdp } else { super::packets::PLAIN });
    let wanted = Specialisation { rules: Some(Arc::new(tables)), ..Specialisation::counting(Link::Ethernet) };
    let mut walks = BTreeMap::new();
    for (name, frame) in frames() {
        let mut walker = Walker::of(program.entry(form), &wanted)?;
        let walk = walker.run(&mut frame.clone(), context)?;
        // A decided packet is found in a record, and counted by rule.
        ensure!(walk.lookups > 4, "{} {kind}: {name} met no rule", program.name());
        walks.insert(format!("{} {kind}, {name}", program.name()), walk);
    }
    Ok(walks)
}

/// Rules that ask for source, destination, protocol and port; all fields of the packet are those of the last one.
fn searched(count: u16) -> String {
    (0..count).rev().fold(HEAD.to_owned(), |mut text, number| {
        let [high, low] = number.to_be_bytes();
        let _infallible = write!(
            text,
            r#"
            [[rule]]
            name = "rule {number}"
            on = "all"
            match.src = ["10.{high}.{low}.0/24", "2001:db8:0:{number:x}::/64"]
            match.dst = ["11.{high}.{low}.0/24", "2001:db8:1:{number:x}::/64"]
            match.proto = "udp"
            match.dst-port = {}
            set = "keep"
            "#,
            PORT + number
        );
        text
    })
}

const HEAD: &str = "version = 1\nname = \"walk\"\n";

const METERED: &str = r#"
version = 1
name = "walk"

[[rule]]
name = "metered"
on = "all"
match.proto = "udp"
meter = { type = "trtcm", cir = "8mbit", cbs = "20kB", pir = "16mbit", pbs = "20kB" }
"#;

fn frames() -> [(&'static str, Vec<u8>); 2] {
    let datagram = udp(&[0; 18]);
    let (mut ipv4, mut ipv6) = (Ipv4::default().packet(&datagram), Ipv6::default().packet(&datagram));
    ipv4[12..20].copy_from_slice(&[10, 0, 0, 1, 11, 0, 0, 1]);
    let network = |side| [0x20, 0x01, 0x0d, 0xb8, 0, side, 0, 0];
    ipv6[8..16].copy_from_slice(&network(0));
    ipv6[24..32].copy_from_slice(&network(1));
    for packet in [(&mut ipv4, 22), (&mut ipv6, 42)] {
        let (packet, at) = packet;
        packet[at..at + 2].copy_from_slice(&PORT.to_be_bytes());
    }
    [("IPv4", ethernet(&[], ether_type::IPV4, &ipv4)), ("IPv6", ethernet(&[], ether_type::IPV6, &ipv6))]
}

/// A super-packet may be a list of packets, which cannot be taken apart any more once payload has moved between them. One
/// that is no list may have any part of its headers elsewhere.
#[test]
fn a_super_packet_is_pulled_only_without_its_ip_header() -> anyhow::Result<()> {
    let [(_, ipv4), (_, ipv6)] = frames();
    for program in [Program::Tc(Direction::Ingress), Program::Tc(Direction::Egress)] {
        for (form, frame) in [(Form::Rules, &ipv4), (Form::Rules, &ipv6), (Form::Inside, &ipv4), (Form::Inside, &ipv6)]
        {
            // Up to the end of the UDP header, as in a list.
            let headers = frame.len() - 18;
            let single = asks(program, form, Link::Ethernet, frame, headers, PIECES)?;
            assert!(single, "{} {form:?}: one packet in pieces", program.name());
            let list = [PIECES, &[(GSO_SIZE, 18), (GSO_SEGS, 80)]].concat();
            let pulls = |linear| asks(program, form, Link::Ethernet, frame, linear, &list);
            assert!(!pulls(headers)?, "{} {form:?}: a list", program.name());
            assert!(!pulls(headers - 8)?, "{} {form:?}: up to the end of the IP header", program.name());
            assert!(pulls(headers - 9)?, "{} {form:?}: not even that", program.name());
        }
    }
    Ok(())
}

/// Whether more is asked for of a packet of which only so much is linear.
fn pulls(program: Program, link: Link, frame: &[u8], linear: usize) -> anyhow::Result<bool> {
    asks(program, Form::Rules, link, frame, linear, PIECES)
}

fn asks(
    program: Program,
    form: Form,
    link: Link,
    frame: &[u8],
    linear: usize,
    fields: &[(usize, u32)],
) -> anyhow::Result<bool> {
    let rules = Some(Arc::new(tables::rules(&searched(16))?));
    let wanted = Specialisation { rules, ..Specialisation::counting(link) };
    let mut linear_part = frame.to_vec();
    linear_part.resize(linear, 0);
    let walk = Walker::of(program.entry(form), &wanted)?.run(&mut linear_part, Context::Skb(fields))?;
    Ok(walk.calls.contains_key("skb_pull_data"))
}

const PIECES: &[(usize, u32)] = &[(LEN, 1514), (INGRESS_IFINDEX, 1)];

/// Where `struct __sk_buff` has the length (`include/uapi/linux/bpf.h`).
const LEN: usize = 0;

/// `GOOD_COPY_LEN` of `drivers/net/virtio_net.c`.
const VIRTIO: usize = 128;
const ETHERNET: usize = 14;
const TCP: usize = 20;

#[test]
fn what_is_pulled_is_what_the_headers_may_take() -> anyhow::Result<()> {
    let [(_, ipv4), (_, ipv6)] = frames();
    let with = |frame: &[u8], at: usize, byte: u8| {
        let mut frame = frame.to_vec();
        frame[ETHERNET + at] = byte;
        frame
    };
    let tagged = ethernet(&[(ether_type::TAG, 100)], ether_type::IPV4, &ipv4[ETHERNET..]);
    for program in [Program::Tc(Direction::Ingress), Program::Tc(Direction::Egress)] {
        // What has to be linear, of which one byte less is not enough.
        for (what, frame, enough) in [
            ("IPv4", ipv4.clone(), ETHERNET + 20 + TCP),
            ("all options", with(&ipv4, 0, 0x4f), ETHERNET + 60 + TCP),
            ("IPv6", ipv6.clone(), ETHERNET + 40 + TCP),
        ] {
            assert!(!pulls(program, Link::Ethernet, &frame, enough)?, "{} {what}", program.name());
            assert!(pulls(program, Link::Ethernet, &frame, enough - 1)?, "{} {what}, a byte less", program.name());
        }
        for (what, link, frame) in [
            ("extension headers", Link::Ethernet, with(&ipv6, 6, protocol::HOP_BY_HOP)),
            ("SCTP over IPv6", Link::Ethernet, with(&ipv6, 6, 132)),
            ("a tag", Link::Ethernet, tagged.clone()),
            ("no link header", Link::Layer3, ipv4[ETHERNET..].to_vec()),
        ] {
            assert!(pulls(program, link, &frame, VIRTIO)?, "{} {what}", program.name());
        }
    }
    Ok(())
}
