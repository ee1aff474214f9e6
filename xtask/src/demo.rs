//! `cargo xtask build` and `cargo xtask demo`: the way from a clone to qosbpf at work.

use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::{setup, shell};

/// Sets up and builds the release binary.
///
/// # Errors
///
/// If something cannot be installed or does not build.
pub fn build() -> anyhow::Result<()> {
    setup::run()?;
    shell::run(&mut shell::cargo(&["build", "--release", "-p", "qosbpf"]))
}

/// Sets up, builds, and ends as `qosbpf demo` ends.
///
/// # Errors
///
/// If something cannot be installed, does not build or does not start.
pub fn run() -> anyhow::Result<ExitCode> {
    build()?;
    let mut demo = Command::new(shell::target_folder().join("release/qosbpf"));
    demo.arg("demo");
    println!("$ {}", shell::describe(&demo));
    let status = demo.status().context("qosbpf demo")?;
    // None is an end by a signal.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}
