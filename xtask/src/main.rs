//! The chores of this repository, each a subcommand: `cargo xtask --help`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to whoever runs it, and to nothing else")]

mod architecture;
mod bench;
mod ci;
mod demo;
mod docs;
mod fuzz;
mod markdown;
mod parallel;
mod prove;
mod setup;
mod shell;
mod source;
mod summary;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The chores of this repository")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what is missing to build, test and try qosbpf.
    Setup {
        /// Only list what is missing; exit 1 if anything is.
        #[arg(long)]
        check: bool,
    },
    /// Set up, and build target/release/qosbpf.
    Build,
    /// Set up, build, and show qosbpf at work in network namespaces of its own.
    Demo,
    /// Set up, build, and run all tests; those of the kernel need root.
    Test,
    /// Set up, build, and measure: programs against floors in C, a router against other tools, commands, CPUs.
    Bench(bench::Options),
    /// Run the kernel tests in guests with other kernels, in emulation, and write docs/kernels.md.
    Vm(vm::Options),
    /// Try at length what the tests try for seconds: frames, policies, kills; and write what came of it into
    /// docs/reliability.md.
    Prove(prove::Options),
    /// Set up, and run the fuzz targets, each for some seconds, beginning with the corpus that is kept.
    Fuzz(fuzz::Options),
    /// What needs no test to be seen: format, architecture, lints, documentation. The beginning of `ci`.
    Check,
    /// Everything that a change has to pass: format, lints, architecture, documentation, tests, fuzzing, kernels.
    Ci,
}

fn main() -> ExitCode {
    let result = match Cli::parse().chore {
        Chore::Setup { check: false } => setup::run().map(|()| ExitCode::SUCCESS),
        Chore::Setup { check: true } => setup::check(),
        Chore::Build => demo::build().map(|()| ExitCode::SUCCESS),
        Chore::Demo => demo::run(),
        Chore::Test => test::run().map(|()| ExitCode::SUCCESS),
        Chore::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
        Chore::Vm(options) => vm::run(&options).map(|()| ExitCode::SUCCESS),
        Chore::Prove(options) => prove::run(&options).map(|()| ExitCode::SUCCESS),
        Chore::Fuzz(options) => fuzz::run(&options).map(|()| ExitCode::SUCCESS),
        Chore::Check => ci::check().map(|()| ExitCode::SUCCESS),
        Chore::Ci => ci::run().map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
