//! The binary as a file.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::once;
use crate::report::Fact;

/// The name of a fact that a goal asks for.
pub const STRIPPED: &str = "size of the binary, stripped";

/// As it is, and stripped.
pub(super) fn measure(qosbpf: &Path) -> anyhow::Result<Vec<Fact>> {
    let mib = |path: &Path| -> anyhow::Result<f64> { Ok(fs::metadata(path)?.len() as f64 / f64::from(1 << 20)) };
    let mut facts = vec![once("size of the binary, with symbols", "MiB", mib(qosbpf)?)];
    let folder = TempDir::new()?;
    let stripped = folder.path().join("qosbpf");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(qosbpf).status().context("strip")?;
    ensure!(status.success(), "strip ended with {status}");
    facts.push(once(STRIPPED, "MiB", mib(&stripped)?));
    Ok(facts)
}
