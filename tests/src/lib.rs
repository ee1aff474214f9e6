//! What the tests that need a kernel have in common. All of them need root, and fail without it.
//!
//! One frame goes two ways, through the loaded program by a test run ([`kernel`]) and through the same code on the host
//! ([`host`]); or it is sent over real interfaces ([`lab`], [`tun`]). Captures are read by [`capture`], and what they
//! have to count as is in [`oracle`].

pub mod binary;
pub mod bpf;
pub mod capture;
pub mod conditioner;
pub mod counted;
pub mod far_end;
pub mod features;
pub mod flow;
pub mod host;
pub mod kernel;
pub mod lab;
pub mod large;
pub mod left;
pub mod manager;
pub mod metered;
pub mod mib;
pub mod mounts;
pub mod numbered;
pub mod oracle;
pub mod policies;
pub mod pool;
pub mod pppoe;
pub mod router;
pub mod service;
pub mod systemd;
pub mod tables;
pub mod tagged;
pub mod tally;
pub mod tcp;
pub mod timers;
pub mod tun;
pub mod typed;
pub mod udp;
pub mod unread;
pub mod walk;
pub mod wire;
pub mod wireguard;

use std::fmt::Write as _;

/// A frame in hexadecimal, to be pasted into a bug report.
#[must_use]
pub fn hex(frame: &[u8]) -> String {
    frame.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
