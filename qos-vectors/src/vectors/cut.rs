//! Every combination of headers, cut at every byte.

use qos_common::locate::{Family, Link};

use super::{EF_ECT0, ETHERNET, ip, malformed, not_ip};
use crate::{
    Vector,
    frame::{Ipv4, Ipv6, Tag, authentication, ether_type, ethernet, extension, fragment, protocol, udp},
};

const TAGS: [Tag; 4] = [(0x88a8, 1000), (0x8100, 100), (0x8100, 200), (0x8100, 300)];

/// An IP packet, and from how many bytes on its transport header can be told.
struct Whole {
    name: &'static str,
    family: Family,
    packet: Vec<u8>,
    transport: (u8, usize),
    told_from: usize,
}

pub fn all() -> Vec<Vector> {
    let packets = packets();
    let ethernet = packets.iter().flat_map(|whole| (0..=TAGS.len()).flat_map(|tags| behind_tags(whole, tags)));
    let bare = packets.iter().flat_map(|whole| {
        (0..=whole.packet.len()).map(|length| {
            let name = format!("cut layer 3 {} at {length}", whole.name);
            let vector =
                if length == 0 { not_ip(name, Vec::new()) } else { cut(name, whole, 0, &whole.packet[..length]) };
            Vector { link: Link::Layer3, ..vector }
        })
    });
    let zeros = (0..=64).map(|length| not_ip(format!("cut zeros at {length}"), vec![0; length]));
    ethernet.chain(bare).chain(zeros).collect()
}

fn packets() -> Vec<Whole> {
    let options = Ipv4 { ds: EF_ECT0, options: vec![1; 8], ..Ipv4::default() };
    let chain = [
        extension(protocol::AH, 0),
        authentication(protocol::FRAGMENT, 1),
        fragment(protocol::UDP, 1, 0),
        udp(b"data"),
    ];
    vec![
        Whole {
            name: "IPv4",
            family: Family::V4,
            packet: Ipv4 { options: Vec::new(), ..options.clone() }.packet(&udp(b"data")),
            transport: (protocol::UDP, 20),
            told_from: 20,
        },
        Whole {
            name: "IPv4 with options",
            family: Family::V4,
            packet: options.packet(&udp(b"data")),
            transport: (protocol::UDP, 28),
            told_from: 20,
        },
        Whole {
            name: "IPv6",
            family: Family::V6,
            packet: Ipv6 { ds: EF_ECT0, ..Ipv6::default() }.packet(&udp(b"data")),
            transport: (protocol::UDP, 40),
            told_from: 40,
        },
        Whole {
            name: "IPv6 with three extension headers",
            family: Family::V6,
            packet: Ipv6 { ds: EF_ECT0, next: protocol::HOP_BY_HOP, ..Ipv6::default() }.packet(&chain.concat()),
            transport: (protocol::UDP, 72),
            told_from: 64 + 4,
        },
    ]
}

fn behind_tags(whole: &Whole, tags: usize) -> Vec<Vector> {
    let kind = if whole.family == Family::V4 { ether_type::IPV4 } else { ether_type::IPV6 };
    let frame = ethernet(&TAGS[..tags], kind, &whole.packet);
    let offset = ETHERNET + 4 * tags;
    let at = |length| {
        let name = format!("cut {} behind {tags} tags at {length}", whole.name);
        if length < offset {
            not_ip(name, frame[..length].to_vec())
        } else {
            cut(name, whole, offset, &frame[..length])
        }
    };
    (0..=frame.len()).map(at).collect()
}

/// `frame` has its whole link header, of `offset` bytes.
fn cut(name: String, whole: &Whole, offset: usize, frame: &[u8]) -> Vector {
    let there = frame.len() - offset;
    let needed = if whole.family == Family::V4 { 20 } else { 40 };
    if there < needed {
        return malformed(name, frame.to_vec());
    }
    let transport = (there >= whole.told_from).then_some(whole.transport);
    ip(name, frame.to_vec(), (whole.family, offset, EF_ECT0), transport)
}
