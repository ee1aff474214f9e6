//! How a command ends: its exit code, and an error that says what failed, on what, why, and what to do.

use std::{io, process::ExitCode};

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or yes.
    Done,
    /// 1: failed.
    Failed,
    /// 2: the command line or a file is wrong.
    Usage,
    /// 3: the answer is no, or something wanted is not so.
    No,
    /// 4: could not tell.
    Unknown,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What a number says; one that is none of ours, that it failed.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::No,
            4 => Self::Unknown,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Whether a file system, or a user's share of it, has no room.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// An error with what a person or a script needs beside the message.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// A stable word for scripts, such as `no-such-interface`.
    pub code: &'static str,
    /// How the process ends.
    pub exit: Exit,
    /// What failed, on what, and why.
    pub message: String,
    /// What to do about it; a command where there is one.
    pub hint: Option<String>,
    /// The file that it is about, if that is all there is to say of where.
    pub file: Option<String>,
    /// Where in a file, if the fault is in one.
    pub place: Option<Box<Place>>,
}

/// A place in a file; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Place {
    /// The file's name as it was given.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Failure {
    /// A failure without hint or place, that ends with 1.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, exit: Exit::Failed, message: message.into(), hint: None, file: None, place: None }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with another exit code.
    #[must_use]
    pub const fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The same about a file.
    #[must_use]
    pub fn about(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// The same with its place in a file.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }
}

/// What went wrong, and what to do about it, for a line of a log.
#[must_use]
pub fn with_hint(error: &anyhow::Error) -> String {
    let hint = error.downcast_ref::<Failure>().and_then(|failure| failure.hint.as_ref());
    hint.map_or_else(|| format!("{error:#}"), |hint| format!("{error:#}: {hint}"))
}

/// The error and its causes, nothing twice: libraries often repeat the cause in the message, and a failure may begin with what
/// it was found at.
#[must_use]
pub fn in_one_line(error: &anyhow::Error) -> String {
    let (mut line, mut last) = (String::new(), 0);
    for text in error.chain().map(ToString::to_string) {
        if line.contains(&text) {
            continue;
        }
        if line.is_empty() || line.get(last..).is_some_and(|said| text.starts_with(said)) {
            line.truncate(last);
        } else {
            line.push_str(": ");
            last = line.len();
        }
        line.push_str(&text);
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn nothing_is_said_twice_in_one_line() {
        let at_hook = anyhow!("lan0:ingress is attached by xdp-native").context("lan0:ingress");
        assert_eq!(in_one_line(&at_hook), "lan0:ingress is attached by xdp-native");
        assert_eq!(in_one_line(&at_hook.context("not done")), "not done: lan0:ingress is attached by xdp-native");
        let repeated = anyhow!("no such file").context("open: no such file").context("load");
        assert_eq!(in_one_line(&repeated), "load: open: no such file");
    }
}
