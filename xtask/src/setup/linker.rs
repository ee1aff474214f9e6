//! bpf-linker, and the LLVM it is built with: of the same major version as the compiler's, whose bitcode it reads.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use qos_build::LINKER_VERSION;

use super::need::{Cure, Need};
use crate::shell;

/// The libraries that are missing to build it; none if it runs, or as long as the compiler is not here to tell which.
pub fn libraries() -> Vec<Need> {
    if qos_build::linker_folder().is_some() {
        return Vec::new();
    }
    llvm_major().map(|llvm| missing_libraries(llvm, &prefix(llvm))).unwrap_or_default()
}

/// The linker itself, if it does not run.
pub fn needs() -> Vec<Need> {
    if qos_build::linker_folder().is_some() {
        return Vec::new();
    }
    let cure = match llvm_major() {
        Some(llvm) => Cure::Command(Box::new(move || install(llvm, &prefix(llvm)))),
        None => Cure::ByHand("the compiler of the kernel programs does not tell its LLVM".to_owned()),
    };
    let why = "links the kernel programs (about a minute to build)";
    vec![Need { what: format!("bpf-linker {LINKER_VERSION}"), why, cure }]
}

fn llvm_major() -> Option<u32> {
    qos_build::compiler()?.llvm_major()
}

/// Where LLVM is: where Debian and Ubuntu have it, unless the user says otherwise.
fn prefix(llvm: u32) -> PathBuf {
    env::var_os("LLVM_PREFIX").map_or_else(|| PathBuf::from(format!("/usr/lib/llvm-{llvm}")), PathBuf::from)
}

fn missing_libraries(llvm: u32, prefix: &Path) -> Vec<Need> {
    let why = "the LLVM that bpf-linker is built with, of the same major version as the compiler's";
    let parts =
        [("include/llvm-c/Core.h", format!("llvm-{llvm}-dev")), ("lib/libPolly.a", format!("libpolly-{llvm}-dev"))];
    let missing = parts.into_iter().filter(|(sign, _)| !prefix.join(sign).exists());
    missing.map(|(_, package)| Need { what: package.clone(), why, cure: Cure::Package(package) }).collect()
}

/// `--force`, because cargo takes a linker for installed that no longer runs.
fn install(llvm: u32, prefix: &Path) -> Command {
    let feature = format!("llvm-{llvm}");
    let tools = qos_build::tools_folder();
    let mut command = shell::cargo(&["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"]);
    command.args(["--no-default-features", "--features", &feature, "--root"]).arg(tools);
    command.env("LLVM_PREFIX", prefix);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_of_the_major_version() {
        let needs = missing_libraries(99, Path::new("/nonexistent"));
        let packages: Vec<_> = needs.iter().filter_map(Need::package).collect();
        assert_eq!(packages, ["llvm-99-dev", "libpolly-99-dev"]);
    }

    #[test]
    fn the_linker_is_built_for_the_version_and_into_the_repository() {
        let command = shell::describe(&install(99, Path::new("/opt/llvm")));
        for part in ["LLVM_PREFIX=/opt/llvm", "--version 0.13.0", "--features llvm-99", "target/tools"] {
            assert!(command.contains(part), "{part}: {command}");
        }
    }
}
