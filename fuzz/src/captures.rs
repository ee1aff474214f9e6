//! Any bytes as a file of packets, or as the digits of one, for `policy explain`: every frame is looked at.

use qos_common::{inside::Inside, locate::Link};
use qosbpf::{
    cmd::policy::capture::{self, Capture},
    policy::packet::Packet,
};

/// As many as `policy explain` shows.
const FRAMES: usize = 16;

pub fn hold(input: &[u8]) {
    if let Ok(capture) = capture::read_from(input, "input", FRAMES) {
        assert!(capture.frames.len() <= FRAMES);
        capture.frames.iter().for_each(|frame| look(&capture, frame));
    }
    if let Ok(digits) = str::from_utf8(input)
        && let Ok(bytes) = capture::from_hex(digits)
    {
        let again: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(capture::from_hex(&again).ok(), Some(bytes));
    }
}

fn look(capture: &Capture, frame: &[u8]) {
    for link in [Link::Ethernet, Link::Layer3] {
        let fitted = capture::fitted(frame, capture.link, link);
        for inside in [Inside::NOTHING, Inside::PPPOE.and(Inside::MPLS)] {
            let said = Packet::of_frame(&fitted, link, inside).map(|packet| packet.to_string());
            assert!(said.is_none_or(|said| said.contains("dscp")));
        }
    }
}
