//! The built `qosbpf`, run as a user runs it, and what it answered.

use std::{
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// The binary: `QOSBPF_BIN`, else the one that cargo built beside this test.
///
/// # Errors
///
/// That there is none.
pub fn path() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("QOSBPF_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "QOSBPF_BIN: {} is not there", path.display());
        return Ok(path);
    }
    let test = env::current_exe()?;
    let folder = test.parent().and_then(|deps| deps.parent()).context("a test executable in target/PROFILE/deps")?;
    let path = folder.join("qosbpf");
    ensure!(path.is_file(), "{} is not there: cargo build -p qosbpf, or set QOSBPF_BIN", path.display());
    Ok(path)
}

/// Copies a program. Another process does it: whatever a thread of this one starts meanwhile would have the copy open for
/// writing until it is another program, and the kernel starts none that somebody writes (`ETXTBSY`).
///
/// # Errors
///
/// What cp(1) says.
pub fn copy(program: &Path, to: &Path) -> anyhow::Result<()> {
    Answer::of(Command::new("cp").arg(program).arg(to))?.expect(0).map(drop)
}

/// The binary with arguments, without what the tester's own environment would change of its answers.
///
/// # Errors
///
/// Those of [`path`].
pub fn command(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(path()?);
    command.args(arguments);
    for name in ["COLUMNS", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "SUDO_USER"] {
        command.env_remove(name);
    }
    // Said to be none, so that nobody looks for that of whoever started the tests.
    command.env("SSH_CONNECTION", "");
    command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
    Ok(command)
}

/// How a command ended, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The command line, for reports.
    pub line: String,
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// Runs a command to its end, with this on its standard input.
    ///
    /// # Errors
    ///
    /// That it cannot be started, or does not speak UTF-8.
    pub fn with_input(command: &mut Command, input: &[u8]) -> anyhow::Result<Self> {
        let line = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| line.clone())?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not read what is given says why.
            let _not_read = stdin.write_all(input);
        }
        let output = child.wait_with_output()?;
        Ok(Self {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    ///
    /// Those of [`with_input`](Self::with_input).
    pub fn of(command: &mut Command) -> anyhow::Result<Self> {
        Self::with_input(command, &[])
    }

    /// The same, if it ended with this exit code.
    ///
    /// # Errors
    ///
    /// Everything it said, if it did not.
    pub fn expect(self, code: i32) -> anyhow::Result<Self> {
        if self.code == code {
            return Ok(self);
        }
        let Self { line, code: was, stdout, stderr } = self;
        bail!("{line} ended with {was} instead of {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")
    }

    /// Standard output as one JSON document.
    ///
    /// # Errors
    ///
    /// That it is anything else.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("{}: not one JSON document:\n{}", self.line, self.stdout))
    }

    /// The same, if standard error has every one of these words.
    ///
    /// # Errors
    ///
    /// The first that it lacks.
    pub fn complains(self, words: &[&str]) -> anyhow::Result<Self> {
        for word in words {
            ensure!(has(&self.stderr, word), "{}: no `{word}` in:\n{}", self.line, self.stderr);
        }
        Ok(self)
    }

    /// The same, if standard output has every one of these words.
    ///
    /// # Errors
    ///
    /// The first that it lacks.
    pub fn says(self, words: &[&str]) -> anyhow::Result<Self> {
        for word in words {
            ensure!(has(&self.stdout, word), "{}: no `{word}` in:\n{}", self.line, self.stdout);
        }
        Ok(self)
    }
}

/// Whether a text has some words, perhaps on two of its lines: where those are broken depends on how long names are.
fn has(text: &str, words: &str) -> bool {
    text.contains(words) || text.split_whitespace().collect::<Vec<_>>().join(" ").contains(words)
}
