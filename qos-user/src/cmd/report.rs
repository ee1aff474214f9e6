//! How an error is said: for people on stderr, for machines as a document on stdout.

use std::{
    ffi::OsString,
    io::{self, Write as _},
};

use super::{Context, policy::WrongPolicy};
use crate::{
    cli::Cli,
    error::{Exit, Failure},
    kernel::privilege,
    render::json,
};

/// Says what went wrong, and gives the exit code.
#[must_use]
pub fn report(cli: &Cli, error: &anyhow::Error) -> Exit {
    let context = Context::new(cli);
    if let Some(wrong) = error.downcast_ref::<WrongPolicy>() {
        return wrong_policy(cli, wrong, &context);
    }
    let lacking = lacking(error);
    let error = lacking.as_ref().unwrap_or(error);
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let mut stderr = io::stderr().lock();
    let _nobody_reads = writeln!(stderr, "qosbpf: {}", in_one_line(error));
    if let Some(hint) = failure.and_then(|failure| failure.hint.as_deref()) {
        let _nobody_reads = writeln!(stderr, "  {hint}");
    }
    if cli.command.wants_json() {
        document(&said(error, failure), &context);
    }
    failure.map_or(Exit::Failed, |failure| failure.exit)
}

/// The same error with the capabilities that are missing, where the kernel has only said "not permitted".
fn lacking(error: &anyhow::Error) -> Option<anyhow::Error> {
    let named = error.chain().any(|cause| cause.is::<Failure>());
    let refused = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if named || !refused {
        return None;
    }
    privilege::missing().map(|missing| missing.context(in_one_line(error)))
}

/// Says what is wrong with the command line, or prints the help that was asked for.
#[must_use]
pub fn report_usage(error: &clap::Error, arguments: impl Iterator<Item = OsString>) -> Exit {
    let _nobody_reads = error.print();
    if !error.use_stderr() {
        return Exit::Done;
    }
    // What follows `--` is another command's.
    if arguments.take_while(|word| word != "--").any(|word| word == "--json") {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let failure = Failure::new("usage", message).exit(Exit::Usage).hint("qosbpf help");
        if let Ok(text) = json::document(&json::failure(&failure), json::Layout::Pretty) {
            let _nobody_reads = io::stdout().lock().write_all(text.as_bytes());
        }
    }
    Exit::Usage
}

/// The error and its causes, none of them twice: libraries often repeat the cause in the message.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(if line.is_empty() { "" } else { ": " });
            line.push_str(&text);
        }
    }
    line
}

/// All mistakes of a policy file, as a compiler says them.
fn wrong_policy(cli: &Cli, wrong: &WrongPolicy, context: &Context) -> Exit {
    let text = wrong.report.render(context.color_on_stderr);
    let _nobody_reads = io::stderr().lock().write_all(text.as_bytes());
    if cli.command.wants_json() {
        document(&wrong.report.clone().into_failure(), context);
    }
    Exit::Usage
}

fn said(error: &anyhow::Error, failure: Option<&Failure>) -> Failure {
    let general = Failure::new("failed", in_one_line(error));
    match failure {
        None => general,
        Some(Failure { code, exit, hint, place, .. }) => {
            Failure { code, exit: *exit, hint: hint.clone(), place: place.clone(), ..general }
        }
    }
}

fn document(failure: &Failure, context: &Context) {
    if let Ok(text) = json::document(&json::failure(failure), json::Layout::Pretty) {
        let _nobody_reads = context.print(&text);
    }
}
