//! Any bytes as a file of packets, or as the digits of one, for `policy explain`: no panic, and every frame is looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qos_common::locate::Link;
use qosbpf::{cmd::policy::capture, policy::packet::Packet};

fuzz_target!(|input: &[u8]| {
    if let Ok(capture) = capture::read_from(input, "input", 16) {
        for frame in &capture.frames {
            for link in [Link::Ethernet, Link::Layer3] {
                let fitted = capture::fitted(frame, capture.link, link);
                let said = Packet::of_frame(&fitted, link).map(|packet| packet.to_string());
                assert!(said.is_none_or(|said| !said.is_empty()));
            }
        }
    }
    if let Ok(digits) = std::str::from_utf8(input) {
        let _bytes = capture::from_hex(digits);
    }
});
