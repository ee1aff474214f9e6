//! Link layers: tags, and all that is not directly IP.

use qos_common::locate::Family;

use super::{EF_ECT0, ETHERNET, ip, malformed, not_ip};
use crate::{
    Vector,
    frame::{Ipv4, Ipv6, Tag, ether_type, ethernet, labels, protocol, session, udp},
};

const C: Tag = (ether_type::TAG, 0x0064);
const S: Tag = (ether_type::SERVICE_TAG, 0x03e8);

pub fn all() -> Vec<Vector> {
    [tagged(), broken_tags(), wrong_family(), other_types(), behind_others(), layer3()].concat()
}

fn v4() -> Vec<u8> {
    Ipv4 { ds: EF_ECT0, ..Ipv4::default() }.packet(&udp(b"payload"))
}

fn v6() -> Vec<u8> {
    Ipv6 { ds: EF_ECT0, ..Ipv6::default() }.packet(&udp(b"payload"))
}

/// No tag to five, of which the fifth is one too many, with a tag in metadata counted as well.
fn tagged() -> Vec<Vector> {
    let stacks: [(&str, &[Tag]); 12] = [
        ("no tag", &[]),
        ("one C-tag", &[C]),
        ("one S-tag", &[S]),
        ("a priority tag, PCP 5 and DEI", &[(ether_type::TAG, 0xb000)]),
        ("a tag of all ones", &[(ether_type::TAG, 0xffff)]),
        ("S-tag and C-tag", &[S, C]),
        ("two C-tags", &[C, C]),
        ("three tags", &[S, C, C]),
        ("four tags", &[S, S, C, C]),
        ("four S-tags", &[S; 4]),
        ("five tags", &[S, S, C, C, C]),
        ("six tags", &[C; 6]),
    ];
    stacks.into_iter().flat_map(|(name, tags)| [under(name, tags, false), under(name, tags, true)].concat()).collect()
}

/// Both families under a stack of tags.
fn under(name: &str, tags: &[Tag], one_stripped: bool) -> Vec<Vector> {
    let fits = tags.len() + usize::from(one_stripped) <= 4;
    let offset = ETHERNET + 4 * tags.len();
    let vector = |family, ether_type, packet: &[u8], length| {
        let name = format!("{family:?} behind {name}");
        let frame = ethernet(tags, ether_type, packet);
        let transport = Some((protocol::UDP, length));
        let vector = if fits { ip(name, frame, (family, offset, EF_ECT0), transport) } else { not_ip(name, frame) };
        if one_stripped { vector.stripped() } else { vector }
    };
    vec![vector(Family::V4, ether_type::IPV4, &v4(), 20), vector(Family::V6, ether_type::IPV6, &v6(), 40)]
}

fn broken_tags() -> Vec<Vector> {
    let bare = |ether_type: u16, rest: &[u8]| ethernet(&[], ether_type, rest);
    vec![
        not_ip("a C-tag with nothing behind it", bare(ether_type::TAG, &[])),
        not_ip("an S-tag with nothing behind it", bare(ether_type::SERVICE_TAG, &[])),
        not_ip("a C-tag of two bytes", bare(ether_type::TAG, &[0, 1])),
        not_ip("a C-tag of three bytes", bare(ether_type::TAG, &[0, 1, 8])),
        malformed("a whole C-tag, then nothing", bare(ether_type::TAG, &[0, 1, 8, 0])),
        not_ip("a C-tag, then a second with nothing behind it", ethernet(&[C], ether_type::TAG, &[])),
        not_ip("tag type 0x9100", ethernet(&[(ether_type::OLD_TAG, 1)], ether_type::IPV4, &v4())),
        not_ip("a C-tag, then tag type 0x9100", ethernet(&[C, (ether_type::OLD_TAG, 1)], ether_type::IPV4, &v4())),
        not_ip("tag type 0x9200", ethernet(&[(0x9200, 1)], ether_type::IPV4, &v4())),
        not_ip("a VN-tag", ethernet(&[(0x8926, 1)], ether_type::IPV4, &v4())),
    ]
}

/// The EtherType and the version nibble disagree.
fn wrong_family() -> Vec<Vector> {
    let stacks: [(&str, &[Tag]); 3] = [("", &[]), (", tagged", &[C]), (", tagged twice", &[S, C])];
    let pair = |(name, tags): (&str, &[Tag])| {
        [
            malformed(format!("IPv6 under the EtherType of IPv4{name}"), ethernet(tags, ether_type::IPV4, &v6())),
            malformed(format!("IPv4 under the EtherType of IPv6{name}"), ethernet(tags, ether_type::IPV6, &v4())),
        ]
    };
    stacks.into_iter().flat_map(pair).collect()
}

/// EtherTypes beside ours, and lengths where the type would be: the IP packet behind them is not looked for.
fn other_types() -> Vec<Vector> {
    let kinds = [
        0x0000, 0x0004, 0x05dc, 0x05ff, 0x0600, 0x07ff, 0x0801, 0x0008, 0xdd86, 0x86dc, 0x86de, 0x0081, 0x88e5, 0xffff,
    ];
    let untagged = kinds.map(|kind| not_ip(format!("EtherType {kind:#06x}"), ethernet(&[], kind, &v4())));
    let tagged = kinds.map(|kind| not_ip(format!("EtherType {kind:#06x} behind a tag"), ethernet(&[C], kind, &v4())));
    [untagged, tagged].concat()
}

fn behind_others() -> Vec<Vector> {
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[2; 20]].concat();
    let snap = |kind: [u8; 2], packet: Vec<u8>| [vec![0xaa, 0xaa, 3, 0, 0, 0], kind.to_vec(), packet].concat();
    let frames: [(&str, u16, Vec<u8>); 11] = [
        ("ARP", ether_type::ARP, arp),
        ("LLC, spanning tree", 38, [&[0x42, 0x42, 3][..], &[0; 35]].concat()),
        ("LLC/SNAP with IPv4", 43, snap([8, 0], v4())),
        ("LLC/SNAP with IPv6", 63, snap([0x86, 0xdd], v6())),
        ("PPPoE discovery", ether_type::PPPOE_DISCOVERY, vec![0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0]),
        ("PPPoE session with IPv4", ether_type::PPPOE_SESSION, session(&[0, 0x21], &v4())),
        ("PPPoE session with IPv6", ether_type::PPPOE_SESSION, session(&[0, 0x57], &v6())),
        ("PPPoE session with LCP", ether_type::PPPOE_SESSION, session(&[0xc0, 0x21], &[9, 1, 0, 8, 1, 2, 3, 4])),
        ("MPLS with IPv4", ether_type::MPLS, labels(1, &v4())),
        ("MPLS with IPv6", ether_type::MPLS, labels(1, &v6())),
        ("MPLS multicast with IPv4", ether_type::MPLS_MULTICAST, labels(1, &v4())),
    ];
    let both = |(name, kind, rest): (&str, u16, Vec<u8>)| {
        let tagged = ethernet(&[C], kind, &rest);
        [not_ip(name, ethernet(&[], kind, &rest)), not_ip(format!("{name}, tagged"), tagged)]
    };
    frames.into_iter().flat_map(both).collect()
}

/// Devices without a link header: the first nibble decides.
fn layer3() -> Vec<Vector> {
    let nibble = |version: u8| {
        let packet = Ipv4 { first_byte: Some(version << 4 | 5), ..Ipv4::default() }.packet(&udp(&[0x22; 40]));
        malformed(format!("layer 3, first nibble {version}"), packet).layer3()
    };
    let others = (0..16).filter(|version| ![4, 6].contains(version)).map(nibble);
    let six = Ipv4 { first_byte: Some(0x6b), ds: 0xa0, ..Ipv4::default() }.packet(&udp(&[0x22; 40]));
    others
        .chain([
            not_ip("layer 3, nothing at all", Vec::new()).layer3(),
            malformed("layer 3, one byte of IPv4", vec![0x45]).layer3(),
            malformed("layer 3, one byte of IPv6", vec![0x60]).layer3(),
            malformed("layer 3, one byte of neither", vec![0]).layer3(),
            malformed("layer 3, IHL 4", [vec![0x44], v4()[1..].to_vec()].concat()).layer3(),
            malformed("layer 3, an Ethernet frame", ethernet(&[], ether_type::IPV4, &v4())).layer3(),
            // Its next header is 0, hop-by-hop options, which it finds in the payload of 0x22.
            ip("layer 3, nibble 6 over what was IPv4", six, (Family::V6, 0, 0xba), Some((0x22, 40 + 0x23 * 8)))
                .layer3(),
        ])
        .collect()
}
