//! Commands that the service runs for those who may give them, and may not change hooks themselves.

use crate::{
    cli::{BypassArgs, PolicyCommand, ResumeArgs},
    cmd::{
        Context,
        control::{Command, Said},
        policy, who,
    },
    error::{Exit, Failure},
    hook::HookName,
};

/// Runs a command in the name of somebody.
pub fn run(command: &Command, who: &str, context: &Context) -> Said {
    let (context, captured) = context.captured();
    let done = arguments(command).and_then(|command| who::acting_for(who, || policy::run(&command, &context)));
    let exit = done.unwrap_or_else(|error| {
        let failure = error.downcast_ref::<Failure>();
        let hint = failure.and_then(|failure| failure.hint.clone()).map(|hint| format!("  {hint}\n"));
        let said = format!("qosbpf: {error:#}\n{}", hint.unwrap_or_default());
        context.warn(&context.invocation().completed(&said));
        failure.map_or(Exit::Failed, |failure| failure.exit)
    });
    let (stdout, stderr) = captured.take();
    tracing::info!(who, code = exit.code(), "{command:?}");
    Said { code: exit.code(), stdout, stderr }
}

fn arguments(command: &Command) -> anyhow::Result<PolicyCommand> {
    Ok(match command {
        Command::Confirm { json } => PolicyCommand::Confirm { json: *json },
        Command::Bypass { hook, seconds, json } => {
            let time = seconds.map(std::time::Duration::try_from_secs_f64).transpose()?;
            PolicyCommand::Bypass(BypassArgs { hook: named(hook)?, time, json: *json })
        }
        Command::Resume { hook, json } => PolicyCommand::Resume(ResumeArgs { hook: named(hook)?, json: *json }),
    })
}

fn named(hook: &Option<String>) -> anyhow::Result<Option<HookName>> {
    let parsed = hook.as_ref().map(|name| name.parse().map_err(|why| Failure::new("usage", why).exit(Exit::Usage)));
    Ok(parsed.transpose()?)
}
