//! What it takes to build the kernel programs, found in one place for the build script and for `cargo xtask setup`.
//!
//! Nothing is installed here: a build script that installs would surprise. What is absent is named, and so is the
//! command that brings it.

mod compiler;
mod linker;
mod object;

use std::{
    fmt,
    path::{Path, PathBuf},
};

pub use compiler::{Compiler, NIGHTLY, compiler};
pub use linker::{LINKER_VERSION, linker_folder};
pub use object::check_object;

/// The command that installs whatever is missing.
pub const SETUP: &str = "cargo xtask setup";

/// What the kernel programs are built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// The compiler.
    pub compiler: Compiler,
    /// The folder that has the bpf-linker to use.
    pub linker_folder: PathBuf,
}

/// Something that the kernel programs cannot be built without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The pinned nightly.
    Compiler,
    /// The sources of `core`, which is compiled for BPF along with the programs.
    CoreSource,
    /// bpf-linker of the pinned version, or a library that it is linked with.
    Linker,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler => f.write_str(NIGHTLY),
            Self::CoreSource => write!(f, "rust-src of {NIGHTLY}"),
            Self::Linker => write!(f, "bpf-linker {LINKER_VERSION}"),
        }
    }
}

/// The tools, or all that is missing of them.
///
/// # Errors
///
/// The list of what is missing; it is never empty.
pub fn tools() -> Result<Tools, Vec<Missing>> {
    let compiler = compiler();
    let linker_folder = linker_folder();
    let missing: Vec<Missing> = [
        compiler.is_none().then_some(Missing::Compiler),
        compiler.as_ref().is_some_and(|compiler| !compiler.has_core()).then_some(Missing::CoreSource),
        linker_folder.is_none().then_some(Missing::Linker),
    ]
    .into_iter()
    .flatten()
    .collect();
    match (compiler, linker_folder) {
        (Some(compiler), Some(linker_folder)) if missing.is_empty() => Ok(Tools { compiler, linker_folder }),
        _ => Err(missing),
    }
}

/// The sentence for somebody whose build ends here.
#[must_use]
pub fn explain(missing: &[Missing]) -> String {
    let names: Vec<String> = missing.iter().map(Missing::to_string).collect();
    format!("the kernel programs need {}, not found here; run: {SETUP}", names.join(" and "))
}

/// The repository's folder.
#[must_use]
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Where `cargo xtask setup` installs bpf-linker: a folder of the repository, so that nothing else on the machine
/// changes and two checkouts may differ.
#[must_use]
pub fn tools_folder() -> PathBuf {
    root().join("target/tools")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_one_line_that_names_the_command() {
        let line = explain(&[Missing::Compiler, Missing::Linker]);
        assert_eq!(
            line,
            "the kernel programs need nightly-2026-05-20 and bpf-linker 0.13.0, not found here; run: cargo xtask setup"
        );
    }
}
