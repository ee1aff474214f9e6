//! A second reader of the outermost IP header, written from the rules and not from the data path.
//!
//! It walks a shrinking slice and knows the lengths of headers, where the data path adds offsets and reads fixed sizes:
//! a slip in one of the two is unlikely to be in the other.

use qos_common::{
    ds::DsField,
    inside::Inside,
    locate::{Family, Header, Link, Located},
};

use crate::frame::ether_type;

/// Tags that may precede the IP header, one in metadata included.
const MOST_TAGS: usize = 4;

/// Labels that may.
const MOST_LABELS: usize = 8;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Where its IP header is.
    pub located: Located,
    /// Whether it ends within its link header or a tag.
    pub too_short: bool,
}

const NOT_IP: Reading = Reading { located: Located::NotIp, too_short: false };
const TOO_SHORT: Reading = Reading { located: Located::NotIp, too_short: true };
const MALFORMED: Reading = Reading { located: Located::Malformed, too_short: false };

/// Reads a frame; `stripped_tags` count as if they stood in it.
#[must_use]
pub fn read(frame: &[u8], link: Link, stripped_tags: usize) -> Reading {
    read_inside(frame, link, Inside::NOTHING, stripped_tags)
}

/// The same, also behind the headers of `inside`.
#[must_use]
pub fn read_inside(frame: &[u8], link: Link, inside: Inside, stripped_tags: usize) -> Reading {
    match (link, frame) {
        (Link::Ethernet, [_, _, _, _, _, _, _, _, _, _, _, _, typed @ ..]) => {
            tagged(frame.len(), typed, stripped_tags, inside)
        }
        (Link::Ethernet, _) | (Link::Layer3, []) => TOO_SHORT,
        (Link::Layer3, [first, ..]) => match first >> 4 {
            4 => usable_v4(frame.len(), frame),
            6 => usable_v6(frame.len(), frame),
            _ => MALFORMED,
        },
    }
}

/// `rest` begins with an EtherType.
fn tagged(length: usize, rest: &[u8], tags_so_far: usize, inside: Inside) -> Reading {
    let [high, low, rest @ ..] = rest else { return TOO_SHORT };
    match u16::from_be_bytes([*high, *low]) {
        ether_type::IPV4 => usable_v4(length, rest),
        ether_type::IPV6 => usable_v6(length, rest),
        ether_type::TAG | ether_type::SERVICE_TAG => match rest {
            [_, _, _, _, ..] if tags_so_far < MOST_TAGS => tagged(length, &rest[2..], tags_so_far + 1, inside),
            [_, _, _, _, ..] => NOT_IP,
            _ => TOO_SHORT,
        },
        ether_type::PPPOE_SESSION if inside.has(Inside::PPPOE) => session(length, rest),
        ether_type::MPLS | ether_type::MPLS_MULTICAST if inside.has(Inside::MPLS) => labelled(length, rest),
        _ => NOT_IP,
    }
}

/// `rest` begins with a PPPoE header (RFC 2516 section 4).
fn session(length: usize, rest: &[u8]) -> Reading {
    let ([version_and_type, code, _, _, _, _, ppp @ ..], [_, _, _, _, _, _, _, _, ..]) = (rest, rest) else {
        return TOO_SHORT;
    };
    let is_data = version_and_type >> 4 == 1 && version_and_type & 15 == 1 && *code == 0;
    // A protocol's last byte alone is odd (RFC 1661 section 2).
    let end = ppp.iter().position(|byte| byte % 2 == 1);
    let (protocol, packet) = match end {
        Some(0) => (u16::from(ppp[0]), &ppp[1..]),
        _ => (u16::from(ppp[0]) * 256 + u16::from(ppp[1]), &ppp[2..]),
    };
    match protocol {
        0x0021 if is_data => usable_v4(length, packet),
        0x0057 if is_data => usable_v6(length, packet),
        _ => NOT_IP,
    }
}

/// `rest` begins with a label stack entry (RFC 3032 section 2.1).
fn labelled(length: usize, rest: &[u8]) -> Reading {
    let entries = rest.chunks_exact(4).map(|entry| u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]));
    let Some(bottom) = entries.take(MOST_LABELS).position(|entry| entry / 256 % 2 == 1) else {
        return Reading { too_short: rest.len() < 4 * MOST_LABELS, ..NOT_IP };
    };
    match &rest[4 * (bottom + 1)..] {
        [] | [_] => TOO_SHORT,
        packet if packet[0] / 16 == 4 => usable_v4(length, packet),
        packet if packet[0] / 16 == 6 => usable_v6(length, packet),
        _ => NOT_IP,
    }
}

fn usable_v4(length: usize, packet: &[u8]) -> Reading {
    if packet.len() < 20 || packet[0] / 16 != 4 || packet[0] % 16 < 5 {
        return MALFORMED;
    }
    ip(Family::V4, length - packet.len(), packet[1])
}

fn usable_v6(length: usize, packet: &[u8]) -> Reading {
    if packet.len() < 40 || packet[0] / 16 != 6 {
        return MALFORMED;
    }
    ip(Family::V6, length - packet.len(), (u16::from_be_bytes([packet[0], packet[1]]) / 16 % 256) as u8)
}

fn ip(family: Family, offset: usize, ds: u8) -> Reading {
    Reading { located: Located::Ip(Header { family, offset, ds: DsField::new(ds) }), too_short: false }
}
