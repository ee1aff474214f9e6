//! One file a command, and what all of them share.

mod attach;
mod context;
mod demo;
mod detach;
pub mod dscp;
mod expect;
mod foreground;
mod policy;
mod report;
mod site;
mod stats;
mod status;
mod watch;
mod who;

use std::io::stdout;

pub use self::{
    context::{Context, wants_color},
    report::{report, report_usage},
};
use crate::{
    cli::{self, Cli, Command},
    error::Exit,
    kernel::netns,
};

/// Runs the command.
///
/// # Errors
///
/// What went wrong; [`report`] says it and gives the exit code.
pub fn run(cli: &Cli) -> anyhow::Result<Exit> {
    if let Some(name) = &cli.global.netns {
        netns::enter(name)?;
    }
    let context = Context::new(cli);
    match &cli.command {
        Command::Attach(args) => attach::run(args, &context),
        Command::Detach(args) => detach::run(args, &context),
        Command::Status(args) => status::run(args, &context),
        Command::Stats(args) => stats::run(args, &context),
        Command::Policy(command) => policy::run(command, &context),
        Command::Expect(args) => expect::run(args, &context),
        Command::Dscp(args) => dscp::run(args, &mut stdout().lock()),
        Command::Demo(args) => demo::run(args, &context),
        Command::Completions { shell } => {
            cli::completions(*shell, &mut stdout());
            Ok(Exit::Done)
        }
    }
}
