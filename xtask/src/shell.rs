//! Running other programs, and saying so.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// The cargo that runs this, in the repository's folder.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(qos_build::root());
    command
}

/// Prints a command and runs it.
///
/// # Errors
///
/// If it cannot be started, or fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    println!("$ {}", describe(command));
    let status = command.status().with_context(|| describe(command))?;
    if !status.success() {
        bail!("{} ended with {status}", describe(command));
    }
    Ok(())
}

/// What a command prints; `None` if it fails or is not there.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// What git says of a repository; `None` if it fails.
pub fn git(repository: &Path, arguments: &[&str]) -> Option<String> {
    let said = output(Command::new("git").arg("-C").arg(repository).args(arguments))?;
    Some(said.trim().to_owned())
}

/// The day on which a file was written, as `2026-01-31`.
///
/// # Errors
///
/// That it is not there.
pub fn date_of(file: &Path) -> anyhow::Result<String> {
    date(Command::new("date").arg("-r").arg(file))
}

/// That of today.
///
/// # Errors
///
/// That there is no date(1).
pub fn today() -> anyhow::Result<String> {
    date(&mut Command::new("date"))
}

fn date(command: &mut Command) -> anyhow::Result<String> {
    let said = output(command.args(["-u", "+%Y-%m-%d"])).with_context(|| describe(command))?;
    Ok(said.trim().to_owned())
}

/// A command as one would type it, its environment first.
pub fn describe(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| Some((name.display(), value?.display())));
    let set = set.map(|(name, value)| format!("{name}={value}"));
    // The path of a program says nothing that its name does not.
    let program = PathBuf::from(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let words = [program].into_iter().chain(command.get_args()).map(quoted);
    set.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.display().to_string();
    if word.contains([' ', '\'', '"', '*', '$']) { format!("{word:?}") } else { word }
}

/// Why a chore is not done.
pub const ROOT_ONLY: &str = "only root can load programs and make network namespaces";

/// Whether this process may do what root may.
///
/// # Errors
///
/// If there is no `/proc`.
pub fn is_root() -> anyhow::Result<bool> {
    Ok(fs::metadata("/proc/self").context("/proc/self")?.uid() == 0)
}

/// Whether a program is there, also where administrators' programs are.
pub fn has_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).any(|program| program.is_file())
}

/// The folder into which cargo builds.
pub fn target_folder() -> PathBuf {
    let root = qos_build::root();
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}
