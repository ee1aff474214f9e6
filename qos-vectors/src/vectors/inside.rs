//! Headers that a hook looks behind if it is told to: PPPoE sessions and label stacks.

use qos_common::{inside::Inside, locate::Family};

use super::{EF_ECT0, ETHERNET, ip, malformed, not_ip};
use crate::{
    Vector,
    frame::{Ipv4, Ipv6, Tag, ether_type, ethernet, labels, protocol, session, tcp, udp},
};

const BOTH: Inside = Inside::PPPOE.and(Inside::MPLS);
const TAGS: [Tag; 4] = [(ether_type::SERVICE_TAG, 1000), (ether_type::TAG, 1), (ether_type::TAG, 2), (0x8100, 3)];

pub fn all() -> Vec<Vector> {
    [whole(), cut(), sessions(), stacks(), switched_off()].concat().into_iter().map(at_both).collect()
}

/// Looked at by a hook that looks behind both, unless the vector says otherwise.
fn at_both(vector: Vector) -> Vector {
    let inside = if vector.inside.is_nothing() { BOTH } else { vector.inside };
    Vector { name: format!("inside: {}", vector.name), inside, ..vector }
}

fn v4() -> Vec<u8> {
    Ipv4 { ds: EF_ECT0, ..Ipv4::default() }.packet(&udp(b"payload"))
}

fn v6() -> Vec<u8> {
    Ipv6 { ds: EF_ECT0, next: protocol::TCP, ..Ipv6::default() }.packet(&tcp(&[1; 4], b"payload"))
}

/// What may be before an IP packet.
struct Cover {
    name: String,
    kind: u16,
    header: Vec<u8>,
    /// From how many bytes of packet on one can tell that it is IP.
    told_from: usize,
}

fn covers(family: Family) -> Vec<Cover> {
    let (long, short) = if family == Family::V4 { ([0, 0x21], [0x21]) } else { ([0, 0x57], [0x57]) };
    let session = |name: &str, protocol: &[u8], told_from| {
        let (kind, header) = (ether_type::PPPOE_SESSION, session(protocol, &[]));
        Cover { name: name.to_owned(), kind, header, told_from }
    };
    let stack = |count| {
        let (name, header) = (format!("{count} labels"), labels(count, &[]));
        Cover { name, kind: ether_type::MPLS, header, told_from: 2 }
    };
    let mut covers = vec![session("a session", &long, 0), session("a session, compressed", &short, 1)];
    covers.extend([1, 2, 3, 8].map(stack));
    covers.push(Cover { name: "a multicast label".to_owned(), kind: ether_type::MPLS_MULTICAST, ..stack(1) });
    covers
}

fn packets() -> [(Family, Vec<u8>, (u8, usize)); 2] {
    [(Family::V4, v4(), (protocol::UDP, 20)), (Family::V6, v6(), (protocol::TCP, 40))]
}

/// Each behind no tag to four, one of them perhaps in metadata.
fn whole() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (family, packet, transport) in packets() {
        for (tags, cover) in
            (0..=TAGS.len()).flat_map(|tags| covers(family).into_iter().map(move |cover| (tags, cover)))
        {
            let frame = ethernet(&TAGS[..tags], cover.kind, &[&cover.header[..], &packet].concat());
            let offset = ETHERNET + 4 * tags + cover.header.len();
            let name = format!("{family:?} behind {tags} tags and {}", cover.name);
            let vector = ip(name, frame, (family, offset, EF_ECT0), Some(transport));
            vectors.extend((tags < 4).then(|| vector.clone().stripped()));
            vectors.push(vector);
        }
    }
    vectors
}

/// Cut at every byte behind the Ethernet header.
fn cut() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (family, packet, (protocol, distance)) in packets() {
        for cover in covers(family) {
            let whole = ethernet(&[], cover.kind, &[&cover.header[..], &packet].concat());
            let (offset, needed) = (ETHERNET + cover.header.len(), if family == Family::V4 { 20 } else { 40 });
            vectors.extend((ETHERNET..whole.len()).map(|length| {
                let name = format!("cut {family:?} behind {} at {length}", cover.name);
                let frame = whole[..length].to_vec();
                match length.checked_sub(offset) {
                    Some(there) if there >= needed => {
                        ip(name, frame, (family, offset, EF_ECT0), Some((protocol, distance)))
                    }
                    Some(there) if there >= cover.told_from => malformed(name, frame),
                    _ => not_ip(name, frame),
                }
            }));
        }
    }
    vectors
}

/// What a session may have in it, or be.
fn sessions() -> Vec<Vector> {
    let frame = |rest: &[u8]| ethernet(&[], ether_type::PPPOE_SESSION, rest);
    let of = |protocol: &[u8], packet: &[u8]| frame(&session(protocol, packet));
    let with = |at: usize, byte: u8| {
        let mut frame = of(&[0, 0x21], &v4());
        frame[ETHERNET + at] = byte;
        frame
    };
    let there = |name: &str, frame| ip(name, frame, (Family::V4, ETHERNET + 8, EF_ECT0), Some((protocol::UDP, 20)));
    let mut wrong_nibble = v4();
    wrong_nibble[0] = 0x65;
    let discovery = ethernet(&[], ether_type::PPPOE_DISCOVERY, &session(&[0, 0x21], &v4()));
    vec![
        not_ip("LCP", of(&[0xc0, 0x21], &[9, 1, 0, 8, 1, 2, 3, 4])),
        not_ip("IPCP", of(&[0x80, 0x21], &[1, 1, 0, 10, 3, 6, 0, 0, 0, 0])),
        not_ip("IPV6CP", of(&[0x80, 0x57], &[1, 1, 0, 14, 1, 10, 1, 2, 3, 4, 5, 6, 7, 8])),
        not_ip("compressed TCP/IP", of(&[0, 0x2d], &v4())),
        not_ip("a multilink fragment", of(&[0, 0x3d], &v4())),
        not_ip("a protocol of all ones", of(&[0xff, 0xff], &v4())),
        not_ip("an even byte, then the protocol of IPv4", of(&[2, 0x21], &v4())),
        not_ip("MPLS over PPP", of(&[2, 0x81], &labels(1, &v4()))),
        not_ip("version 2", with(0, 0x21)),
        not_ip("type 2", with(0, 0x12)),
        not_ip("a code that is not of session data", with(1, 0x09)),
        not_ip("discovery that looks like a session", discovery),
        there("session id 0xffff", with(2, 0xff)),
        there("a length that is shorter", with(5, 1)),
        there("a length that is longer", with(4, 0xff)),
        malformed("IPv6 as the protocol of IPv4", of(&[0, 0x21], &v6())),
        malformed("IPv4 as the protocol of IPv6", of(&[0, 0x57], &v4())),
        malformed("version 6 as the protocol of IPv4", of(&[0, 0x21], &wrong_nibble)),
        malformed("IHL 4 in a session", of(&[0, 0x21], &[&[0x44], &v4()[1..]].concat())),
        malformed("a session with nothing in it", of(&[0, 0x21], &[])),
        not_ip("a session of a header alone", frame(&[0x11, 0, 0, 7, 0, 0])),
        not_ip("a session in a session", of(&[0x88, 0x64], &session(&[0, 0x21], &v4()))),
    ]
}

/// What may be behind labels, and how many.
fn stacks() -> Vec<Vector> {
    let frame = |rest: &[u8]| ethernet(&[], ether_type::MPLS, rest);
    let nibble = |nibble: u8| {
        let packet = [&[nibble << 4 | 5], &v4()[1..]].concat();
        let name = format!("first nibble {nibble} behind a label");
        not_ip(name, frame(&labels(1, &packet)))
    };
    let there = |name: &str, family, offset, frame| {
        let transport = if family == Family::V4 { (protocol::UDP, 20) } else { (protocol::TCP, 40) };
        ip(name, frame, (family, ETHERNET + offset, EF_ECT0), Some(transport))
    };
    let entry = |bytes: [u8; 4], packet: &[u8]| frame(&[&bytes[..], packet].concat());
    let entropy = [&[0, 1, 0x0e, 64, 0, 0, 0x70, 64, 0xab, 0xcd, 0xe1, 0][..], &v6()].concat();
    let mut vectors: Vec<_> = (0..16).filter(|number| ![4, 6].contains(number)).map(nibble).collect();
    vectors.extend([
        there("explicit null for IPv4", Family::V4, 4, entry([0, 0, 0x01, 64], &v4())),
        there("explicit null for IPv6", Family::V6, 4, entry([0, 0, 0x21, 64], &v6())),
        there("a label of all ones, class 7", Family::V4, 4, entry([0xff; 4], &v4())),
        there("an entropy label", Family::V6, 12, frame(&entropy)),
        not_ip("nine labels", frame(&labels(9, &v4()))),
        not_ip("a stack without a bottom", frame(&[0, 1, 0, 64].repeat(20))),
        not_ip("a stack that ends within a label", frame(&[0, 1, 0, 64, 0, 1, 1])),
        not_ip("a bottom with nothing behind it", frame(&labels(1, &[]))),
        not_ip("a bottom with one byte of IPv4 behind it", frame(&labels(1, &[0x45]))),
        malformed("two bytes of IPv4 behind a label", frame(&labels(1, &[0x45, 0xba]))),
        malformed("IHL 4 behind a label", frame(&labels(1, &[&[0x44], &v4()[1..]].concat()))),
        not_ip("a control word, then an Ethernet frame", frame(&labels(2, &[&[0; 4][..], &[2; 60]].concat()))),
        not_ip("a session behind a label", frame(&labels(1, &session(&[0, 0x21], &v4())))),
    ]);
    vectors
}

/// A hook that looks behind the one does not look behind the other.
fn switched_off() -> Vec<Vector> {
    let (labelled, in_session) = (labels(1, &v4()), session(&[0, 0x21], &v4()));
    vec![
        Vector {
            inside: Inside::PPPOE,
            ..not_ip("a label, where sessions are looked into", ethernet(&[], ether_type::MPLS, &labelled))
        },
        Vector {
            inside: Inside::MPLS,
            ..not_ip("a session, where labels are", ethernet(&[], ether_type::PPPOE_SESSION, &in_session))
        },
    ]
}
