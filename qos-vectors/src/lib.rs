//! Frames with known answers: what the data path has to make of them is stated where each is built.
//!
//! Host tests replay them through `qos_common`, kernel tests through the loaded program, and both have to give the same
//! answers. Nothing here uses the code under test; its types alone are the words in which answers are stated.
//!
//! ```
//! for vector in qos_vectors::all() {
//!     let located =
//!         qos_common::inside::locate(&vector.frame[..], vector.link, vector.inside, vector.stripped_tags);
//!     assert_eq!(located, vector.expect, "{}", vector.name);
//! }
//! ```
#![forbid(unsafe_code)]

pub mod capture;
pub mod checksum;
pub mod contract;
pub mod counts;
pub mod frame;
pub mod hook;
pub mod random;
pub mod reader;
pub mod seed;
pub mod tunnels;
mod vectors;

use qos_common::{
    flow::Transport,
    inside::Inside,
    locate::{Link, Located},
};

/// A frame and what it is.
#[derive(Clone, Debug)]
pub struct Vector {
    /// What is special about it; no two vectors have the same name.
    pub name: String,
    /// Its bytes from the link header on, without FCS.
    pub frame: Vec<u8>,
    /// The link layer that it is from.
    pub link: Link,
    /// How many tags the kernel has moved into metadata: 0 or 1. They are not in `frame`.
    pub stripped_tags: usize,
    /// Behind which headers the hook looks for IP.
    pub inside: Inside,
    /// Where its IP header is, if it has a usable one.
    pub expect: Located,
    /// Which transport header, and where; `None` if there is no way to tell, or `expect` is not IP.
    pub transport: Option<Transport>,
}

/// All of them, some two thousand, always in the same order.
#[must_use]
pub fn all() -> Vec<Vector> {
    vectors::all()
}

/// Those that no other cut-off point would replace: without the frames of the name `cut ...`.
#[must_use]
pub fn essential() -> Vec<Vector> {
    all().into_iter().filter(|vector| !vector.name.starts_with("cut ")).collect()
}
