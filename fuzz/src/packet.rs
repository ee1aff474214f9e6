//! Any words as a packet or as the name of a hook. A packet that is read becomes a frame of either link layer, and that a
//! packet again; in words it is the same.

use qos_common::{inside::Inside, locate::Link};
use qosbpf::{
    hook::{Direction, HookName},
    policy::packet::Packet,
};

pub fn hold(input: &[u8]) {
    let Ok(words) = str::from_utf8(input) else { return };
    if let Ok(name) = words.parse::<HookName>() {
        assert_eq!(name.to_string(), words);
    }
    for direction in [None, Some(Direction::Ingress), Some(Direction::Egress)] {
        match Packet::parse(words, direction) {
            Err(error) => {
                assert!(error.at.end <= words.len() && words.is_char_boundary(error.at.start), "{error:?}");
                assert!(!error.message.is_empty());
            }
            Ok(packet) => is_the_same(&packet, direction),
        }
    }
}

fn is_the_same(packet: &Packet, direction: Option<Direction>) {
    let said = packet.to_string();
    assert_eq!(Packet::parse(&said, direction).as_ref(), Ok(packet), "{said}");
    for link in [Link::Ethernet, Link::Layer3] {
        let seen = Packet::of_frame(&packet.frame(link), link, Inside::NOTHING);
        assert!(seen.is_some_and(|seen| seen.dscp == packet.dscp && seen.src == packet.src), "{said}");
    }
}
