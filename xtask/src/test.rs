//! `cargo xtask test`: all tests, and one line that sums them up.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead as _, BufReader},
    mem,
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, bail};

use crate::{
    setup, shell,
    summary::{Failure, Reader},
};

/// Sets up, builds, and runs all tests.
///
/// # Errors
///
/// If a test fails, a test program ran none of its tests, or this is not root, who alone can run those of the kernel.
pub fn run() -> anyhow::Result<()> {
    setup::run()?;
    if shell::is_root()? {
        println!("setup: the floors in C have to count as qosbpf does, which one of the tests compares");
        setup::for_bench()?;
    }
    run_after_setup()
}

/// The test of the measurements that needs root: whether what they measure against does the same job.
const GATE: &str = "floors_do_and_count_what_qosbpf_does";

/// The same where everything is installed.
///
/// # Errors
///
/// As [`run`].
pub fn run_after_setup() -> anyhow::Result<()> {
    let root = shell::is_root()?;
    // It builds the program too, which the tests of its package start: in the debug profile, since what they wait for is the
    // kernel. A build of it alone would compile what it depends on once more, with the features that it alone asks for.
    let mut command = shell::cargo(&["test", "--workspace", "--exclude", "qos-ebpf", "--no-fail-fast"]);
    command.env("QOSBPF_BIN", shell::target_folder().join("debug/qosbpf")).env(THREADS, threads());
    if !root {
        command.args(kernel_package(&qos_build::root()).iter().flat_map(|package| ["--exclude", package]));
        command.args(["--", "--skip", GATE]);
    }
    let (success, mut reader) = read(&mut command, |_| ())?;
    let success = success || second_look(&mut reader)?;
    let unrun = if root { Vec::new() } else { needing_root(&qos_build::root()) };
    if !unrun.is_empty() {
        println!("not run, since they need root (network namespaces, BPF programs): {}", unrun.join(", "));
    }
    for target in &reader.idle {
        println!("has tests, and ran none of them: {target}");
    }
    println!("{}", reader.sum);
    match (success, reader.idle.is_empty(), unrun.is_empty()) {
        (false, ..) => bail!("tests failed"),
        (true, false, _) => bail!("test programs ran none of their tests"),
        (true, true, false) => bail!("only root can run all tests"),
        (true, true, true) => Ok(()),
    }
}

/// How many tests of a program run at a time.
const THREADS: &str = "RUST_TEST_THREADS";

/// What somebody has set, else half as many again as there are processors: most tests wait for a clock, or for the kernel.
fn threads() -> OsString {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    env::var_os(THREADS).unwrap_or_else(|| processors.div_ceil(2).saturating_add(processors).to_string().into())
}

/// How many tests may fail for want of time before the whole run counts as failed.
const SECOND_LOOKS: usize = 3;

/// The programs whose tests are about what happens at the same time: one that fails beside others and passes alone may
/// have found what it is there to find.
const RACES: [&str; 6] = ["confirm", "faults", "loader", "reborn", "service", "systemd"];

/// Whether failures may have come of a busy machine alone.
fn may_be_chance(failures: &[Failure]) -> bool {
    let is_race = |failure: &Failure| failure.program.as_deref().is_some_and(|program| RACES.contains(&program));
    (1..=SECOND_LOOKS).contains(&failures.len()) && !failures.iter().any(is_race)
}

/// Runs the few tests that failed beside others once more, each alone: on a busy machine a packet waits for longer than a
/// test does. Those that pass then are named as what they are, and everything else stays a failure.
fn second_look(reader: &mut Reader) -> anyhow::Result<bool> {
    if !reader.is_whole() || !may_be_chance(&reader.failures) {
        return Ok(false);
    }
    let failures = mem::take(&mut reader.failures);
    let mut unsteady = Vec::new();
    for Failure { program, test } in &failures {
        let Some(program) = program else { return Ok(false) };
        let mut command = of_program(program);
        command.args(["--", "--exact", test]);
        let (success, again) = read(&mut command, |_| ())?;
        if !success || again.sum.passed() == 0 {
            return Ok(false);
        }
        unsteady.push(format!("{program} {test}"));
    }
    reader.sum.redeem(unsteady.len() as u64);
    println!("UNSTEADY, failed beside others and passed alone: {}", unsteady.join(", "));
    Ok(true)
}

/// The tests of one program, of all packages: else what they depend on would have other features, and be built again.
pub fn of_program(name: &str) -> Command {
    let mut command = shell::cargo(&["test", "--workspace", "--exclude", "qos-ebpf", "--test", name]);
    command.env("QOSBPF_BIN", shell::target_folder().join("debug/qosbpf"));
    command
}

/// Runs `cargo test`, passing its lines on while reading them.
///
/// # Errors
///
/// That it cannot be started.
pub fn read(command: &mut Command, mut each: impl FnMut(&str)) -> anyhow::Result<(bool, Reader)> {
    println!("$ {}", shell::describe(command));
    // One pipe for both, since the names of the test programs come on stderr and their results on stdout.
    let (output, input) = io::pipe().context("pipe")?;
    let mut child = command.stdout(input.try_clone()?).stderr(input).spawn().context("cargo test")?;
    // The command holds the writing end, and reading ends when nobody does.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut reader = Reader::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cargo test")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        each(&line);
        reader.line(&line);
    }
    Ok((child.wait().context("cargo test")?.success(), reader))
}

/// The package in `tests/`, which has whatever needs a kernel.
fn kernel_package(root: &Path) -> Option<String> {
    let manifest = fs::read_to_string(root.join("tests/Cargo.toml")).ok()?;
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = "))?;
    Some(name.trim_matches('"').to_owned())
}

/// What needs root: the programs of the kernel package, and the gate.
fn needing_root(root: &Path) -> Vec<String> {
    let Ok(folder) = fs::read_dir(root.join("tests/tests")) else { return Vec::new() };
    let paths = folder.flatten().map(|entry| entry.path());
    let is_program = |path: &PathBuf| path.extension().is_some_and(|it| it == "rs") || path.join("main.rs").exists();
    let names = paths.filter(is_program).filter_map(|path| path.file_stem().map(|stem| stem.display().to_string()));
    let mut names: Vec<String> = names.chain([GATE.to_owned()]).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(programs: &[&str]) -> Vec<Failure> {
        let failure = |program: &&str| Failure { program: Some((*program).to_owned()), test: "a_test".to_owned() };
        programs.iter().map(failure).collect()
    }

    #[test]
    fn a_few_failures_may_be_chance_but_none_of_a_race() {
        assert!(may_be_chance(&failed(&["traffic", "links", "mechanisms"])));
        assert!(!may_be_chance(&[]) && !may_be_chance(&failed(&["traffic"; 4])));
        for race in RACES {
            assert!(!may_be_chance(&failed(&[race])) && !may_be_chance(&failed(&["traffic", race])), "{race}");
        }
    }

    #[test]
    fn the_gate_of_the_measurements_is_a_test_that_there_is() {
        let gate = qos_build::root().join("bench/src/program/contract.rs");
        assert!(fs::read_to_string(gate).is_ok_and(|text| text.contains(&format!("fn {GATE}()"))));
    }

    #[test]
    fn all_that_needs_root_is_named() {
        let named = needing_root(&qos_build::root());
        for name in ["vlan", "traffic", "faults", GATE] {
            assert!(named.iter().any(|needs| needs == name), "{name}: {named:?}");
        }
    }

    #[test]
    fn the_races_are_programs_that_there_are() {
        let tests = qos_build::root().join("tests/tests");
        for race in RACES {
            assert!(tests.join(race).join("main.rs").exists() || tests.join(format!("{race}.rs")).exists(), "{race}");
        }
    }
}
