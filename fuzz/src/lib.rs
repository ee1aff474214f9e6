//! What has to hold for any bytes that come from outside: each target is a function that stops where it does not.
//!
//! `cargo xtask fuzz` looks for such bytes, guided by the code that they reach; the test of this crate tries those in
//! `corpus/`, which every run of the tests has to pass.
#![expect(clippy::expect_used, clippy::panic, reason = "a target stops where something does not hold")]

mod bound;
mod captures;
mod documents;
mod events;
mod frames;
mod import;
mod notation;
mod packet;
mod policy;
mod process;
mod settings;
mod tools;

/// What is tried with some bytes: its name, and what has to hold.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 11] = [
    ("captures", captures::hold),
    ("documents", documents::hold),
    ("events", events::hold),
    ("frames", frames::hold),
    ("import", import::hold),
    ("notation", notation::hold),
    ("packet", packet::hold),
    ("policy", policy::hold),
    ("process", process::hold),
    ("settings", settings::hold),
    ("tools", tools::hold),
];

/// One by its name.
#[must_use]
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, hold)| *hold)
}

/// A text goes to terminals: nothing in it may control one.
fn is_said(text: &str) {
    assert!(text.chars().all(|c| c == '\n' || qosbpf::printable::is_printable(c)), "{text:?}");
}
