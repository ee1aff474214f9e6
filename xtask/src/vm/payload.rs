//! What runs in a guest: the binary and its tests, static, and `ip` with its libraries.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::shell;

/// Needs no library of the system, so that it runs in any guest.
pub const TARGET: &str = "x86_64-unknown-linux-musl";

/// The test programs of a whole run, the quick ones first; what they print is read by [`console`](super::console). The last
/// one leaves the guest locked down.
pub const WHOLE: [&str; 12] = [
    "vlan",
    "real",
    "meters",
    "rules",
    "budget",
    "packets",
    "mechanisms",
    "injected",
    "bad_packets",
    "links",
    "agreement",
    "machine",
];

/// Those that run in a guest only when they are named: how long they wait for what they started is meant for a processor that
/// is not emulated.
pub const NAMED: [&str; 4] = ["loader", "confirm", "service", "faults"];

/// Those that each change has to pass: what programs cost, what they do, that they attach, and what doctor finds of what only
/// these kernels have. The others ask what links and
/// machines do, which a change rarely touches, and take two thirds of the time.
pub const BRIEF: [&str; 6] = ["real", "rules", "budget", "packets", "mechanisms", "agreement"];

/// Those with tests of what only a kernel for all machines has.
pub const FULL: [&str; 1] = ["links"];

/// What a guest would spend its time on: compiling a thousand rules, reading the object and the kernel's BTF.
const OPTIMISED: [&str; 6] = ["qosbpf", "qosbpf-tests", "qos-common", "aya", "aya-obj", "object"];

/// Builds the program and these tests, and puts them into a folder.
///
/// # Errors
///
/// That something does not build.
pub fn build(folder: &Path, programs: &BTreeSet<&str>) -> anyhow::Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = shell::cargo(arguments);
        cargo.args(["--quiet", "--target", TARGET]);
        for package in OPTIMISED {
            cargo.arg("--config").arg(format!("profile.dev.package.{package}.opt-level=1"));
        }
        cargo
    };
    // With the tests' library, so that what both depend on has the features that the tests ask for, and is compiled once.
    shell::run(&mut cargo(&["build", "-p", "qosbpf", "-p", "qosbpf-tests"]))?;
    strip(&shell::target_folder().join(TARGET).join("debug/qosbpf"), &folder.join("qosbpf"))?;
    let mut tests = cargo(&["test", "-p", "qosbpf-tests", "--no-run", "--message-format=json"]);
    tests.args(programs.iter().flat_map(|test| ["--test", test]));
    println!("$ {}", shell::describe(&tests));
    let output = tests.stderr(std::process::Stdio::inherit()).output().context("cargo test --no-run")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let messages = String::from_utf8(output.stdout)?;
    for test in programs {
        let path =
            executable(&messages, test).with_context(|| format!("cargo named no executable of the test {test}"))?;
        strip(&path, &folder.join(test))?;
    }
    copy_records(&folder.join("budgets"))
}

/// Copies a program without what is for debuggers, which is most of it: a guest holds all of it in memory.
fn strip(program: &Path, to: &Path) -> anyhow::Result<()> {
    shell::run(Command::new("strip").arg("-o").arg(to).arg(program))
}

/// The executable of a test in what cargo said, a JSON object a line.
fn executable(messages: &str, test: &str) -> Option<PathBuf> {
    let marks = [format!("\"name\":\"{test}\""), "\"kind\":[\"test\"]".to_owned()];
    let line = messages.lines().find(|line| marks.iter().all(|mark| line.contains(mark)))?;
    let (_, rest) = line.split_once("\"executable\":\"")?;
    rest.split('"').next().map(PathBuf::from)
}

fn copy_records(to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(qos_build::root().join("tests"))?.flatten() {
        let name = entry.file_name().display().to_string();
        if name.starts_with("budget") && name.ends_with(".toml") {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// Copies a program of this system with its libraries, which a guest finds where they were.
///
/// # Errors
///
/// That it is not there.
pub fn copy_program(name: &str, root: &Path) -> anyhow::Result<()> {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let path = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    let path = path.with_context(|| format!("{name} is not installed"))?;
    fs::copy(&path, root.join("bin").join(name))?;
    let libraries = shell::output(Command::new("ldd").arg(&path)).unwrap_or_default();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("a library at /")?)?;
        fs::copy(library, &to).with_context(|| library.to_owned())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_of_a_test_is_found() {
        let messages = "{\"target\":{\"kind\":[\"lib\"],\"name\":\"budget\"},\"executable\":null}\n\
            {\"target\":{\"kind\":[\"test\"],\"name\":\"budget\"},\"executable\":\"/x/budget-1\",\"fresh\":true}\n";
        assert_eq!(executable(messages, "budget"), Some(PathBuf::from("/x/budget-1")));
        assert_eq!(executable(messages, "packets"), None);
    }
}
