//! iproute2's `ip`, by which the lab is built.

use std::{
    io::{self, Write as _},
    process::{Command, Output, Stdio},
};

use anyhow::Context as _;

use crate::error::Failure;

/// Runs `ip` with these arguments.
///
/// # Errors
///
/// `no-iproute2`, or `ip` with what it said.
pub fn run(arguments: &[&str]) -> anyhow::Result<()> {
    script(arguments, "")
}

/// Runs `ip` with these arguments and a script on its standard input.
///
/// # Errors
///
/// Those of [`run`].
pub fn script(arguments: &[&str], lines: &str) -> anyhow::Result<()> {
    let output = with_input(arguments, lines).map_err(|error| missing(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new("ip", format!("ip {}: {}", arguments.join(" "), said.trim())).into())
}

fn with_input(arguments: &[&str], lines: &str) -> io::Result<Output> {
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says why on its standard error.
        let _ended_early = stdin.write_all(lines.as_bytes());
    }
    child.wait_with_output()
}

fn missing(error: &io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::new("no-iproute2", "the lab is built with iproute2's `ip`, which is not in $PATH")
            .hint("install it: apt-get install iproute2, or your distribution's package iproute2 or iproute")
            .into();
    }
    Failure::new("ip", format!("ip: {error}")).into()
}

/// Runs a script of `ip` commands, one a line, in a network namespace; the first that fails ends it.
///
/// # Errors
///
/// Those of [`run`].
pub fn batch(namespace: &str, lines: &str) -> anyhow::Result<()> {
    script(&["-netns", namespace, "-batch", "-"], lines).with_context(|| format!("network namespace {namespace}"))
}
