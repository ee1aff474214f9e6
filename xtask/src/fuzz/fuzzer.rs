//! The fuzzer: its build, and a run of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::shell;

/// Inputs longer than this are cut: a policy with rules and packets fits.
const LONGEST: u32 = 8192;

/// The program that has all targets.
pub struct Fuzzer(PathBuf);

/// A target, for some time.
pub struct Session {
    /// Its name.
    pub target: String,
    /// For how long.
    pub seconds: u32,
    /// Where the random numbers begin; without, somewhere else each time.
    pub seed: Option<u32>,
}

/// What a target has found so far that reaches something new.
pub fn found(target: &str) -> PathBuf {
    shell::target_folder().join("fuzz/found").join(target)
}

impl Fuzzer {
    /// Of all packages, as the tests are: else the dependencies would have other features, and be built again.
    ///
    /// # Errors
    ///
    /// That it does not build.
    pub fn build() -> anyhow::Result<Self> {
        let mut cargo = shell::cargo(&["build", "--workspace", "--exclude", "qos-ebpf", "--example", "libfuzzer"]);
        cargo.args(["--features", "qos-fuzz/libfuzzer"]);
        let wrapper = qos_build::root().join("fuzz/instrument");
        cargo.env("RUSTC_WORKSPACE_WRAPPER", wrapper);
        shell::run(&mut cargo)?;
        Ok(Self(shell::target_folder().join("debug/examples/libfuzzer")))
    }

    /// Fuzzes. What it says is printed as a whole at its end: others may run beside it.
    ///
    /// # Errors
    ///
    /// That an input fails.
    pub fn run(&self, session: &Session) -> anyhow::Result<()> {
        let Session { target, seconds, seed } = session;
        let (found, failed) = (found(target), shell::target_folder().join("fuzz/failed").join(target));
        for folder in [&found, &failed] {
            fs::create_dir_all(folder)?;
        }
        let mut run = self.command(target);
        run.arg(format!("-max_total_time={seconds}")).args(seed.map(|seed| format!("-seed={seed}")));
        run.arg(format!("-artifact_prefix={}/", failed.display())).arg("-print_final_stats=1");
        finish(run.arg(&found).arg(super::corpus().join(target)))
    }

    /// Adds to `to` as few inputs of these folders as reach every way through the code that all of them reach.
    ///
    /// # Errors
    ///
    /// What the fuzzer says.
    pub fn merge(&self, target: &str, to: &Path, from: &[PathBuf]) -> anyhow::Result<()> {
        // How often a way is taken makes no other input here: there would be ten times as many.
        finish(self.command(target).args(["-set_cover_merge=1", "-use_counters=0"]).arg(to).args(from))
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.0);
        command.env("QOSBPF_FUZZ_TARGET", target);
        command.args([format!("-max_len={LONGEST}").as_str(), "-timeout=10", "-verbosity=0", "-print_funcs=0"]);
        command
    }
}

/// Runs it to its end, and prints what it said.
fn finish(command: &mut Command) -> anyhow::Result<()> {
    let line = shell::describe(command);
    let output = command.output().with_context(|| line.clone())?;
    println!("$ {line}\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
    if !output.status.success() {
        bail!("{line} ended with {}", output.status);
    }
    Ok(())
}
