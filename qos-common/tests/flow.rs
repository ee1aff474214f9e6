//! The walk to the transport header, against etherparse on well-formed packets.

use etherparse::{IpNumber, IpSlice, Ipv6ExtensionsSlice, Ipv6FlowLabel, Ipv6RawExtHeaderSlice, PacketBuilder};
use qos_common::{
    flow::{self, Transport},
    locate::{Family, Link, Located, locate},
};
use qos_vectors::{
    frame::{self, Ipv4, Ipv6, protocol},
    random::Random,
};

fn ours(packet: &[u8]) -> Option<Transport> {
    match locate(packet, Link::Layer3, 0) {
        Located::Ip(header) => flow::transport(packet, &header),
        other => panic!("{other:?}: {packet:x?}"),
    }
}

/// The protocol and the place of what etherparse calls the payload of the IP packet. It stops at the three kinds of
/// extension header that few packets have, though it can read them one by one.
fn theirs(packet: &[u8]) -> Transport {
    let slice = IpSlice::from_slice(packet).unwrap_or_else(|error| panic!("{error}: {packet:x?}"));
    let (mut number, mut rest) = (slice.payload().ip_number, slice.payload().payload);
    while [IpNumber::MOBILITY_HEADER, IpNumber::HIP, IpNumber::SHIM6].contains(&number) {
        let header = Ipv6RawExtHeaderSlice::from_slice(rest).unwrap();
        let behind = &rest[header.slice().len()..];
        (_, number, rest) = Ipv6ExtensionsSlice::from_slice(header.next_header(), behind).unwrap();
    }
    Transport { protocol: number.0, offset: packet.len() - rest.len() }
}

#[test]
fn ipv4_with_every_length_of_options() {
    for words in 0..=10 {
        for transport in [frame::udp(b"x"), frame::tcp(&[1; 8], b"x")] {
            let protocol = if transport.len() == 9 { protocol::UDP } else { protocol::TCP };
            let packet = Ipv4 { protocol, options: vec![1; words * 4], ..Ipv4::default() }.packet(&transport);
            assert_eq!(ours(&packet), Some(theirs(&packet)));
        }
    }
}

#[test]
fn packets_that_etherparse_builds() {
    let v4 = PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 2], 64).udp(5004, 5006);
    let v6 = PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(33000, 179, 1, 2).options_raw(&[1; 12]);
    let (mut udp, mut tcp) = (Vec::new(), Vec::new());
    v4.write(&mut udp, b"payload").unwrap();
    v6.unwrap().write(&mut tcp, b"payload").unwrap();
    assert_eq!(ours(&udp), Some(Transport { protocol: protocol::UDP, offset: 20 }));
    assert_eq!(ours(&tcp), Some(Transport { protocol: protocol::TCP, offset: 40 }));
}

#[test]
fn the_ds_field_is_where_etherparse_writes_it() {
    for bits in 0..=255u8 {
        let header = etherparse::Ipv6Header {
            traffic_class: bits,
            flow_label: Ipv6FlowLabel::try_new(0xa_5a5a).unwrap(),
            ..Default::default()
        };
        let Located::Ip(found) = locate(&header.to_bytes()[..], Link::Layer3, 0) else { panic!("not IP") };
        assert_eq!((found.family, found.ds.bits()), (Family::V6, bits));
        let dscp = etherparse::IpDscp::try_new(bits >> 2).unwrap();
        let ecn = etherparse::IpEcn::try_new(bits & 3).unwrap();
        let header = etherparse::Ipv4Header { dscp, ecn, ..Default::default() };
        let Located::Ip(found) = locate(&header.to_bytes()[..], Link::Layer3, 0) else { panic!("not IP") };
        assert_eq!((found.family, found.ds.bits()), (Family::V4, bits));
    }
}

/// One header of a random kind that is allowed there, in front of `rest`.
fn extension(random: &mut Random, first: bool, next: u8) -> (u8, Vec<u8>) {
    let more = random.below(20) as u8;
    match random.below(if first { 6 } else { 5 }) {
        0 => (protocol::DESTINATION, frame::extension(next, more)),
        1 => (protocol::ROUTING, frame::extension(next, more)),
        2 => (protocol::FRAGMENT, frame::fragment(next, 0, 0)),
        3 => (protocol::AH, frame::authentication(next, more)),
        4 => ([protocol::MOBILITY, protocol::HIP, protocol::SHIM6][random.below(3)], frame::extension(next, more)),
        _ => (protocol::HOP_BY_HOP, frame::extension(next, more)),
    }
}

#[test]
fn chains_of_up_to_eight_extension_headers() {
    let random = &mut Random::new(8200);
    for round in 0..20_000 {
        let (mut next, mut payload) = (protocol::UDP, frame::udp(b"payload"));
        let count = round % 9;
        for index in 0..count {
            let (kind, header) = extension(random, index + 1 == count, next);
            (next, payload) = (kind, [header, payload].concat());
        }
        let packet = Ipv6 { next, ..Ipv6::default() }.packet(&payload);
        assert_eq!(ours(&packet), Some(theirs(&packet)), "{packet:x?}");
    }
}

/// Every protocol number: an extension header is walked as etherparse walks it, and everything else ends the chain.
#[test]
fn every_protocol_number_behind_ipv6() {
    for next in 0..=255u8 {
        let payload = match next {
            protocol::FRAGMENT => frame::fragment(protocol::UDP, 0, 0),
            protocol::AH => frame::authentication(protocol::UDP, 4),
            _ => frame::extension(protocol::UDP, 3),
        };
        let packet = Ipv6 { next, ..Ipv6::default() }.packet(&[payload, frame::udp(b"")].concat());
        assert_eq!(ours(&packet), Some(theirs(&packet)), "{next}");
    }
}
