//! Any words as a packet: no panic; what is read becomes a frame of either link layer, and that a packet again, which in
//! words is the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qos_common::locate::Link;
use qosbpf::{
    hook::{Direction, HookName},
    policy::packet::Packet,
};

fuzz_target!(|words: &str| {
    let _name = words.parse::<HookName>();
    for direction in [None, Some(Direction::Ingress), Some(Direction::Egress)] {
        match Packet::parse(words, direction) {
            Err(error) => {
                assert!(error.at.end <= words.len() && words.is_char_boundary(error.at.start), "{error:?}");
                assert!(!error.message.is_empty());
            }
            Ok(packet) => {
                let said = packet.to_string();
                let again = Packet::parse(&said, direction);
                assert_eq!(again.as_ref(), Ok(&packet), "{said}");
                for link in [Link::Ethernet, Link::Layer3] {
                    let frame = packet.frame(link);
                    let seen = Packet::of_frame(&frame, link);
                    assert!(seen.is_some_and(|seen| seen.dscp == packet.dscp && seen.src == packet.src), "{said}");
                }
            }
        }
    }
});
