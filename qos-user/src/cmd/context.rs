//! What a command works with, beside its own arguments: where the pins are, and how output looks.

use std::{
    env,
    io::{self, ErrorKind, IsTerminal as _, Write as _, stderr, stdout},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::tz::TimeZone;

use crate::{
    cli::{Cli, Color, ETC},
    error::{Failure, is_full},
    invocation::Invocation,
    journal_lines,
    kernel::{bpffs, network::Network, pending::TakenBack, pins::Store},
    render::{Look, harmless, one_line},
};

/// What a command works with, beside its own arguments.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where the pins are.
    pub bpffs: PathBuf,
    /// The folder of the saved policy.
    pub etc: PathBuf,
    /// The network namespace as it was named.
    pub netns: Option<String>,
    /// Leave out explanations.
    pub quiet: bool,
    /// Color on stdout.
    pub color: bool,
    /// Color on stderr.
    pub color_on_stderr: bool,
    /// The policy that was taken back before the command began, since nobody had confirmed it in time or its apply was cut short.
    pub taken_back: Option<TakenBack>,
    /// Whether this is a service: what it says beside its work are lines of its log.
    serves: bool,
    /// Where output goes instead of stdout and stderr.
    captured: Option<Captured>,
}

/// What a command says, for somebody who is not at this process's terminal, or for later.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<Said>>>);

/// A part of it.
#[derive(Debug)]
enum Said {
    /// Of the answer, on stdout.
    Answer(String),
    /// Beside it, on stderr.
    Beside(String),
}

impl Captured {
    /// All that was said so far: stdout and stderr.
    #[must_use]
    pub fn take(&self) -> (String, String) {
        let mut both = (String::new(), String::new());
        for said in std::mem::take(&mut *self.said()) {
            match said {
                Said::Answer(text) => both.0.push_str(&text),
                Said::Beside(text) => both.1.push_str(&text),
            }
        }
        both
    }

    fn said(&self) -> MutexGuard<'_, Vec<Said>> {
        // Text that is cut off by a panic is still text.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// What the command line says of every command.
    #[must_use]
    pub fn new(cli: &Cli) -> Self {
        let global = &cli.global;
        Self {
            bpffs: global.bpffs.clone(),
            etc: global.etc.clone(),
            netns: global.netns.clone(),
            quiet: global.quiet,
            color: wants_color(global.color, stdout().is_terminal()),
            color_on_stderr: wants_color(global.color, stderr().is_terminal()),
            taken_back: None,
            serves: cli.command.serves(),
            captured: None,
        }
    }

    /// How the next command is typed, to be about the same network namespace, pins and saved policy.
    #[must_use]
    pub fn invocation(&self) -> Invocation {
        let unless = |path: &Path, usual: &str| (path.as_os_str() != usual).then(|| path.display().to_string());
        Invocation {
            netns: self.netns.clone(),
            bpffs: unless(&self.bpffs, bpffs::DEFAULT),
            etc: unless(&self.etc, ETC),
        }
    }

    /// The same, without color, and what is said is kept.
    #[must_use]
    pub fn captured(&self) -> (Self, Captured) {
        let captured = Captured::default();
        let context = Self { color: false, color_on_stderr: false, captured: Some(captured.clone()), ..self.clone() };
        (context, captured)
    }

    /// Works, and says only afterwards what there was to say, in its order. For work under a lock: a terminal that is stopped
    /// (Ctrl-S), or a pipe that nobody reads, holds up whoever writes to it, and would keep the lock from everybody else.
    ///
    /// # Errors
    ///
    /// Those of the work, then those of [`print`](Self::print).
    pub fn afterwards<T>(&self, work: impl FnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let captured = Captured::default();
        let done = work(&Self { captured: Some(captured.clone()), ..self.clone() });
        let said = std::mem::take(&mut *captured.said());
        let written = said.into_iter().try_for_each(|said| match said {
            Said::Answer(text) => self.document(&text),
            Said::Beside(text) => {
                self.warn(&text);
                Ok(())
            }
        });
        let done = done?;
        written.map(|()| done)
    }

    /// The pins of this network namespace, to read.
    ///
    /// # Errors
    ///
    /// Foreign pins, or that they cannot be seen from here.
    pub fn store(&self) -> anyhow::Result<Store> {
        bpffs::refuse_hidden(&self.bpffs)?;
        Store::open(&self.bpffs)
    }

    /// The policy that a reboot brings back.
    #[must_use]
    pub fn saved(&self) -> PathBuf {
        self.etc.join("policy.toml")
    }

    /// What `run` has last put in force of it.
    #[must_use]
    pub fn last_good(&self) -> PathBuf {
        self.etc.join("last-good.toml")
    }

    /// A netlink connection to it.
    ///
    /// # Errors
    ///
    /// That the kernel gives none.
    pub fn network(&self) -> anyhow::Result<Network> {
        Network::open()
    }

    /// How screens look here.
    #[must_use]
    pub fn look(&self) -> Look {
        Look {
            zone: TimeZone::system(),
            ascii: plain_terminal(),
            color: self.color,
            quiet: self.quiet,
            invocation: self.invocation(),
        }
    }

    /// Prints lines to stdout, without a control character: names come from outside. A reader such as `head` that has seen enough is no fault of ours, and changes no exit code.
    ///
    /// # Errors
    ///
    /// That it cannot be written, as on a full disk.
    pub fn print(&self, text: &str) -> anyhow::Result<()> {
        self.document(&harmless(text, false))
    }

    /// The same for a screen, which has colors.
    ///
    /// # Errors
    ///
    /// Those of [`print`](Self::print).
    pub fn screen(&self, text: &str) -> anyhow::Result<()> {
        self.document(&harmless(text, self.color))
    }

    /// The same for what a program reads, which escapes by its own rules.
    ///
    /// # Errors
    ///
    /// Those of [`print`](Self::print).
    pub fn document(&self, text: &str) -> anyhow::Result<()> {
        self.reaches(text).map(drop)
    }

    /// The same for what goes on and on: whether anybody reads any more.
    ///
    /// # Errors
    ///
    /// Those of [`print`](Self::print).
    pub fn reaches(&self, text: &str) -> anyhow::Result<bool> {
        if let Some(captured) = &self.captured {
            captured.said().push(Said::Answer(text.to_owned()));
            return Ok(true);
        }
        let mut out = stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).map_err(|error| not_written(&error).into()),
        }
    }

    /// Says something beside the answer, on stderr.
    pub fn warn(&self, text: &str) {
        if self.quiet && !self.serves {
            return;
        }
        if let Some(captured) = &self.captured {
            captured.said().push(Said::Beside(harmless(text, self.color_on_stderr)));
        } else if self.serves {
            log(text);
        } else {
            let text = harmless(text, self.color_on_stderr);
            let text = journal_lines::beside_the_log(&text, tracing::Level::WARN);
            let _nobody_reads = stderr().lock().write_all(text.as_bytes());
        }
    }
}

/// An answer that nobody has got.
fn not_written(error: &io::Error) -> Failure {
    let full = "make room where the output goes, or send it elsewhere";
    let hint = if is_full(error) { full } else { "send the output elsewhere" };
    Failure::new("output", format!("the answer cannot be written to stdout: {error}")).hint(hint)
}

/// Lines of the log, which say by their level what they are.
fn log(text: &str) {
    for line in text.lines() {
        let said = line.strip_prefix("qosbpf: ").unwrap_or(line);
        tracing::warn!("{}", one_line(said.strip_prefix("! ").unwrap_or(said)));
    }
}

/// A serial line or a locale without UTF-8 shows ASCII alone.
fn plain_terminal() -> bool {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
    !utf8 || set("TERM").is_some_and(|term| term == "dumb" || term.starts_with("vt"))
}

/// Whether to color, by option, terminal and `NO_COLOR`.
#[must_use]
pub fn wants_color(choice: Color, terminal: bool) -> bool {
    let refused = || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !refused(),
    }
}
