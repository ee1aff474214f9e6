//! qosbpf, as a library: everything but the process around it.
//!
//! Arrows go one way: `main -> cmd -> {kernel, policy, render} -> {snapshot, hook, error} -> qos-common`.

use std::sync::LazyLock;

pub mod cli;
pub mod cmd;
pub mod command;
pub mod diagnosis;
pub mod error;
pub mod event;
pub mod explain;
pub mod held_lines;
pub mod hook;
pub mod invocation;
pub mod journal_lines;
pub mod kernel;
pub mod lab;
pub mod log_lines;
pub mod netdev;
pub mod policy;
pub mod printable;
pub mod progress;
pub mod queued_lines;
pub mod render;
pub mod repeated_lines;
pub mod rules;
pub mod signal;
pub mod snapshot;
pub mod status;
pub mod tcpdump;

/// The version of this binary.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Both of them, as `--version` says it.
pub static FULL_VERSION: LazyLock<String> = LazyLock::new(|| format!("{VERSION} ({REVISION})"));

/// The commit it was built from, or `unknown` outside a git checkout.
pub const REVISION: &str = match option_env!("QOSBPF_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
