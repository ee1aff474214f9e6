//! The weight of a super-packet against its segments, built one by one.

use qos_common::{
    abi::Counter,
    gso::{Gso, Length},
    locate::{Link, Located, locate},
};
use qos_vectors::frame::{self, Ipv4, Ipv6, ether_type, protocol};

/// Everything that each segment repeats, as a function from the payload to a frame.
type Wrap = Box<dyn Fn(&[u8]) -> Vec<u8>>;

const TAG: (u16, u16) = (ether_type::TAG, 100);

fn ethernet(tags: usize, ether_type: u16, packet: &[u8]) -> Vec<u8> {
    frame::ethernet(&vec![TAG; tags], ether_type, packet)
}

fn shapes() -> Vec<(&'static str, Wrap)> {
    let v4 = |options: usize, protocol| Ipv4 { options: vec![1; options], protocol, ..Ipv4::default() };
    let v6 = |next| Ipv6 { next, ..Ipv6::default() };
    let chain = |payload: &[u8]| {
        [frame::extension(protocol::DESTINATION, 0), frame::extension(protocol::TCP, 2), frame::tcp(&[], payload)]
            .concat()
    };
    vec![
        ("TCP over IPv4", Box::new(move |p| ethernet(0, ether_type::IPV4, &v4(0, 6).packet(&frame::tcp(&[], p))))),
        (
            "TCP with timestamps",
            Box::new(move |p| ethernet(0, ether_type::IPV4, &v4(0, 6).packet(&frame::tcp(&[1; 12], p)))),
        ),
        (
            "the longest headers",
            Box::new(move |p| ethernet(4, ether_type::IPV4, &v4(40, 6).packet(&frame::tcp(&[1; 40], p)))),
        ),
        ("TCP over IPv6", Box::new(move |p| ethernet(1, ether_type::IPV6, &v6(6).packet(&frame::tcp(&[1; 20], p))))),
        ("extension headers", Box::new(move |p| ethernet(0, ether_type::IPV6, &v6(0).packet(&chain(p))))),
        ("UDP over IPv4", Box::new(move |p| ethernet(0, ether_type::IPV4, &v4(0, 17).packet(&frame::udp(p))))),
        ("UDP over IPv6", Box::new(move |p| ethernet(2, ether_type::IPV6, &v6(17).packet(&frame::udp(p))))),
    ]
}

fn weigh(packet: &[u8], length: Length) -> Counter {
    let Located::Ip(header) = locate(packet, Link::Ethernet, 0) else { panic!("not IP: {packet:x?}") };
    length.weigh(packet, &header)
}

fn on_the_cable(wrap: &Wrap, payload: &[u8], size: usize, tag: usize) -> Counter {
    let segments: Vec<usize> = payload.chunks(size).map(|chunk| wrap(chunk).len() + tag).collect();
    Counter { packets: segments.len() as u64, bytes: segments.iter().sum::<usize>() as u64 }
}

#[test]
fn a_super_packet_weighs_what_its_segments_weigh() {
    for (name, wrap) in shapes() {
        for size in [1usize, 536, 1200, 1448] {
            for payload in [size, size + 1, 2 * size, 3 * size - 1, 40 * size + 7] {
                let payload = vec![0x5a; payload];
                let packet = wrap(&payload);
                for tag in [0, 4] {
                    let wanted = on_the_cable(&wrap, &payload, size, tag);
                    let untagged = wanted.bytes - wanted.packets * tag as u64;
                    for segments in [0, wanted.packets as u32] {
                        let gso = Some(Gso { size: size as u32, segments });
                        for wire in [None, (segments != 0).then_some(untagged as u32)] {
                            let length = Length { bytes: packet.len() as u32, wire, stripped: tag as u32, gso };
                            assert_eq!(weigh(&packet, length), wanted, "{name}, {size}, {length:?}");
                        }
                    }
                }
            }
        }
    }
}

/// The kernel's sum at egress is of no use where it did not know the segments: it has left them out.
#[test]
fn an_egress_sum_without_segments_is_not_taken() {
    let (_, wrap) = shapes().swap_remove(0);
    let payload = vec![0; 5000];
    let packet = wrap(&payload);
    let bytes = packet.len() as u32;
    let length = Length { bytes, wire: Some(bytes), stripped: 0, gso: Some(Gso { size: 1000, segments: 0 }) };
    assert_eq!(weigh(&packet, length), on_the_cable(&wrap, &payload, 1000, 0));
}

#[test]
fn a_packet_in_one_piece_weighs_its_own_length() {
    for (name, wrap) in shapes() {
        let packet = wrap(b"payload");
        let length = Length { stripped: 4, ..Length::single(packet.len() as u32) };
        let wanted = Counter { packets: 1, bytes: packet.len() as u64 + 4 };
        assert_eq!((weigh(&packet, length), length.opaque()), (wanted, wanted), "{name}");
    }
}

/// VXLAN: packets are exact, bytes have the outer headers alone, and the kernel's sum has all.
#[test]
fn behind_a_tunnel_the_inner_headers_are_missing() {
    let (_, inner) = shapes().swap_remove(1);
    let wrap: Wrap = Box::new(move |payload| {
        let vxlan = [&[8, 0, 0, 0, 0, 0, 42, 0][..], &inner(payload)].concat();
        ethernet(0, ether_type::IPV4, &Ipv4::default().packet(&frame::udp(&vxlan)))
    });
    let payload = vec![0; 10_000];
    let packet = wrap(&payload);
    let wanted = on_the_cable(&wrap, &payload, 1348, 0);
    let gso = Some(Gso { size: 1348, segments: wanted.packets as u32 });
    let length = Length { bytes: packet.len() as u32, wire: None, stripped: 0, gso };
    let missing = 8 + 14 + 20 + 32;
    let bytes = wanted.bytes - (wanted.packets - 1) * missing;
    assert_eq!(weigh(&packet, length), Counter { bytes, ..wanted });
    assert_eq!(weigh(&packet, Length { wire: Some(wanted.bytes as u32), ..length }), wanted);
}

/// A frame that nobody looks into: what the kernel says of it, as far as it says it.
#[test]
fn a_super_packet_that_is_not_ip_weighs_its_segments() {
    let gso = |segments| Some(Gso { size: 1000, segments });
    let length = Length { bytes: 5018, wire: Some(5090), stripped: 4, gso: gso(5) };
    assert_eq!(length.opaque(), Counter { packets: 5, bytes: 5110 });
    assert_eq!(Length { wire: None, ..length }.opaque(), Counter { packets: 5, bytes: 5038 });
    assert_eq!(Length { gso: gso(0), ..length }.opaque(), Counter { packets: 1, bytes: 5022 });
}

/// What no kernel should say weighs one packet at least, and nothing overflows.
#[test]
fn numbers_that_make_no_sense_are_survived() {
    let packet = shapes()[0].1(b"payload");
    for (bytes, size, segments) in [(0, 0, 0), (10, 0, 0), (u32::MAX, 1, 0), (u32::MAX, u32::MAX, u32::MAX)] {
        let length = Length { bytes, wire: None, stripped: 4, gso: Some(Gso { size, segments }) };
        assert!(weigh(&packet, length).packets >= 1, "{length:?}");
    }
}

#[test]
fn a_tcp_header_that_is_not_all_there_counts_as_20_bytes() {
    let packet = shapes()[1].1(&[0; 3000]);
    let gso = Some(Gso { size: 1000, segments: 3 });
    let length = Length { gso, ..Length::single(packet.len() as u32) };
    let bytes = packet.len() as u64 + 2 * (14 + 20 + 20);
    assert_eq!(weigh(&packet[..14 + 20 + 19], length), Counter { packets: 3, bytes });
}
