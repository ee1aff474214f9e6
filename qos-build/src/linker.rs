//! bpf-linker: it links bitcode, drops what is unused, and writes BTF.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools_folder;

/// The version of bpf-linker with which the programs are verified.
pub const LINKER_VERSION: &str = "0.13.0";

/// The folder of a bpf-linker of that version which runs: the repository's own, else one on the PATH.
#[must_use]
pub fn linker_folder() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    [tools_folder().join("bin")].into_iter().chain(env::split_paths(&path)).find(|folder| is_pinned(folder))
}

/// Running it also finds that its LLVM is gone, as after an upgrade of the system.
fn is_pinned(folder: &Path) -> bool {
    let program = folder.join("bpf-linker");
    let output = program.exists().then(|| Command::new(program).arg("--version").output());
    output.and_then(Result::ok).is_some_and(|output| {
        let wanted = format!("bpf-linker {LINKER_VERSION}");
        output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == wanted
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, io, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn pretend(name: &str, script: &str) -> io::Result<PathBuf> {
        let folder = env::temp_dir().join(format!("qos-build-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let program = folder.join("bpf-linker");
        fs::write(&program, script)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }

    #[test]
    fn only_the_pinned_version_that_runs_is_taken() -> io::Result<()> {
        let cases = [
            ("pinned", "#!/bin/sh\necho bpf-linker 0.13.0\n", true),
            ("older", "#!/bin/sh\necho bpf-linker 0.9.13\n", false),
            ("broken", "#!/bin/sh\necho bpf-linker 0.13.0\nexit 127\n", false),
        ];
        for (name, script, taken) in cases {
            let folder = pretend(name, script)?;
            assert_eq!(is_pinned(&folder), taken, "{name}");
            fs::remove_dir_all(folder)?;
        }
        assert!(!is_pinned(Path::new("/nonexistent")));
        Ok(())
    }
}
