//! `qosbpf`: reads the command line, enters the network namespace, runs one command, ends with its code.

use std::{env, io::IsTerminal as _, process::ExitCode};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use qosbpf::{
    cli::{Cli, Command, LogFormat},
    cmd,
    journal_lines::{self, JournalLines},
    log_lines::LogLines,
    queued_lines::Queued,
    repeated_lines::NewsOnly,
};
use tracing_subscriber::{layer::SubscriberExt as _, util::SubscriberInitExt as _};

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(unparsed) => return cmd::report_usage(&unparsed, env::args_os().skip(1)).into(),
    };
    log_to_stderr(&cli);
    let _to_the_end = cli.command.serves().then(Queued::begin);
    allow_open_files();
    let outcome = cmd::run(&cli);
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => cmd::report(&cli, &error).into(),
    }
}

/// As many open files as whoever started this lets it have: a policy is prepared at all hooks before it takes effect at one, and
/// each has some fifteen files open then. The usual limit of 1,024 is there for programs that call select(2).
fn allow_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!("the limit of open files stays at {soft}: {error}");
    }
}

fn log_to_stderr(cli: &Cli) {
    let level = match cli.global.verbose {
        0 if matches!(cli.command, Command::Run(_)) => "info,aya=warn,netlink_proto=off,netlink_packet=off",
        // They warn of every device name that is not UTF-8, which is legal and nobody's fault here.
        0 => "warn,netlink_proto=off,netlink_packet=off",
        1 => "info,aya=warn",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(level);
    let ansi = cmd::wants_color(cli.global.color, std::io::stderr().is_terminal());
    let lines = match cli.global.log_format {
        LogFormat::Text => LogLines::Text,
        LogFormat::Json => LogLines::Json,
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || lines).with_target(false);
    match cli.global.log_format {
        LogFormat::Text if journal_lines::is_wanted() => {
            let plain = tracing_subscriber::fmt::format().without_time().with_target(false).with_ansi(false);
            logs.with_ansi(false).event_format(JournalLines(plain)).finish().with(NewsOnly).init();
        }
        LogFormat::Text => logs.with_ansi(ansi).without_time().finish().with(NewsOnly).init(),
        LogFormat::Json => logs.json().finish().with(NewsOnly).init(),
    }
}
