//! IPv4 headers: usable as long as version, IHL and 20 bytes are right, whatever else is wrong.

use qos_common::locate::Family;

use super::{EF_ECT0, ETHERNET, ip, malformed};
use crate::{
    Vector,
    frame::{Ipv4, ether_type, ethernet, protocol, tcp, udp},
};

pub fn all() -> Vec<Vector> {
    [first_bytes(), lengths(), options(), fragments(), checksums(), protocols()].concat()
}

fn usable(name: impl Into<String>, header: &Ipv4, packet: &[u8], transport: Option<(u8, usize)>) -> Vector {
    let frame = ethernet(&[], ether_type::IPV4, packet);
    ip(name, frame, (Family::V4, ETHERNET, header.ds), transport)
}

/// Every version and every IHL, over a packet with data enough for all of them.
fn first_bytes() -> Vec<Vector> {
    let vector = |first: u8| {
        let header = Ipv4 { ds: EF_ECT0, first_byte: Some(first), ..Ipv4::default() };
        let packet = header.packet(&udp(&[0x11; 60]));
        let (version, words) = (first >> 4, first & 15);
        let name = format!("IPv4, version {version}, IHL {words}");
        if version == 4 && words >= 5 {
            usable(name, &header, &packet, Some((protocol::UDP, usize::from(words) * 4)))
        } else {
            malformed(name, ethernet(&[], ether_type::IPV4, &packet))
        }
    };
    (0x40..=0x4f).chain((0..16).map(|version| version << 4 | 5).filter(|first| *first != 0x45)).map(vector).collect()
}

fn lengths() -> Vec<Vector> {
    let whole = |name: &str, total: u16| {
        let header = Ipv4 { ds: EF_ECT0, total_length: Some(total), ..Ipv4::default() };
        usable(name, &header, &header.packet(&udp(b"payload")), Some((protocol::UDP, 20)))
    };
    let beyond = Ipv4 { ds: EF_ECT0, first_byte: Some(0x4f), ..Ipv4::default() };
    let padded = Ipv4 { ds: EF_ECT0, ..Ipv4::default() };
    let with_padding = [padded.packet(&udp(b"")), vec![0; 18]].concat();
    vec![
        whole("IPv4, total length 0", 0),
        whole("IPv4, total length shorter than the header", 19),
        whole("IPv4, total length shorter than the frame", 28),
        whole("IPv4, total length longer than the frame", 1500),
        whole("IPv4, total length 65535", 65535),
        usable("IPv4, IHL beyond the data", &beyond, &beyond.packet(&[0x11; 8]), Some((protocol::UDP, 60))),
        usable("IPv4, Ethernet padding behind it", &padded, &with_padding, Some((protocol::UDP, 20))),
    ]
}

fn options() -> Vec<Vector> {
    let with = |name: &str, options: &[u8]| {
        let header = Ipv4 { ds: EF_ECT0, options: options.to_vec(), ..Ipv4::default() };
        let transport = Some((protocol::UDP, 20 + options.len()));
        usable(format!("IPv4, option {name}"), &header, &header.packet(&udp(b"payload")), transport)
    };
    vec![
        with("router alert", &[0x94, 4, 0, 0]),
        with("no operation, four times", &[1; 4]),
        with("end of list, then bytes", &[0, 9, 9, 9]),
        with("record route, the longest", &[&[7, 39, 4][..], &[0; 37]].concat()),
        with("with length 0", &[7, 0, 4, 0]),
        with("longer than the header", &[7, 255, 4, 0]),
    ]
}

fn fragments() -> Vec<Vector> {
    let with = |name: &str, fragment: u16, first: bool| {
        let header = Ipv4 { ds: EF_ECT0, fragment, ..Ipv4::default() };
        let transport = first.then_some((protocol::UDP, 20));
        usable(format!("IPv4, {name}"), &header, &header.packet(&udp(b"payload.")), transport)
    };
    vec![
        with("do not fragment", 0x4000, true),
        with("reserved flag", 0x8000, true),
        with("first fragment", 0x2000, true),
        with("later fragment", 0x2001, false),
        with("later fragment, offset in the upper byte alone", 0x2100, false),
        with("last fragment", 0x00b9, false),
        with("last fragment at the highest offset", 0x1fff, false),
    ]
}

/// Wrong on entry, and the two ways to write zero in ones' complement, before a rewrite and after it.
fn checksums() -> Vec<Vector> {
    let edge = |ds: u8| Ipv4 { ds, ..Ipv4::default() }.with_zero_checksum(&udp(b"payload"));
    let vector = |name: &str, header: &Ipv4, check: Option<u16>| {
        let mut packet = header.packet(&udp(b"payload"));
        if let Some(check) = check {
            packet[10..12].copy_from_slice(&check.to_be_bytes());
        }
        usable(format!("IPv4, checksum {name}"), header, &packet, Some((protocol::UDP, 20)))
    };
    let plain = Ipv4 { ds: EF_ECT0, ..Ipv4::default() };
    let edge_after = Ipv4 { ds: EF_ECT0, ..edge(EF_ECT0 & 3) };
    vec![
        vector("0x0000, right", &edge(EF_ECT0), None),
        vector("0xffff, right as well", &edge(EF_ECT0), Some(0xffff)),
        vector("that becomes 0x0000 when DF is written", &edge_after, None),
        vector("0x0000, wrong", &plain, Some(0)),
        vector("0xffff, wrong", &plain, Some(0xffff)),
        vector("0x0001, wrong", &plain, Some(1)),
        vector("0xfffe, wrong", &plain, Some(0xfffe)),
    ]
}

fn protocols() -> Vec<Vector> {
    let with = |name: &str, number: u8, payload: &[u8]| {
        let header = Ipv4 { ds: EF_ECT0, protocol: number, ..Ipv4::default() };
        usable(format!("IPv4, {name}"), &header, &header.packet(payload), Some((number, 20)))
    };
    let inner = Ipv4 { ds: 0x28, ..Ipv4::default() }.packet(&udp(b"payload"));
    vec![
        with("TCP with options", protocol::TCP, &tcp(&[1; 12], b"payload")),
        with("ICMP", protocol::ICMP, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
        with("ESP", protocol::ESP, &[0, 0, 0, 7, 0, 0, 0, 1, 0xaa, 0xaa]),
        with("AH, which is not an extension header here", protocol::AH, &[17, 4, 0, 0, 0, 0, 0, 9]),
        with("IPv4 in it, of which the outer counts", 4, &inner),
        with("protocol 255", 255, b""),
        with("no payload", protocol::UDP, b""),
        with("UDP of which one byte is there", protocol::UDP, &[0x13]),
    ]
}
