//! `cargo xtask bench`: builds what measures and what is measured, and starts it.

use std::{path::PathBuf, process::Command};

use anyhow::bail;
use clap::Args;

use crate::{setup, shell};

/// What to measure.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// About a minute: whether everything works and the gates hold, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Only these parts: program, disassembly, rules, router, user, scaling. Without any, all of them.
    #[arg(value_name = "PART,...", value_delimiter = ',')]
    parts: Vec<String>,
    /// Where performance.md and the folder of charts and figures go: docs for a whole run, else target/bench.
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl Options {
    /// What figures of an incomplete run would replace is the documentation.
    fn folder(&self) -> PathBuf {
        let whole = !self.quick && self.parts.is_empty();
        let default = || if whole { qos_build::root().join("docs") } else { shell::target_folder().join("bench") };
        self.output.clone().unwrap_or_else(default)
    }
}

/// Sets up, builds for release, and measures.
///
/// # Errors
///
/// If something cannot be installed, does not build, is not root's, or does not pass a gate.
pub fn run(options: &Options) -> anyhow::Result<()> {
    setup::run()?;
    setup::for_bench()?;
    measure(options, &["-p", "qosbpf", "-p", "qosbpf-bench", "--release"], "release")
}

/// The quick run with what the tests build, which is built together with them: an optimised build of userspace would say nothing more about gates, and
/// the kernel programs are optimised in any build.
///
/// # Errors
///
/// As [`run`]; without root it says so and does nothing, and the tests that follow fail for the same reason.
pub fn smoke() -> anyhow::Result<()> {
    if !shell::is_root()? {
        println!("not run: {}", shell::ROOT_ONLY);
        return Ok(());
    }
    setup::for_bench()?;
    let tests_too = ["--workspace", "--exclude", "qos-ebpf", "--all-targets"];
    measure(&Options { quick: true, ..Options::default() }, &tests_too, "debug")
}

fn measure(options: &Options, what: &[&str], folder: &str) -> anyhow::Result<()> {
    if !shell::is_root()? {
        bail!(shell::ROOT_ONLY);
    }
    shell::run(shell::cargo(&["build"]).args(what))?;
    let built = shell::target_folder().join(folder);
    let mut bench = Command::new(built.join("qosbpf-bench"));
    bench.arg("--qosbpf").arg(built.join("qosbpf")).arg("--output").arg(options.folder());
    if options.quick {
        bench.arg("--quick");
    }
    if !options.parts.is_empty() {
        bench.args(["--only", &options.parts.join(",")]);
    }
    shell::run(&mut bench)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_run_writes_the_documentation() {
        let whole = Options::default();
        assert_eq!(whole.folder(), qos_build::root().join("docs"));
        for part in
            [Options { quick: true, ..whole.clone() }, Options { parts: vec!["router".to_owned()], ..whole.clone() }]
        {
            assert!(part.folder().ends_with("bench"));
        }
        assert_eq!(Options { output: Some("/x".into()), ..whole }.folder(), PathBuf::from("/x"));
    }
}
