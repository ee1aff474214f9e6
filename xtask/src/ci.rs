//! `cargo xtask ci`: everything that a change has to pass, the quick answers first.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{architecture, bench, docs, fuzz, prove, setup, shell, test, vm};

/// One step.
type Step = (&'static str, fn() -> anyhow::Result<()>);

const STEPS: [Step; 9] = [
    ("setup", setup::run),
    ("format", format),
    ("architecture", || architecture::run(&qos_build::root())),
    ("documentation pages", || docs::run(&qos_build::root())),
    ("proofs at length", || prove::check(&qos_build::root())),
    ("dependencies", dependencies),
    ("lints", lints),
    ("lints of the kernel programs", kernel_lints),
    ("documentation of the code", documentation),
];

/// Runs what needs no test, and prints the time that each step took.
///
/// # Errors
///
/// Of the first step that fails.
pub fn check() -> anyhow::Result<()> {
    let mut times = Vec::new();
    for (name, step) in STEPS {
        println!("== {name}");
        let start = Instant::now();
        step().context(name)?;
        times.push((name, start.elapsed()));
    }
    for (name, time) in &times {
        println!("{:>8.1} s  {name}", time.as_secs_f64());
    }
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    println!("{:>8.1} s  before the tests", total.as_secs_f64());
    prove::warn(&qos_build::root());
    Ok(())
}

/// The same, then measures a little, then the tests' summary, some seconds of fuzzing, and what came of other kernels.
///
/// # Errors
///
/// Of the first step that fails.
pub fn run() -> anyhow::Result<()> {
    check()?;
    println!("== measurements, for their gates alone");
    bench::smoke().context("measurements")?;
    println!("== tests");
    let start = Instant::now();
    let result = test::run_after_setup();
    eprintln!("{:>8.1} s  tests", start.elapsed().as_secs_f64());
    result?;
    println!("== fuzzing");
    let start = Instant::now();
    let result = setup::run_for_fuzzing().and_then(|()| fuzz::run_briefly());
    eprintln!("{:>8.1} s  fuzzing", start.elapsed().as_secs_f64());
    result.context("fuzzing")?;
    println!("== other kernels");
    let start = Instant::now();
    let result = vm::run_essential().context("other kernels");
    eprintln!("{:>8.1} s  other kernels", start.elapsed().as_secs_f64());
    // Once more, where whoever looks for the result reads it.
    prove::warn(&qos_build::root());
    result
}

fn format() -> anyhow::Result<()> {
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))
}

/// What a test may do that the product may not: stop at once, and print.
const FREE_IN_TESTS: [&str; 6] = [
    "-Aclippy::unwrap_used",
    "-Aclippy::expect_used",
    "-Aclippy::panic",
    "-Aclippy::print_stdout",
    "-Aclippy::print_stderr",
    "-Aclippy::string_slice",
];

fn lints() -> anyhow::Result<()> {
    let clippy = |targets: &[&str]| {
        let mut clippy = shell::cargo(&["clippy", "--workspace", "--exclude", "qos-ebpf"]);
        clippy.args(targets).args(["--", "-D", "warnings"]);
        clippy
    };
    shell::run(&mut clippy(&["--lib", "--bins"]))?;
    // clippy.toml frees what is marked as a test; the functions beside it in a file of tests are not.
    shell::run(clippy(&["--tests", "--examples"]).args(FREE_IN_TESTS))
}

/// For their own target: on the host they do not compile.
fn kernel_lints() -> anyhow::Result<()> {
    let compiler = qos_build::compiler().context("the compiler of the kernel programs")?;
    let mut clippy = compiler.command("cargo");
    clippy.args(["clippy", "-Z", "build-std=core", "--target", "bpfel-unknown-none", "-p", "qos-ebpf", "--release"]);
    clippy.args(["--", "-D", "warnings"]).current_dir(qos_build::root());
    // The compiler that cargo named to this process is not the one meant.
    for variable in ["CARGO", "RUSTUP_TOOLCHAIN"] {
        clippy.env_remove(variable);
    }
    shell::run(&mut clippy)
}

fn documentation() -> anyhow::Result<()> {
    let mut doc = shell::cargo(&["doc", "--no-deps", "--workspace", "--exclude", "qos-ebpf"]);
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Licences, advisories and sources of the dependencies, if cargo-deny is here; its rules always have to be.
fn dependencies() -> anyhow::Result<()> {
    if !qos_build::root().join("deny.toml").exists() {
        bail!("deny.toml is missing");
    }
    let installed = shell::output(&mut shell::cargo(&["deny", "--version"])).is_some();
    if !installed {
        println!("not run: cargo-deny is not installed (cargo install cargo-deny)");
        return Ok(());
    }
    // Advisories come over the network, which CI may not have.
    let checks: &[&str] = if env::var_os("CI").is_some() { &["bans", "licenses", "sources"] } else { &[] };
    shell::run(shell::cargo(&["deny", "check"]).args(checks))
}
