//! `cargo xtask fuzz`: the targets of `fuzz/`, each for some seconds, beginning with the corpus that is kept.
//!
//! cargo-fuzz would do the same, with a nightly and every dependency built anew, which takes minutes. Here the dependencies
//! are those of the tests, as they are, and the crates of this workspace are built to be watched.

mod fuzzer;
mod keep;

use std::{cmp::Reverse, fs, num::NonZero, path::PathBuf, thread};

use anyhow::{Context as _, bail};

use self::fuzzer::{Fuzzer, Session};
use crate::{parallel, setup, shell};

/// For how long each target runs in `cargo xtask ci`.
const BRIEF: u32 = 3;

/// The same of those in which there is most to be found: they read what is nested, or have a walk to compare with.
const LONGER: u32 = 15;
const LARGE: [&str; 4] = ["documents", "frames", "policy", "tools"];

/// What to fuzz.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Which; without any, all.
    targets: Vec<String>,
    /// For how long each runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Where the random numbers begin, as a run before has said; without it, somewhere else each time.
    #[arg(long)]
    seed: Option<u32>,
    /// Look for nothing, and take of what was found as few inputs into the corpus as reach all of it.
    #[arg(long, conflicts_with_all = ["seconds", "seed"])]
    keep: bool,
}

/// Sets up, builds the fuzzer, and runs each target, or those that are named; or takes what they found into the corpus.
///
/// # Errors
///
/// That an input fails, by the name of its file; that something does not build.
pub fn run(options: &Options) -> anyhow::Result<()> {
    setup::run()?;
    setup::run_for_fuzzing()?;
    let targets = chosen(&options.targets)?;
    let fuzzer = Fuzzer::build()?;
    if options.keep {
        return keep::keep(&fuzzer, &targets, at_a_time());
    }
    let session = |target| Session { target, seconds: options.seconds, seed: options.seed };
    run_sessions(&fuzzer, targets.into_iter().map(session).collect())
}

/// All targets for some seconds, where everything is installed. The seed is the commit's: each tries other inputs than the one
/// before, and the same ones again where somebody looks into what has failed.
///
/// # Errors
///
/// As [`run`].
pub fn run_briefly() -> anyhow::Result<()> {
    let seed = seed_of_commit();
    println!("fuzz: --seed {seed}, which is the commit's");
    let session = |target: String| {
        let seconds = if LARGE.contains(&target.as_str()) { LONGER } else { BRIEF };
        Session { target, seconds, seed: Some(seed) }
    };
    run_sessions(&Fuzzer::build()?, targets()?.into_iter().map(session).collect())
}

/// As many at a time as there are processors, the long ones first.
fn run_sessions(fuzzer: &Fuzzer, mut sessions: Vec<Session>) -> anyhow::Result<()> {
    sessions.sort_by_key(|session| Reverse(session.seconds));
    let results = parallel::each(&sessions, at_a_time(), |session| fuzzer.run(session))?;
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    if !failed.is_empty() {
        bail!(failed.join("; "));
    }
    Ok(())
}

fn at_a_time() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Of the first digits of the commit; 1 where there is none. With 0, libFuzzer would take another one each time.
fn seed_of_commit() -> u32 {
    let commit = shell::git(&qos_build::root(), &["rev-parse", "--short=8", "HEAD"]);
    let digits = commit.as_deref().and_then(|commit| commit.get(..8));
    digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(1).max(1)
}

fn corpus() -> PathBuf {
    qos_build::root().join("fuzz/corpus")
}

/// Each has a folder with what it begins with, as a test makes sure.
fn targets() -> anyhow::Result<Vec<String>> {
    let folders = fs::read_dir(corpus()).with_context(|| corpus().display().to_string())?.flatten();
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().display().to_string()).collect();
    names.sort();
    Ok(names)
}

/// Those that are named; all if none is.
fn chosen(named: &[String]) -> anyhow::Result<Vec<String>> {
    let targets = targets()?;
    if let Some(unknown) = named.iter().find(|name| !targets.contains(name)) {
        bail!("no target {unknown}; there are {}", targets.join(", "));
    }
    Ok(targets.into_iter().filter(|target| named.is_empty() || named.contains(target)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_chosen_by_names_that_there_are() -> anyhow::Result<()> {
        let all = targets()?;
        assert_eq!(chosen(&[])?, all);
        assert_eq!(chosen(&["tools".to_owned()])?, ["tools"]);
        assert!(chosen(&["tool".to_owned()]).is_err());
        assert!(LARGE.iter().all(|target| all.iter().any(|other| other == target)), "{all:?}");
        assert_ne!(seed_of_commit(), 0);
        Ok(())
    }
}
