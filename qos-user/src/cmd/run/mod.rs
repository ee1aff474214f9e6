//! `qosbpf run`: the service. It attaches what the policy binds, follows interfaces as they come and go, keeps deadlines
//! and rates, reloads, and serves metrics. The datapath does not need it, and goes on when it ends.

mod config;
mod control;
mod delegate;
mod failures;
mod follow;
mod http;
mod instance;
mod known;
mod loading;
mod lost;
mod members;
mod memory;
mod notify;
mod pace;
mod readings;
mod refusals;
mod released;
mod sampler;
mod seats;
mod service;
mod shared;
mod start;
mod steps;
mod tentative;
mod worker;

use std::sync::{Arc, atomic::AtomicBool};

use signal_hook::consts::SIGHUP;

use self::config::Configured;
use crate::{
    cli::RunArgs,
    cmd::{
        Context,
        control::{Answer, Ask, answer},
    },
    error::{Exit, Failure},
    kernel::{netns, privilege},
    log_lines, queued_lines,
    status::Reload,
};

/// Serves until a signal ends it.
///
/// # Errors
///
/// `privilege`, `busy` if another one serves this network namespace, `settings` if it cannot be said which namespace is
/// meant; what the kernel says to netlink.
pub fn run(args: &RunArgs, context: &Context) -> anyhow::Result<Exit> {
    let configured = config::read_at_once(context);
    // Until the service hears it, the signal must not end the process.
    let hung_up = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGHUP, Arc::clone(&hung_up))?;
    let context = entered(&configured, context)?;
    log_lines::are_about(context.invocation());
    if args.reload {
        return reload(&context);
    }
    queued_lines::write_on()?;
    privilege::demand()?;
    if args.once { start::once(configured, &context) } else { service::run(configured, context, &hung_up) }
}

/// Lets the service that runs here read its files again; 2 if they are wrong.
fn reload(context: &Context) -> anyhow::Result<Exit> {
    match answer(Ask::Reload, context) {
        Ok(Answer::Reloaded(Reload { failure: None, .. })) => Ok(Exit::Done),
        Ok(Answer::Reloaded(Reload { failure: Some(failure), .. })) => {
            Err(Failure::new("reload", format!("what was in force stays so: {failure}")).exit(Exit::Usage).into())
        }
        Ok(Answer::Refused(why)) => Err(Failure::new("refused", format!("qosbpf run does not do it: {why}")).into()),
        Ok(_) => Err(Failure::new("no-answer", "the service answers what nobody has asked")
            .exit(Exit::Unknown)
            .hint("it is of another version: systemctl restart qosbpf")
            .into()),
        Err(silence) => Err(silence.failure("it reloads").into()),
    }
}

/// Goes where the file says, unless the command line has said it already.
fn entered(configured: &Configured, context: &Context) -> anyhow::Result<Context> {
    let mut context = context.clone();
    if let (None, Some(name)) = (&context.netns, &configured.settings.netns) {
        netns::enter(name)?;
        context.netns = Some(name.clone());
    } else if context.netns.is_none() && configured.netns_unknown {
        return Err(config::unknown_namespace(&context));
    }
    Ok(context)
}
