//! One file a command, and what all of them share.

mod absent;
mod applied;
mod applying;
mod attach;
mod attaching;
mod conditioner;
mod context;
pub mod control;
mod counting;
mod deadline;
mod demo;
mod detach;
mod doctor;
pub mod dscp;
mod earlier;
mod events;
mod expect;
mod foreground;
mod journal;
mod kept;
mod misplaced;
mod outdated;
pub mod policy;
mod reading;
mod recovery;
mod report;
mod run;
mod saved;
mod site;
mod slot;
mod ssh;
mod stats;
mod status;
mod timer;
mod twice;
mod twin;
mod unpinned;
mod wanted;
mod watch;

mod who;
mod why;

pub use self::{
    context::{Context, wants_color},
    report::{report, report_usage},
};
use crate::{
    cli::{self, Cli, Command},
    error::Exit,
    kernel::netns,
    log_lines,
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
    let mut context = Context::new(cli);
    // The timer detaches itself first; the service looks where its settings say.
    if !matches!(cli.command, Command::Timer | Command::Run(_)) {
        log_lines::are_about(context.invocation());
        // Who bypasses is in a hurry.
        let first = matches!(cli.command, Command::Policy(cli::PolicyCommand::Bypass(_)));
        context.taken_back = if first { None } else { deadline::settle(&context) };
    }
    match &cli.command {
        Command::Attach(args) => attach::run(args, &context),
        Command::Detach(args) => detach::run(args, &context),
        Command::Status(args) => status::run(args, &context),
        Command::Stats(args) => stats::run(args, &context),
        Command::Policy(command) => policy::run(command, &context),
        Command::Expect(args) => expect::run(args, &context),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::Events(args) => events::run(args, &context),
        Command::Dscp(args) => {
            let mut text = Vec::new();
            let exit = dscp::run(args, &site::classes(&context), &mut text)?;
            context.document(&String::from_utf8(text)?)?;
            Ok(exit)
        }
        Command::Run(args) => run::run(args, &context),
        Command::Demo(args) => demo::run(args, &context),
        Command::Why(args) => why::run(args, &context),
        Command::Timer => timer::run(&context),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            cli::completions(*shell, &mut text);
            context.document(&String::from_utf8(text)?)?;
            Ok(Exit::Done)
        }
    }
}
