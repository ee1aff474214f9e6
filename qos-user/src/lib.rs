//! qosbpf, as a library: everything but the process around it.
//!
//! Arrows go one way: `main -> cmd -> {kernel, policy, render} -> {snapshot, hook, error} -> qos-common`.

pub mod cli;
pub mod cmd;
pub mod error;
pub mod hook;
pub mod kernel;
pub mod lab;
pub mod policy;
pub mod render;
pub mod snapshot;
