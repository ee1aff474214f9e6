//! `qosbpf`: reads the command line, enters the network namespace, runs one command, ends with its code.

use std::{env, io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use qosbpf::{
    cli::{Cli, LogFormat},
    cmd,
    error::Exit,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cmd::report_usage(&error, env::args_os().skip(1)).into(),
    };
    log_to_stderr(&cli);
    let outcome = cmd::run(&cli);
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => Exit::Done.into(),
        Err(error) => cmd::report(&cli, &error).into(),
    }
}

/// A reader such as `head` that has seen enough is no fault of ours.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn log_to_stderr(cli: &Cli) {
    let level = match cli.global.verbose {
        0 => "warn",
        1 => "info,aya=warn",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::new(level);
    let ansi = cmd::wants_color(cli.global.color, std::io::stderr().is_terminal());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match cli.global.log_format {
        LogFormat::Text => logs.with_ansi(ansi).without_time().init(),
        LogFormat::Json => logs.json().init(),
    }
}
