//! One file a command, and what all of them share.

mod attach;
mod detach;

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Color, Command},
    error::{Exit, Failure},
    kernel::{netns, network::Network, pins::Store},
};

/// What a command works with, beside its own arguments.
#[derive(Debug)]
pub struct Context {
    /// Where the pins are.
    pub bpffs: PathBuf,
    /// The network namespace as it was named.
    pub netns: Option<String>,
    /// Leave out explanations.
    pub quiet: bool,
    /// Color on stdout.
    pub color: bool,
}

impl Context {
    /// The pins of this network namespace, to read.
    ///
    /// # Errors
    ///
    /// Foreign pins.
    pub fn store(&self) -> anyhow::Result<Store> {
        Store::open(&self.bpffs)
    }

    /// A netlink connection to it.
    ///
    /// # Errors
    ///
    /// That the kernel gives none.
    pub fn network(&self) -> anyhow::Result<Network> {
        Network::open()
    }
}

/// Runs the command.
///
/// # Errors
///
/// What went wrong; [`report`] says it and gives the exit code.
pub fn run(cli: &Cli) -> anyhow::Result<Exit> {
    if let Some(name) = &cli.global.netns {
        netns::enter(name)?;
    }
    let context = Context {
        bpffs: cli.global.bpffs.clone(),
        netns: cli.global.netns.clone(),
        quiet: cli.global.quiet,
        color: wants_color(cli.global.color, std::io::stdout().is_terminal()),
    };
    match &cli.command {
        Command::Attach(args) => attach::run(args, &context),
        Command::Detach(args) => detach::run(args, &context),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "qosbpf", &mut std::io::stdout());
            Ok(Exit::Done)
        }
        _ => anyhow::bail!("not there yet"),
    }
}

/// Whether to color, by option, terminal and `NO_COLOR`.
#[must_use]
pub fn wants_color(choice: Color, terminal: bool) -> bool {
    let refused = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !refused(),
    }
}

/// Says what went wrong, and gives the exit code.
pub fn report(_cli: &Cli, error: &anyhow::Error) -> Exit {
    let failure = error.downcast_ref::<Failure>();
    let mut stderr = std::io::stderr().lock();
    let _closed = writeln!(stderr, "qosbpf: {error:#}");
    if let Some(hint) = failure.and_then(|failure| failure.hint.as_deref()) {
        let _closed = writeln!(stderr, "  {hint}");
    }
    failure.map_or(Exit::Failed, |failure| failure.exit)
}
