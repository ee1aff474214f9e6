//! Compilers: the nightly of the kernel programs, and the components that `cargo xtask ci` runs.

use std::{path::Path, process::Command};

use qos_build::{Compiler, NIGHTLY};

use super::need::{Cure, Need};
use crate::shell;

/// What is missing of the compilers.
pub fn needs() -> Vec<Need> {
    let compiler = qos_build::compiler();
    let kernel = match &compiler {
        None => vec![nightly()],
        Some(compiler) => components_of(compiler),
    };
    host_components().into_iter().chain(kernel).collect()
}

fn nightly() -> Need {
    let why = "the compiler of the kernel programs";
    if !shell::has_program("rustup") {
        let advice = format!("{NIGHTLY} comes by rustup, which is not here; docs/building.md has the ways without it");
        return Need { what: NIGHTLY.to_owned(), why, cure: Cure::ByHand(advice) };
    }
    let components = ["--profile", "minimal", "--component", "rust-src", "--component", "clippy"];
    let cure = rustup(["toolchain", "install", NIGHTLY].into_iter().chain(components).map(str::to_owned).collect());
    Need { what: NIGHTLY.to_owned(), why, cure }
}

fn components_of(compiler: &Compiler) -> Vec<Need> {
    let Some(toolchain) = &compiler.toolchain else { return Vec::new() };
    let add = |component: &str| ["component", "add", component, "--toolchain", toolchain].map(str::to_owned).to_vec();
    let mut needs = Vec::new();
    if !compiler.has_core() {
        let why = "the sources of core, which is compiled for BPF along with the programs";
        needs.push(Need { what: format!("rust-src of {toolchain}"), why, cure: rustup(add("rust-src")) });
    }
    if shell::output(compiler.command("cargo").args(["clippy", "--version"])).is_none() {
        let why = "the lints of the kernel programs";
        needs.push(Need { what: format!("clippy of {toolchain}"), why, cure: rustup(add("clippy")) });
    }
    needs
}

/// The target whose programs need no library of a guest.
pub fn guest_needs() -> Vec<Need> {
    let target = crate::vm::TARGET;
    let why = "the library of static programs, which run in guests with other kernels";
    let mut rustc = Command::new("rustc");
    let library =
        shell::output(rustc.args(["--print", "target-libdir", "--target", target]).current_dir(qos_build::root()));
    if library.is_some_and(|folder| Path::new(folder.trim()).exists()) {
        return Vec::new();
    }
    let cure = if shell::has_program("rustup") {
        rustup(["target", "add", target].map(str::to_owned).to_vec())
    } else {
        Cure::ByHand(format!("the standard library of {target} comes by rustup, which is not here"))
    };
    vec![Need { what: target.to_owned(), why, cure }]
}

/// Without rustup they are the system's affair, and `cargo xtask ci` fails where it needs them.
fn host_components() -> Vec<Need> {
    if !shell::has_program("rustup") {
        return Vec::new();
    }
    let components = [("clippy", "clippy", "the lints"), ("rustfmt", "fmt", "the format of the code")];
    let missing = components
        .into_iter()
        .filter(|(_, subcommand, _)| shell::output(&mut shell::cargo(&[subcommand, "--version"])).is_none());
    missing
        .map(|(name, _, why)| Need {
            what: name.to_owned(),
            why,
            cure: rustup(["component", "add", name].map(str::to_owned).to_vec()),
        })
        .collect()
}

fn rustup(arguments: Vec<String>) -> Cure {
    Cure::Command(Box::new(move || {
        let mut command = Command::new("rustup");
        command.args(&arguments);
        command
    }))
}
