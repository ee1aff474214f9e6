//! Any bytes as an entry of the ring buffer: of another size it is not ours, else it can be said.

use std::time::SystemTime;

use qos_common::{event::Event, locate::Family};
use qosbpf::event::LoggedPacket;

pub fn hold(input: &[u8]) {
    let event = Event::from_ne_bytes(input);
    assert_eq!(event.is_some(), input.len() == Event::BYTES);
    let Some(event) = event else { return };
    let logged = LoggedPacket::new(&event, "wan0:egress", "a rule", SystemTime::UNIX_EPOCH);
    assert_eq!(logged.after.is_none(), event.dropped != 0);
    let addresses = if event.family == Family::V6 as u8 { 40 } else { 20 };
    assert_eq!(logged.ends.is_some(), usize::from(event.captured) >= addresses, "{logged:?}");
}
