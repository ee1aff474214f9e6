//! Packets in packets, with known answers: what a router that encapsulates sends, and what only looks like it.

use qos_common::ds::Dscp;

use crate::frame::{Ipv4, Ipv6, Tag, ether_type, ethernet, extension, fragment, protocol};

/// The DS field inside: EF and ECT(1).
pub const INNER: u8 = 0xb9;

/// The DS field outside: CS1 and ECT(0).
pub const OUTER: u8 = 0x22;

const GRE: u8 = 47;
const VXLAN: [u8; 8] = [0x08, 0, 0, 0, 0, 0, 7, 0];
const TAG: Tag = (ether_type::TAG, 7);

/// An IP packet with another one in it, or none.
#[derive(Clone, Debug)]
pub struct Tunnelled {
    /// What it is.
    pub name: &'static str,
    /// From the outer IP header on.
    pub packet: Vec<u8>,
    /// The codepoint inside, if it can be seen.
    pub inner: Option<Dscp>,
}

impl Tunnelled {
    /// Behind Ethernet and tags.
    #[must_use]
    pub fn frame(&self, tags: &[Tag]) -> Vec<u8> {
        let kind = if self.packet[0] >> 4 == 4 { ether_type::IPV4 } else { ether_type::IPV6 };
        ethernet(tags, kind, &self.packet)
    }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Tunnelled> {
    let seen = seen().into_iter().map(|(name, packet)| Tunnelled { name, packet, inner: Some(Dscp::EF) });
    seen.chain(unseen().into_iter().map(|(name, packet)| Tunnelled { name, packet, inner: None })).collect()
}

fn v4() -> Vec<u8> {
    Ipv4 { ds: INNER, ..Ipv4::default() }.packet(b"payload")
}

fn v6() -> Vec<u8> {
    Ipv6 { ds: INNER, ..Ipv6::default() }.packet(b"payload")
}

fn in_v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    Ipv4 { ds: OUTER, protocol, ..Ipv4::default() }.packet(payload)
}

fn in_v6(next: u8, payload: &[u8]) -> Vec<u8> {
    Ipv6 { ds: OUTER, next, ..Ipv6::default() }.packet(payload)
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    [&[0x30, 0x39][..], &port.to_be_bytes(), &(8 + payload.len() as u16).to_be_bytes(), &[0, 0], payload].concat()
}

fn gre(first: u8, optional: usize, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[first, 0][..], &kind.to_be_bytes(), &vec![0xee; optional], payload].concat()
}

fn vxlan(frame: &[u8]) -> Vec<u8> {
    [&VXLAN[..], frame].concat()
}

fn geneve(options: u8, kind: u16, payload: &[u8]) -> Vec<u8> {
    let bytes = vec![0; usize::from(options) * 4];
    [&[options, 0][..], &kind.to_be_bytes(), &[0, 0, 7, 0], &bytes, payload].concat()
}

/// EF is seen in each, and the inner header is the last thing before 7 bytes of payload.
fn seen() -> Vec<(&'static str, Vec<u8>)> {
    const V4: u16 = ether_type::IPV4;
    const V6: u16 = ether_type::IPV6;
    const UDP: u8 = protocol::UDP;
    vec![
        ("IPv4 in IPv4", in_v4(4, &v4())),
        ("IPv6 in IPv4", in_v4(protocol::IPV6, &v6())),
        ("IPv4 in IPv6", in_v6(4, &v4())),
        ("IPv6 in IPv6", in_v6(protocol::IPV6, &v6())),
        ("IPv4 behind options", Ipv4 { ds: OUTER, protocol: 4, options: vec![1; 8], ..Ipv4::default() }.packet(&v4())),
        ("behind the limit of encapsulation", in_v6(60, &[extension(protocol::IPV6, 0), v6()].concat())),
        ("in a first fragment", in_v6(44, &[fragment(protocol::IPV6, 1, 0), v6()].concat())),
        ("GRE", in_v4(GRE, &gre(0, 0, V4, &v4()))),
        ("GRE with a key", in_v4(GRE, &gre(0x20, 4, V6, &v6()))),
        ("GRE with all options", in_v4(GRE, &gre(0xb0, 12, V4, &v4()))),
        ("GRE with Ethernet", in_v6(GRE, &gre(0, 0, 0x6558, &ethernet(&[], V4, &v4())))),
        ("VXLAN", in_v4(UDP, &udp(4789, &vxlan(&ethernet(&[], V6, &v6()))))),
        ("VXLAN over IPv6", in_v6(UDP, &udp(4789, &vxlan(&ethernet(&[], V6, &v6()))))),
        (
            "VXLAN with a group policy",
            in_v4(UDP, &udp(4789, &[&[0x88][..], &vxlan(&ethernet(&[], V4, &v4()))[1..]].concat())),
        ),
        ("VXLAN, tagged", in_v4(UDP, &udp(8472, &vxlan(&ethernet(&[TAG], V4, &v4()))))),
        ("Geneve", in_v4(UDP, &udp(6081, &geneve(3, 0x6558, &ethernet(&[], V4, &v4()))))),
        ("Geneve with IP", in_v6(UDP, &udp(6081, &geneve(0, V6, &v6())))),
    ]
}

/// Nothing is seen in them, or nothing that says it is IP.
fn unseen() -> Vec<(&'static str, Vec<u8>)> {
    const V4: u16 = ether_type::IPV4;
    const UDP: u8 = protocol::UDP;
    let without_network = [&[0; 8][..], &ethernet(&[], V4, &v4())].concat();
    vec![
        ("UDP to another port", in_v4(UDP, &udp(4790, &vxlan(&ethernet(&[], V4, &v4()))))),
        ("VXLAN without a network", in_v4(UDP, &udp(4789, &without_network))),
        ("two tags in VXLAN", in_v4(UDP, &udp(4789, &vxlan(&ethernet(&[TAG, TAG], V4, &v4()))))),
        ("ARP in VXLAN", in_v4(UDP, &udp(4789, &vxlan(&ethernet(&[], ether_type::ARP, &v4()))))),
        ("Geneve of another version", in_v4(UDP, &udp(6081, &[&[0x40][..], &geneve(0, V4, &v4())[1..]].concat()))),
        ("GRE with routing", in_v4(GRE, &gre(0x40, 0, V4, &v4()))),
        ("GRE version 1", in_v4(GRE, &[&[0, 1, 8, 0][..], &v4()].concat())),
        ("GRE keepalive", in_v4(GRE, &gre(0, 0, 0, &v4()))),
        ("IPv6 that says it is IPv4", in_v4(4, &v6())),
        ("ESP", in_v4(protocol::ESP, &v4())),
        ("a later fragment", Ipv4 { ds: OUTER, protocol: 4, fragment: 1, ..Ipv4::default() }.packet(&v4())),
        ("a later fragment of IPv6", in_v6(44, &[fragment(protocol::IPV6, 8, 0), v6()].concat())),
        ("no tunnel", Ipv4 { ds: OUTER, ..Ipv4::default() }.packet(b"payload")),
    ]
}
