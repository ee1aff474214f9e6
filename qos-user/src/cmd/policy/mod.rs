//! `qosbpf policy`: one file a verb, and how a policy file is read.

mod ahead;
pub mod apply;
pub mod bypass;
pub mod capture;
mod check;
mod confirm;
mod delegate;
mod diff;
mod explain;
mod history;
mod import;
pub mod plan;
mod rollback;
pub mod room;
pub mod said;
pub mod save;
pub mod session;
mod show;
mod switch;
pub mod testing;
mod translated;
mod trial;
pub mod undo;

pub use self::said::seconds;
use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    time::SystemTime,
};

use crate::{
    cli::PolicyCommand,
    cmd::{Context, who},
    error::{Exit, Failure},
    kernel::{files, state::PolicyRecord},
    policy::{self, MAX_BYTES, Policy, Report, Source},
};

/// Runs one of its verbs.
///
/// # Errors
///
/// Those of the verb.
pub fn run(command: &PolicyCommand, context: &Context) -> anyhow::Result<Exit> {
    if let Some(exit) = delegate::to_service(command, context)? {
        return Ok(exit);
    }
    match command {
        PolicyCommand::Check { file, json } => check::run(file, *json, context),
        PolicyCommand::Show { hooks, json } => show::run(hooks, *json, context),
        PolicyCommand::Diff { file, json } => diff::run(file, *json, context),
        PolicyCommand::Apply(args) => apply::run(args, context),
        PolicyCommand::Explain(args) => explain::run(args, context),
        PolicyCommand::Test { file, json } => testing::run(file, *json, context),
        PolicyCommand::Confirm { json } => confirm::run(*json, context),
        PolicyCommand::Rollback(args) => rollback::run(args, context),
        PolicyCommand::History { json } => history::run(*json, context),
        PolicyCommand::Save { json } => save::run(*json, context),
        PolicyCommand::Import(args) => import::run(args, context),
        PolicyCommand::Schema => {
            context.document(&format!("{:#}\n", policy::schema()))?;
            Ok(Exit::Done)
        }
        PolicyCommand::Bypass(args) => bypass::bypass(args, context),
        PolicyCommand::Resume(args) => bypass::resume(args, context),
    }
}

/// Every mistake of a policy file, as the error of a command.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a policy", .report.file())]
pub struct WrongPolicy {
    /// The mistakes.
    pub report: Report,
}

impl WrongPolicy {
    /// The first mistake with its place, and how many more.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        let mistakes = self.report.diagnostics();
        let first = mistakes.first().map(|mistake| {
            let place = mistake.place();
            format!("{}:{}:{}: {}", place.file, place.line, place.column, mistake.title())
        });
        let more = mistakes.len().saturating_sub(1) + self.report.more();
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        first.unwrap_or_else(|| self.to_string()) + &more
    }
}

/// How what was read from stdin is called, since it has no path.
pub const STDIN: &str = "stdin";

/// How a file is called that may be `-`.
fn called(file: &Path) -> String {
    if file == Path::new("-") { STDIN.to_owned() } else { file.display().to_string() }
}

/// Reads a policy from a file, or from stdin for `-`.
///
/// # Errors
///
/// [`WrongPolicy`] with every mistake; that the file cannot be read.
pub fn read_policy(file: &Path) -> anyhow::Result<(Source, Policy)> {
    let name = called(file);
    let bytes = read_bounded(file).map_err(|error| unreadable(&name, &files::why_not(file, &error)))?;
    let source = Source::new(&name, bytes).map_err(|report| WrongPolicy { report })?;
    let policy = policy::parse(&source).map_err(|report| WrongPolicy { report })?;
    Ok((source, policy))
}

fn unreadable(name: &str, why: &str) -> Failure {
    Failure::new("policy-unreadable", format!("policy file {name}: {why}"))
        .exit(Exit::Usage)
        .about(name)
        .hint("the file of a policy is wanted, or - for stdin")
}

/// What is remembered of a policy when it is put in force.
#[must_use]
pub fn record(source: &Source) -> PolicyRecord {
    let text = source.text().to_owned();
    PolicyRecord { file: source.file().to_owned(), text, applied: SystemTime::now(), by: who::am_i(), saved_then: None }
}

/// No more than a policy may have, and one byte by which too much is told.
///
/// # Errors
///
/// What the file system says.
pub fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let limit = MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
