//! Packets in words, their frames, and back.

use qos_common::{inside::Inside, locate::Link};

use crate::{
    hook::Direction,
    policy::{model::Origin, packet::Packet},
};

const WORDS: [&str; 14] = [
    "udp 10.20.0.5:5060 > 198.51.100.1:5060 dscp EF",
    "tcp 203.0.113.1:179 > 203.0.113.2:33000 dscp CS6 ecn 1",
    "udp [2001:db8::1]:53 > [2001:db8::2]:5353 dscp AF41 ecn 3",
    "icmp 192.0.2.1 > 192.0.2.2",
    "icmpv6 2001:db8::1 > 2001:db8::2 icmp-type 135",
    "udp 192.0.2.1 > 192.0.2.2 fragment later dscp 54",
    "udp 192.0.2.1:1 > 192.0.2.2:2 fragment first length 1500",
    "tcp 2001:db8::1 > 2001:db8::2 fragment later length 1280",
    "udp [2001:db8::1]:1 > [2001:db8::2]:2 fragment first",
    "sctp 192.0.2.1:5000 > 192.0.2.2:5001 vlan 832 pcp 6",
    "dccp [2001:db8::1]:5000 > [2001:db8::2]:5001 pcp 3",
    "udplite 136.71.0.1:5000 > 8.0.0.2:5001",
    "gre 192.0.2.1 > 192.0.2.2 length 3000",
    "253 2001:db8::1 > 2001:db8::2 dscp LE",
];

/// What is not in the bytes of a packet, but beside it.
fn beside(packet: &Packet, frame: Packet) -> Packet {
    Packet { origin: packet.origin, from: packet.from.clone(), mark: packet.mark, ..frame }
}

#[test]
fn a_frame_has_all_that_the_words_say() {
    for words in WORDS {
        let packet = Packet::parse(words, None).unwrap();
        let read = Packet::of_frame(&packet.frame(Link::Ethernet), Link::Ethernet, Inside::NOTHING).unwrap();
        assert_eq!(beside(&packet, read), packet, "{words}");
        let bare = Packet { vlan: None, pcp: None, ..packet };
        let read = Packet::of_frame(&bare.frame(Link::Layer3), Link::Layer3, Inside::NOTHING).unwrap();
        assert_eq!(beside(&bare, read), bare, "{words}");
    }
}

#[test]
fn a_frame_is_as_long_as_the_words_say_up_to_what_a_program_can_be_given() {
    let packet = Packet::parse("udp 192.0.2.1:1 > 192.0.2.2:2 length 1500", None).unwrap();
    assert_eq!((packet.frame(Link::Ethernet).len(), packet.frame(Link::Layer3).len()), (1514, 1500));
    let packet = Packet { length: 65_535, vlan: Some(7), pcp: Some(0), ..packet };
    let frame = packet.frame(Link::Ethernet);
    assert_eq!(
        (frame.len(), Packet::of_frame(&frame, Link::Ethernet, Inside::NOTHING).unwrap().length),
        (3_418, 65_535)
    );
}

#[test]
fn checksums_are_right() {
    for words in WORDS.iter().filter(|words| !words.contains("2001")) {
        let frame = Packet::parse(words, None).unwrap().frame(Link::Layer3);
        let header = etherparse::Ipv4HeaderSlice::from_slice(&frame).unwrap().to_header();
        assert_eq!(header.header_checksum, header.calc_header_checksum(), "{words}");
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    for words in WORDS {
        for direction in [Direction::Ingress, Direction::Egress] {
            let packet = Packet::parse(words, Some(direction)).unwrap();
            assert_eq!(Packet::parse(&packet.to_string(), Some(direction)), Ok(packet), "{words}");
        }
    }
    let local = Packet::parse("udp 192.0.2.1:1 > 192.0.2.2:2 origin local mark 0x10", None).unwrap();
    assert_eq!(local.to_string(), "udp 192.0.2.1:1 > 192.0.2.2:2 dscp DF origin local length 28 mark 0x10");
    let from = Packet { origin: Some(Origin::Forwarded), from: Some("lan0".to_owned()), mark: Some(0), ..local };
    assert_eq!(from.to_string(), "udp 192.0.2.1:1 > 192.0.2.2:2 dscp DF from lan0 length 28");
}

#[test]
fn what_is_no_ip_is_none() {
    assert_eq!(Packet::of_frame(&[0; 60], Link::Ethernet, Inside::NOTHING), None);
    let packet = Packet::parse(WORDS[0], None).unwrap().frame(Link::Ethernet);
    assert_eq!(Packet::of_frame(&packet[..30], Link::Ethernet, Inside::NOTHING), None);
}
