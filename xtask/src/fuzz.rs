//! `cargo xtask fuzz`: the targets of `fuzz/`, each for some seconds, beginning with the corpus that is kept.
//!
//! cargo-fuzz would do the same, with a nightly and every dependency built anew, which takes minutes. Here the dependencies
//! are those of the tests, as they are, and the crates of this workspace are built to be watched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{setup, shell};

/// Inputs longer than this are cut: a policy with rules and packets fits.
const LONGEST: u32 = 8192;

/// For how long each target runs in `cargo xtask ci`.
const BRIEF: u32 = 3;

/// Sets up, builds the fuzzer, and runs each target for `seconds`, or those of these names.
///
/// # Errors
///
/// That an input fails, by the name of its file; that something does not build.
pub fn run(seconds: u32, named: &[String]) -> anyhow::Result<()> {
    setup::run()?;
    setup::run_for_fuzzing()?;
    run_targets(seconds, named, &[])
}

/// All targets for a few seconds, where everything is installed. The inputs are the same each time: a change is refused for
/// what it has broken, and what is new is found by whoever looks for longer.
///
/// # Errors
///
/// As [`run`].
pub fn run_briefly() -> anyhow::Result<()> {
    run_targets(BRIEF, &[], &["-seed=1"])
}

fn run_targets(seconds: u32, named: &[String], options: &[&str]) -> anyhow::Result<()> {
    let targets = targets()?;
    if let Some(unknown) = named.iter().find(|name| !targets.contains(name)) {
        bail!("no target {unknown}; there are {}", targets.join(", "));
    }
    let fuzzer = build()?;
    for target in targets.iter().filter(|target| named.is_empty() || named.contains(target)) {
        run_target(&fuzzer, target, seconds, options).with_context(|| format!("fuzz target {target}"))?;
    }
    Ok(())
}

fn fuzz_folder() -> PathBuf {
    qos_build::root().join("fuzz")
}

/// Each has a folder with what it begins with, as a test makes sure.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = fuzz_folder().join("corpus");
    let folders = fs::read_dir(&folder).with_context(|| folder.display().to_string())?.flatten();
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().display().to_string()).collect();
    names.sort();
    Ok(names)
}

/// Of all packages, as the tests are: else the dependencies would have other features, and be built again.
fn build() -> anyhow::Result<PathBuf> {
    let mut cargo = shell::cargo(&["build", "--workspace", "--exclude", "qos-ebpf", "--example", "libfuzzer"]);
    cargo.args(["--features", "qos-fuzz/libfuzzer"]);
    cargo.env("RUSTC_WORKSPACE_WRAPPER", fuzz_folder().join("instrument")).env("QOSBPF_OBJECT", kernel_object()?);
    shell::run(&mut cargo)?;
    Ok(shell::target_folder().join("debug/examples/libfuzzer"))
}

/// The kernel programs as the tests have them: the fuzzer needs none, and its build would make them a second time.
fn kernel_object() -> anyhow::Result<PathBuf> {
    let mut cargo = shell::cargo(&["build", "--quiet", "-p", "qosbpf", "--message-format", "json"]);
    let said = shell::output(&mut cargo).context("cargo build -p qosbpf")?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let folders = messages.filter_map(|message| Some(PathBuf::from(message["out_dir"].as_str()?)));
    folders.map(|folder| folder.join("qosbpf")).find(|object| object.is_file()).context("no kernel programs were built")
}

fn run_target(fuzzer: &Path, target: &str, seconds: u32, options: &[&str]) -> anyhow::Result<()> {
    let found = shell::target_folder().join("fuzz/found").join(target);
    let failed = shell::target_folder().join("fuzz/failed").join(target);
    for folder in [&found, &failed] {
        fs::create_dir_all(folder)?;
    }
    let mut run = Command::new(fuzzer);
    run.env("QOSBPF_FUZZ_TARGET", target);
    run.arg(&found).arg(fuzz_folder().join("corpus").join(target));
    run.args([format!("-max_total_time={seconds}"), format!("-max_len={LONGEST}"), "-timeout=10".to_owned()]);
    run.arg(format!("-artifact_prefix={}/", failed.display()));
    run.args(options).args(["-verbosity=0", "-print_funcs=0", "-print_final_stats=1"]);
    shell::run(&mut run)
}
