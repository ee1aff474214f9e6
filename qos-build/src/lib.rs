//! What it takes to build the kernel programs, found in one place for the build script and for `cargo xtask setup`.

use std::{path::PathBuf, process::Command};

/// The nightly of which the object is reproducible, and its commit, by which an undated `nightly` is recognised.
pub const NIGHTLY: &str = "nightly-2026-05-20";
const NIGHTLY_COMMIT: &str = "e50aa6fba4e63ab34c72bf9acfd2c307c1155d1a";

/// The repository's folder.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where `cargo xtask setup` installs bpf-linker.
pub fn tools() -> PathBuf {
    root().join("target/tools")
}

/// The name by which rustup has the pinned nightly here, if it has it.
pub fn nightly() -> Option<&'static str> {
    [NIGHTLY, "nightly"].into_iter().find(|name| {
        let out = Command::new("rustup").args(["run", name, "rustc", "-vV"]).output();
        out.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(NIGHTLY_COMMIT))
    })
}
