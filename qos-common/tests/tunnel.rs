//! What can be seen inside a packet in a packet.

use qos_common::{
    ds::Dscp,
    locate::{Link, Located, locate},
    tunnel::inner,
};
use qos_vectors::frame::{Ipv4, Ipv6, ethernet, extension, fragment, protocol};

const EF: u8 = 0xb9;
const GRE: u8 = 47;

fn v4() -> Vec<u8> {
    Ipv4 { ds: EF, ..Ipv4::default() }.packet(b"payload")
}

fn v6() -> Vec<u8> {
    Ipv6 { ds: EF, ..Ipv6::default() }.packet(b"payload")
}

fn seen(packet: &[u8]) -> Option<Dscp> {
    match locate(packet, Link::Layer3, 0) {
        Located::Ip(header) => inner(packet, &header),
        other => panic!("{other:?}"),
    }
}

fn in_v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    Ipv4 { ds: 0x20, protocol, ..Ipv4::default() }.packet(payload)
}

fn in_v6(next: u8, payload: &[u8]) -> Vec<u8> {
    Ipv6 { ds: 0x20, next, ..Ipv6::default() }.packet(payload)
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    [&[0x30, 0x39][..], &port.to_be_bytes(), &(8 + payload.len() as u16).to_be_bytes(), &[0, 0], payload].concat()
}

fn gre(first: u8, optional: usize, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[first, 0][..], &kind.to_be_bytes(), &vec![0xee; optional], payload].concat()
}

/// Everything in which EF is seen.
fn tunnels() -> Vec<(&'static str, Vec<u8>)> {
    let (tag, vxlan) = ((0x8100, 7), [0x08, 0, 0, 0, 0, 0, 7, 0]);
    let in_vxlan = |frame: &[u8]| [&vxlan[..], frame].concat();
    let geneve = |options: u8, kind: u16, payload: &[u8]| {
        let options_bytes = vec![0; usize::from(options) * 4];
        [&[options, 0][..], &kind.to_be_bytes(), &[0, 0, 7, 0], &options_bytes, payload].concat()
    };
    vec![
        ("IPv4 in IPv4", in_v4(4, &v4())),
        ("IPv6 in IPv4", in_v4(protocol::IPV6, &v6())),
        ("IPv4 in IPv6", in_v6(4, &v4())),
        ("IPv6 in IPv6", in_v6(protocol::IPV6, &v6())),
        ("behind the limit of encapsulation", in_v6(60, &[extension(protocol::IPV6, 0), v6()].concat())),
        ("in a first fragment", in_v6(44, &[fragment(protocol::IPV6, 1, 0), v6()].concat())),
        ("GRE", in_v4(GRE, &gre(0, 0, 0x0800, &v4()))),
        ("GRE with a key", in_v4(GRE, &gre(0x20, 4, 0x86dd, &v6()))),
        ("GRE with all options", in_v4(GRE, &gre(0xb0, 12, 0x0800, &v4()))),
        ("GRE with Ethernet", in_v6(GRE, &gre(0, 0, 0x6558, &ethernet(&[], 0x0800, &v4())))),
        ("VXLAN", in_v4(protocol::UDP, &udp(4789, &in_vxlan(&ethernet(&[], 0x86dd, &v6()))))),
        ("VXLAN, tagged", in_v4(protocol::UDP, &udp(8472, &in_vxlan(&ethernet(&[tag], 0x0800, &v4()))))),
        ("Geneve", in_v4(protocol::UDP, &udp(6081, &geneve(3, 0x6558, &ethernet(&[], 0x0800, &v4()))))),
        ("Geneve with IP", in_v6(protocol::UDP, &udp(6081, &geneve(0, 0x86dd, &v6())))),
    ]
}

#[test]
fn what_is_inside_is_seen() {
    for (name, packet) in tunnels() {
        assert_eq!(seen(&packet), Some(Dscp::EF), "{name}");
    }
}

/// Until the inner header is whole nothing is seen, and nothing panics.
#[test]
fn what_is_cut_is_not() {
    for (name, packet) in tunnels() {
        let least = if packet[0] >> 4 == 4 { 20 } else { 40 };
        let first = (least..packet.len()).find(|length| seen(&packet[..*length]).is_some());
        let inner = packet.len() - b"payload".len();
        assert_eq!(first, Some(inner), "{name}");
    }
}

#[test]
fn what_is_something_else_is_not() {
    let mut later = in_v4(4, &v4());
    later[6..8].copy_from_slice(&[0, 1]);
    let others = [
        ("UDP to another port", in_v4(protocol::UDP, &udp(4790, &v4()))),
        (
            "VXLAN without a network",
            in_v4(protocol::UDP, &udp(4789, &[&[0; 8][..], &ethernet(&[], 0x0800, &v4())].concat())),
        ),
        ("GRE with routing", in_v4(GRE, &gre(0x40, 0, 0x0800, &v4()))),
        ("GRE version 1", in_v4(GRE, &[&[0, 1, 8, 0][..], &v4()].concat())),
        ("GRE with keepalives", in_v4(GRE, &gre(0, 0, 0, &v4()))),
        (
            "ARP in VXLAN",
            in_v4(protocol::UDP, &udp(4789, &[&[8, 0, 0, 0, 0, 0, 7, 0][..], &ethernet(&[], 0x0806, &v4())].concat())),
        ),
        ("IPv6 that says it is IPv4", in_v4(4, &v6())),
        ("ESP", in_v4(protocol::ESP, &v4())),
        ("a later fragment", later),
        ("no tunnel", v4()),
    ];
    for (name, packet) in others {
        assert_eq!(seen(&packet), None, "{name}");
    }
}
