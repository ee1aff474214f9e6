//! `cargo xtask fuzz`: the targets of `fuzz/`, each for some seconds, beginning with the corpus that is kept.
//!
//! cargo-fuzz would do the same; here a nightly is enough, with the flags that it would give. What is found to reach new
//! code is kept beside the build, not in the repository; what fails is printed, with the command that repeats it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::{setup, shell};

/// What libFuzzer needs of the compiler: counters of the ways taken, and the operands of comparisons.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// The target of this machine: with it named, build scripts and macros are built without the flags.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Inputs longer than this are cut: a policy with rules and packets fits.
const LONGEST: u32 = 8192;

/// For how long each target runs in `cargo xtask ci`.
pub const BRIEF: u32 = 10;

/// Sets up, builds the targets, and runs each for `seconds`, or those of these names.
///
/// # Errors
///
/// That an input fails, by the name of its file; that something does not build.
pub fn run(seconds: u32, named: &[String]) -> anyhow::Result<()> {
    setup::run()?;
    setup::run_for_fuzzing()?;
    run_after_setup(seconds, named)
}

/// The same where everything is installed.
///
/// # Errors
///
/// As [`run`].
pub fn run_after_setup(seconds: u32, named: &[String]) -> anyhow::Result<()> {
    let targets = targets()?;
    if let Some(unknown) = named.iter().find(|name| !targets.contains(name)) {
        bail!("no target {unknown}; there are {}", targets.join(", "));
    }
    let folder = build()?;
    for target in targets.iter().filter(|target| named.is_empty() || named.contains(target)) {
        run_target(&folder, target, seconds).with_context(|| format!("fuzz target {target}"))?;
    }
    Ok(())
}

fn fuzz_folder() -> PathBuf {
    qos_build::root().join("fuzz")
}

/// A file each.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = fuzz_folder().join("fuzz_targets");
    let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?.flatten();
    let mut names: Vec<String> =
        files.filter_map(|entry| Some(entry.path().file_stem()?.display().to_string())).collect();
    names.sort();
    Ok(names)
}

/// By the nightly of the kernel programs; the folder of the executables.
fn build() -> anyhow::Result<PathBuf> {
    let compiler = qos_build::compiler().context("the compiler of the kernel programs")?;
    let into = shell::target_folder().join("fuzz");
    let mut cargo = compiler.command("cargo");
    cargo.args(["build", "--release", "--quiet", "--target", TARGET, "--target-dir"]).arg(&into);
    cargo.current_dir(fuzz_folder()).env("RUSTFLAGS", FLAGS);
    // The compiler that cargo named to this process is not the one meant.
    for variable in ["CARGO", "RUSTUP_TOOLCHAIN"] {
        cargo.env_remove(variable);
    }
    shell::run(&mut cargo)?;
    Ok(into.join(TARGET).join("release"))
}

fn run_target(folder: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let found = shell::target_folder().join("fuzz/found").join(target);
    let failed = shell::target_folder().join("fuzz/failed").join(target);
    for folder in [&found, &failed] {
        fs::create_dir_all(folder)?;
    }
    let mut run = Command::new(folder.join(target));
    run.arg(&found).arg(fuzz_folder().join("corpus").join(target));
    run.args([format!("-max_total_time={seconds}"), format!("-max_len={LONGEST}"), "-timeout=10".to_owned()]);
    run.arg(format!("-artifact_prefix={}/", failed.display())).args(["-verbosity=0", "-print_final_stats=1"]);
    shell::run(&mut run)
}
