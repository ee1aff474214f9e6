//! How an error is said: for people as text on stderr; for machines as a document there, and on stdout in place of the
//! answer.

use std::{
    ffi::OsString,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit},
};
use serde::Serialize;

use super::{Context, policy::WrongPolicy, wants_color};
use crate::{
    cli::{Cli, Color, LogFormat, Unparsed},
    error::{Exit, Failure, in_one_line},
    held_lines,
    invocation::Invocation,
    journal_lines,
    kernel::{bpffs, privilege},
    render::{
        harmless,
        json::{self, Layout},
    },
};

/// Says what went wrong, and gives the exit code.
#[must_use]
pub fn report(cli: &Cli, error: &anyhow::Error) -> Exit {
    let context = Context::new(cli);
    if let Some(wrong) = error.downcast_ref::<WrongPolicy>() {
        return wrong_policy(cli, wrong, &context);
    }
    let lacking = lacking(error, &context.bpffs).or_else(|| too_few_files(error));
    let error = lacking.as_ref().unwrap_or(error);
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    if cli.command.serves() && cli.global.log_format == LogFormat::Json {
        let hint = failure.and_then(|failure| failure.hint.as_deref());
        tracing::error!(hint, "{}", in_one_line(error));
    } else if cli.command.wants_json() {
        document(&json::failure(&said(error, failure, &context.invocation())));
    } else {
        let said = harmless(&context.invocation().completed(&in_one_line(error)), false);
        let hint = failure.and_then(|failure| failure.hint.as_deref());
        let hint = hint.map(|hint| format!("  {}\n", harmless(&context.invocation().completed(hint), false)));
        complain(&format!("qosbpf: {said}\n{}", hint.unwrap_or_default()));
    }
    failure.map_or(Exit::Failed, |failure| failure.exit)
}

fn complain(text: &str) {
    let text = journal_lines::beside_the_log(text, tracing::Level::ERROR);
    let _nobody_reads = held_lines::write(text.as_bytes());
}

/// The same error with what keeps this process out, where the kernel has only said "not permitted".
fn lacking(error: &anyhow::Error, bpffs: &Path) -> Option<anyhow::Error> {
    let named = error.chain().any(|cause| cause.is::<Failure>());
    let refused = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::PermissionDenied);
    if named || !refused {
        return None;
    }
    let missing = bpffs::closed(bpffs).or_else(privilege::missing);
    missing.map(|missing| missing.context(in_one_line(error)))
}

/// The same error with what helps, where the kernel has only said that this process has too many files open.
fn too_few_files(error: &anyhow::Error) -> Option<anyhow::Error> {
    let of_kernel = |cause: &(dyn std::error::Error + 'static)| {
        let number = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        number.or_else(|| cause.downcast_ref::<Errno>().map(|error| *error as i32))
    };
    let named = error.chain().any(|cause| cause.is::<Failure>());
    if named || !error.chain().any(|cause| of_kernel(cause) == Some(libc::EMFILE)) {
        return None;
    }
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or_else(|_| "so many".to_owned(), |(soft, _)| soft.to_string());
    let message = format!("{}: this process may have {limit} open", in_one_line(error));
    Some(Failure::new("open-files", message).hint("in this shell: ulimit -n 1024; for a service: LimitNOFILE=").into())
}

/// Says what is wrong with the command line, or prints the help that was asked for.
#[must_use]
pub fn report_usage(unparsed: &Unparsed, arguments: impl Iterator<Item = OsString>) -> Exit {
    let shown = |terminal| match wants_color(Color::Auto, terminal) {
        true => harmless(&unparsed.colored, true),
        false => harmless(&unparsed.text, false),
    };
    if unparsed.asked_for {
        let _nobody_reads = io::stdout().lock().write_all(shown(io::stdout().is_terminal()).as_bytes());
        return Exit::Done;
    }
    // What follows `--` is another command's.
    if arguments.take_while(|word| word != "--").any(|word| word == "--json") {
        document(&json::failure(&Failure::new("usage", unparsed.message()).hint("qosbpf help")));
    } else {
        let _nobody_reads = io::stderr().lock().write_all(shown(io::stderr().is_terminal()).as_bytes());
    }
    Exit::Usage
}

/// All mistakes of a policy file, as a compiler says them.
fn wrong_policy(cli: &Cli, wrong: &WrongPolicy, context: &Context) -> Exit {
    if cli.command.wants_json() {
        document(&json::failures(&wrong.report.failures()));
    } else {
        complain(&harmless(&wrong.report.render(context.color_on_stderr), context.color_on_stderr));
    }
    Exit::Usage
}

fn said(error: &anyhow::Error, failure: Option<&Failure>, here: &Invocation) -> Failure {
    let general = Failure::new("failed", here.completed(&in_one_line(error)));
    match failure {
        None => general,
        Some(Failure { code, exit, hint, file, place, .. }) => {
            let hint = hint.as_deref().map(|hint| here.completed(hint));
            Failure { code, exit: *exit, hint, file: file.clone(), place: place.clone(), ..general }
        }
    }
}

/// Whoever reads stdout alone has one whole document; on stderr it is a line, as log lines are.
fn document(failure: &impl Serialize) {
    let texts = [Layout::Line, Layout::Pretty].map(|layout| json::document(failure, layout).unwrap_or_default());
    let _nobody_reads = io::stderr().lock().write_all(texts[0].as_bytes());
    let _nobody_reads = io::stdout().lock().write_all(texts[1].as_bytes());
}
