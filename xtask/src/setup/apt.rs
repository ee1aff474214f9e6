//! Packages of Debian and Ubuntu.

use std::process::Command;

use anyhow::bail;

use crate::shell;

/// Installs packages; the package lists are fetched once, and only if they lack a package or are out of date.
///
/// # Errors
///
/// If the archive has no such package, there is no apt, or this is not root: then what root has to run is printed.
pub fn install(packages: &[&str]) -> anyhow::Result<()> {
    if !shell::has_program("apt-get") {
        bail!("there is no apt-get here; install what these packages of Debian have: {}", packages.join(" "));
    }
    if !shell::is_root()? {
        println!("setup: to be run as root:");
        println!("  apt-get update");
        println!("  {}", shell::describe(&get(packages)));
        bail!("root has to install {}", packages.join(" "));
    }
    let fresh = !lacking(packages).is_empty();
    if fresh {
        update()?;
    }
    let lacking = lacking(packages);
    if !lacking.is_empty() {
        bail!("the archive of this system has no {}; docs/building.md has the other ways", lacking.join(" "));
    }
    match shell::run(&mut get(packages)) {
        // Old lists name files that the archive no longer has.
        Err(_) if !fresh => update().and_then(|()| shell::run(&mut get(packages))),
        result => result,
    }
}

fn update() -> anyhow::Result<()> {
    shell::run(Command::new("apt-get").args(["-q", "update"]))
}

fn get(packages: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["install", "-q", "-y", "--no-install-recommends"]).args(packages);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Those of which the lists have no version.
fn lacking<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    packages.iter().copied().filter(|package| !has(package)).collect()
}

/// Whether the lists have a version of a package.
pub fn has(package: &str) -> bool {
    let policy = shell::output(Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C"));
    policy.is_some_and(|policy| has_candidate(&policy))
}

/// Whether the words of `apt-cache policy PACKAGE` name a version to install.
fn has_candidate(policy: &str) -> bool {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    candidate.is_some_and(|candidate| candidate != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_a_version_to_install() {
        assert!(has_candidate("gcc:\n  Installed: (none)\n  Candidate: 4:12.2.0-3\n  Version table:\n"));
        assert!(!has_candidate("llvm-99-dev:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"));
        assert!(!has_candidate(""), "apt says nothing of a package it never heard of");
    }
}
