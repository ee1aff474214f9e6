//! The compiler of the kernel programs: a nightly of one commit, since BPF is a target without a stable `core`.

use std::{env, path::PathBuf, process::Command};

/// The nightly of which the object is reproducible.
pub const NIGHTLY: &str = "nightly-2026-05-20";

/// Its commit, by which an undated `nightly` is recognised.
const NIGHTLY_COMMIT: &str = "e50aa6fba4e63ab34c72bf9acfd2c307c1155d1a";

/// A compiler that can make BPF objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// Its name for `rustup run`; `None` is the `rustc` on the PATH, of a system without rustup.
    pub toolchain: Option<String>,
    version: String,
}

impl Compiler {
    /// The `rustc` or another program of this toolchain.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        command(self.toolchain.as_deref(), program)
    }

    /// The major version of its LLVM: bpf-linker reads the bitcode that the compiler writes, and needs the same one.
    #[must_use]
    pub fn llvm_major(&self) -> Option<u32> {
        let version = self.version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
        version.split('.').next()?.parse().ok()
    }

    /// Whether it can bring `core` to BPF: by its sources, or compiled already, as Debian ships it.
    #[must_use]
    pub fn has_core(&self) -> bool {
        let Some(sysroot) = self.sysroot() else { return false };
        let library = sysroot.join("lib/rustlib");
        library.join("src/rust/library/core/Cargo.toml").exists() || library.join("bpfel-unknown-none/lib").exists()
    }

    fn sysroot(&self) -> Option<PathBuf> {
        output(self.command("rustc").args(["--print", "sysroot"])).map(|line| PathBuf::from(line.trim()))
    }
}

/// The pinned nightly, under its own name or as an undated `nightly`; where there is none and `RUSTC_BOOTSTRAP` is set,
/// the compiler that builds the rest.
#[must_use]
pub fn compiler() -> Option<Compiler> {
    let pinned = [NIGHTLY, "nightly"].into_iter().find_map(|name| {
        let found = identify(Some(name))?;
        found.version.contains(NIGHTLY_COMMIT).then_some(found)
    });
    let current = || {
        env::var_os("RUSTC_BOOTSTRAP")?;
        identify(env::var("RUSTUP_TOOLCHAIN").ok().as_deref())
    };
    pinned.or_else(current)
}

fn identify(toolchain: Option<&str>) -> Option<Compiler> {
    let version = output(command(toolchain, "rustc").arg("-vV"))?;
    Some(Compiler { toolchain: toolchain.map(str::to_owned), version })
}

fn command(toolchain: Option<&str>, program: &str) -> Command {
    let mut command = match toolchain {
        None => Command::new(program),
        Some(name) => {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", name, program]);
            rustup
        }
    };
    // Cargo names its own compiler to build scripts; this one is another.
    command.env_remove("RUSTC");
    command
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_version(version: &str) -> Compiler {
        Compiler { toolchain: None, version: version.to_owned() }
    }

    #[test]
    fn llvm_is_read_from_the_verbose_version() {
        let compiler = with_version("rustc 1.97.0-nightly\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n");
        assert_eq!(compiler.llvm_major(), Some(22));
        assert_eq!(with_version("rustc 1.97.0-nightly\n").llvm_major(), None);
    }
}
