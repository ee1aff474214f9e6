//! IPv6 headers and the chains behind them.

use qos_common::locate::Family;

use super::{EF_ECT0, ETHERNET, ip, malformed};
use crate::{
    Vector,
    frame::{Ipv6, authentication, ether_type, ethernet, extension, fragment, protocol, tcp, udp},
};

/// The kinds whose length is in units of 8 bytes.
const IN_8: [(&str, u8); 6] = [
    ("hop-by-hop options", protocol::HOP_BY_HOP),
    ("a routing header", protocol::ROUTING),
    ("destination options", protocol::DESTINATION),
    ("a mobility header", protocol::MOBILITY),
    ("a HIP header", protocol::HIP),
    ("a Shim6 header", protocol::SHIM6),
];

pub fn all() -> Vec<Vector> {
    [versions(), headers(), lengths(), ends(), extensions(), chains(), fragments()].concat()
}

/// `next` is what the fixed header says, `payload` all that is behind it.
fn usable(name: impl Into<String>, next: u8, payload: &[u8], transport: Option<(u8, usize)>) -> Vector {
    let packet = Ipv6 { ds: EF_ECT0, next, ..Ipv6::default() }.packet(payload);
    from_packet(name, &packet, EF_ECT0, transport)
}

fn from_packet(name: impl Into<String>, packet: &[u8], ds: u8, transport: Option<(u8, usize)>) -> Vector {
    let frame = ethernet(&[], ether_type::IPV6, packet);
    ip(format!("IPv6, {}", name.into()), frame, (Family::V6, ETHERNET, ds), transport)
}

fn versions() -> Vec<Vector> {
    let wrong = |version| {
        let packet = Ipv6 { ds: EF_ECT0, version, ..Ipv6::default() }.packet(&udp(b"payload"));
        malformed(format!("IPv6, version {version}"), ethernet(&[], ether_type::IPV6, &packet))
    };
    (0..16).filter(|version| *version != 6).map(wrong).collect()
}

/// The DS field lies across two bytes: neither nibble may touch its neighbours.
fn headers() -> Vec<Vector> {
    let with = |ds: u8, flow_label: u32| {
        let packet = Ipv6 { ds, flow_label, ..Ipv6::default() }.packet(&udp(b"payload"));
        let name = format!("DS field {ds:#04x}, flow label {flow_label:#07x}");
        from_packet(name, &packet, ds, Some((protocol::UDP, 40)))
    };
    [0x00, 0x0f, 0xf0, 0xff, 0xa5]
        .into_iter()
        .flat_map(|ds| [0, 0xf_ffff, 0xf_0000].map(|label| with(ds, label)))
        .collect()
}

fn lengths() -> Vec<Vector> {
    let with = |name: &str, payload_length: u16| {
        let header = Ipv6 { ds: EF_ECT0, payload_length: Some(payload_length), ..Ipv6::default() };
        from_packet(name, &header.packet(&udp(b"payload")), EF_ECT0, Some((protocol::UDP, 40)))
    };
    let jumbo = [&[protocol::UDP, 0, 0xc2, 4, 0, 1, 0, 0][..], &udp(b"payload")].concat();
    let jumbo =
        Ipv6 { ds: EF_ECT0, next: protocol::HOP_BY_HOP, payload_length: Some(0), ..Ipv6::default() }.packet(&jumbo);
    vec![
        with("payload length 0", 0),
        with("payload length shorter than the frame", 8),
        with("payload length longer than the frame", 1460),
        with("payload length 65535", 65535),
        from_packet("a jumbogram (RFC 2675)", &jumbo, EF_ECT0, Some((protocol::UDP, 48))),
    ]
}

/// Chains that end at the fixed header.
fn ends() -> Vec<Vector> {
    let at_once = |name: &str, next: u8, payload: &[u8]| usable(name, next, payload, Some((next, 40)));
    let inner = Ipv6 { ds: 0x28, ..Ipv6::default() }.packet(&udp(b"payload"));
    vec![
        at_once("UDP", protocol::UDP, &udp(b"payload")),
        at_once("TCP with options", protocol::TCP, &tcp(&[1; 20], b"payload")),
        at_once("ICMPv6", protocol::ICMPV6, &[128, 0, 0, 0, 0, 0, 0, 0]),
        at_once("ESP", protocol::ESP, &[0, 0, 0, 7, 0, 0, 0, 1, 0xaa, 0xaa]),
        at_once("no next header", protocol::NONE, b""),
        at_once("no next header, and bytes behind it", protocol::NONE, b"ignored"),
        at_once("IPv6 in it, of which the outer counts", protocol::IPV6, &inner),
        at_once("protocol 255", 255, b""),
    ]
}

fn extensions() -> Vec<Vector> {
    let behind = |header: Vec<u8>| [header, udp(b"payload")].concat();
    let units = IN_8.into_iter().flat_map(|(name, kind)| {
        [0, 1, 31, 255].map(|more: u8| {
            let length = 8 + usize::from(more) * 8;
            let payload = behind(extension(protocol::UDP, more));
            usable(format!("{name} of {length} bytes"), kind, &payload, Some((protocol::UDP, 40 + length)))
        })
    });
    let words = [0u8, 1, 3, 4, 253].map(|icv| {
        let (length, payload) = (12 + usize::from(icv) * 4, behind(authentication(protocol::UDP, icv)));
        usable(format!("AH of {length} bytes"), protocol::AH, &payload, Some((protocol::UDP, 40 + length)))
    });
    let last = |more| extension(protocol::UDP, more);
    let beyond = Some((protocol::UDP, 40 + 264));
    units
        .chain(words)
        .chain([
            usable("an extension header that ends at the last byte", 0, &last(1), Some((protocol::UDP, 56))),
            usable("an extension header longer than the data", 0, &last(32)[..16], beyond),
            usable("an extension header of which four bytes are there", 0, &last(0)[..4], Some((protocol::UDP, 48))),
            usable("an extension header of which three bytes are there", 0, &last(0)[..3], None),
            usable("an extension header of which nothing is there", 0, b"", None),
        ])
        .collect()
}

/// `count` times destination options, then UDP.
fn chain(count: usize) -> Vec<u8> {
    let next = |index| if index + 1 == count { protocol::UDP } else { protocol::DESTINATION };
    let headers = (0..count).flat_map(|index| extension(next(index), 0));
    headers.chain(udp(b"payload")).collect()
}

fn chains() -> Vec<Vector> {
    let long = [1, 2, 7, 8, 9, 10].map(|count| {
        let transport = (count <= 8).then_some((protocol::UDP, 40 + count * 8));
        usable(format!("{count} extension headers"), protocol::DESTINATION, &chain(count), transport)
    });
    let every_kind = [
        extension(protocol::DESTINATION, 1),
        extension(protocol::ROUTING, 0),
        extension(protocol::FRAGMENT, 2),
        fragment(protocol::AH, 1, 0),
        authentication(protocol::MOBILITY, 3),
        extension(protocol::TCP, 0),
        tcp(&[], b"payload"),
    ];
    let length: usize = every_kind[..6].iter().map(Vec::len).sum();
    let mixed = usable("six kinds of extension header", 0, &every_kind.concat(), Some((protocol::TCP, 40 + length)));
    long.into_iter().chain([mixed]).collect()
}

fn fragments() -> Vec<Vector> {
    let with = |name: &str, field: u16, reserved: u8, first: bool| {
        let payload = [fragment(protocol::UDP, field, reserved), udp(b"payload.")].concat();
        usable(name, protocol::FRAGMENT, &payload, first.then_some((protocol::UDP, 48)))
    };
    vec![
        with("an atomic fragment (RFC 6946)", 0, 0, true),
        with("an atomic fragment, reserved byte set", 0, 255, true),
        with("an atomic fragment, reserved flags set", 0b110, 0, true),
        with("the first fragment", 1, 0, true),
        with("a later fragment", 0b1001, 0, false),
        with("a later fragment, offset in the upper byte alone", 0x0101, 0, false),
        with("the last fragment", 1480, 0, false),
        with("the last fragment at the highest offset", 0xfff8, 255, false),
    ]
}
