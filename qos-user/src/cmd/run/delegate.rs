//! Commands that the service runs for those who may give them, and may not change hooks themselves.

use std::time::Duration;

use crate::{
    cli::{BypassArgs, PolicyCommand, ResumeArgs},
    cmd::{
        Context,
        control::{Command, Said},
        policy, who,
    },
    command,
    error::{Exit, Failure},
    hook::HookName,
    render::one_line,
};

/// Runs a command in the name of somebody.
pub fn run(command: &Command, who: &str, context: &Context) -> Said {
    let (context, captured) = context.captured();
    let done = arguments(command).and_then(|command| who::acting_for(who, || policy::run(&command, &context)));
    let why = done.as_ref().err().map(|error| format!(": {error:#}")).unwrap_or_default();
    let exit = done.unwrap_or_else(|error| complain(&error, &context));
    let (typed, code) = (typed(command).to_string(), exit.code());
    match exit {
        // That nothing waits to be confirmed is an answer.
        Exit::Done | Exit::No => tracing::info!(who, code, "{}", one_line(&typed)),
        _ => tracing::warn!(who, code, "{}", one_line(&format!("{typed}{why}"))),
    }
    let (stdout, stderr) = captured.take();
    Said { code, stdout, stderr }
}

/// Says why it failed to whoever gave it.
fn complain(error: &anyhow::Error, context: &Context) -> Exit {
    let failure = error.downcast_ref::<Failure>();
    let hint = failure.and_then(|failure| failure.hint.as_ref()).map(|hint| format!("  {hint}\n"));
    let said = format!("qosbpf: {error:#}\n{}", hint.unwrap_or_default());
    context.warn(&context.invocation().completed(&said));
    failure.map_or(Exit::Failed, |failure| failure.exit)
}

/// As somebody with a terminal would have typed it.
fn typed(command: &Command) -> command::Command {
    let (words, time, hook) = match command {
        Command::Confirm { .. } => ("qosbpf policy confirm", None, None),
        Command::Bypass { hook, seconds, .. } => ("qosbpf policy bypass", *seconds, hook.as_ref()),
        Command::Resume { hook, .. } => ("qosbpf policy resume", None, hook.as_ref()),
    };
    let mut typed = command::Command::new(words);
    if let Some(time) = time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        typed = typed.words("--for").word(humantime::format_duration(time).to_string().replace(' ', ""));
    }
    match hook {
        Some(hook) => typed.operand(hook),
        None => typed,
    }
}

fn arguments(command: &Command) -> anyhow::Result<PolicyCommand> {
    Ok(match command {
        Command::Confirm { json } => PolicyCommand::Confirm { json: *json },
        Command::Bypass { hook, seconds, json } => {
            let time = seconds.map(Duration::try_from_secs_f64).transpose()?;
            PolicyCommand::Bypass(BypassArgs { hook: named(hook)?, time, json: *json })
        }
        Command::Resume { hook, json } => PolicyCommand::Resume(ResumeArgs { hook: named(hook)?, json: *json }),
    })
}

fn named(hook: &Option<String>) -> anyhow::Result<Option<HookName>> {
    let parsed = hook.as_ref().map(|name| name.parse().map_err(|why| Failure::new("usage", why).exit(Exit::Usage)));
    Ok(parsed.transpose()?)
}
