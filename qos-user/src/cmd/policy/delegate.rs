//! Who may not change hooks may ask the service to, if it lets him.

use std::io::{Write as _, stderr};

use crate::{
    cli::PolicyCommand,
    cmd::{
        Context,
        control::{self, Answer, Ask, Command},
    },
    error::{Exit, Failure},
    kernel::privilege,
    render::harmless,
};

/// Lets the service run a command for which this process lacks the privileges; `None` if it is to be run here.
///
/// # Errors
///
/// `refused` by the service, with its reason; `no-answer`.
pub fn to_service(command: &PolicyCommand, context: &Context) -> anyhow::Result<Option<Exit>> {
    let Some(command) = delegated(command) else { return Ok(None) };
    if privilege::demand().is_ok() {
        return Ok(None);
    }
    match control::answer(Ask::Command(command), context) {
        Ok(Answer::Said(said)) => {
            context.document(&said.stdout)?;
            let _nobody_reads = stderr().lock().write_all(harmless(&said.stderr, false).as_bytes());
            Ok(Some(Exit::from_code(said.code)))
        }
        Ok(Answer::Refused(why)) => Err(Failure::new("refused", format!("qosbpf run does not do it: {why}"))
            .hint("group = \"NAME\" in qosbpf.toml lets its members; or run it as root")
            .into()),
        Err(silence) if silence.is_of_somebody() => Err(silence.failure("it does it").into()),
        // What is missing, the command itself says.
        _ => Ok(None),
    }
}

fn delegated(command: &PolicyCommand) -> Option<Command> {
    match command {
        PolicyCommand::Confirm { json } => Some(Command::Confirm { json: *json }),
        PolicyCommand::Bypass(args) => Some(Command::Bypass {
            hook: args.hook.as_ref().map(ToString::to_string),
            seconds: args.time.map(|time| time.as_secs_f64()),
            json: args.json,
        }),
        PolicyCommand::Resume(args) => {
            Some(Command::Resume { hook: args.hook.as_ref().map(ToString::to_string), json: args.json })
        }
        _ => None,
    }
}
