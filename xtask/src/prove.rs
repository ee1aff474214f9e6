//! `cargo xtask prove`: what the tests try for seconds in every run, at length, and what `docs/reliability.md` says of it.

mod proofs;
mod record;
mod since;

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;

use self::{
    proofs::PROOFS,
    record::{Page, Run},
    since::Since,
};
use crate::{setup, shell};

/// What to prove.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Which; without any, all, which takes hours.
    #[arg(value_name = "PROOF", value_parser = PossibleValuesParser::new(PROOFS.map(|proof| proof.name)))]
    names: Vec<String>,
}

/// Tries what is named, or all, and records each as soon as it has passed.
///
/// # Errors
///
/// That something fails, that this is not root, or that the sources are those of no commit.
pub fn run(options: &Options) -> anyhow::Result<()> {
    setup::run()?;
    if !shell::is_root()? {
        bail!(shell::ROOT_ONLY);
    }
    // As all tests are, and with them the program that some of them start, which those of one program alone would not build.
    shell::run(&mut shell::cargo(&["test", "--workspace", "--exclude", "qos-ebpf", "--no-run"]))?;
    let root = qos_build::root();
    let named = |name| options.names.is_empty() || options.names.iter().any(|named| named == name);
    for proof in PROOFS.iter().filter(|proof| named(proof.name)) {
        println!("== {}", proof.name);
        let (commit, date, start) = (commit_of_the_sources(&root)?, shell::today()?, Instant::now());
        let tried = (proof.run)().with_context(|| proof.name)?;
        if since::since(&root, &commit, SOURCES) != Since::Same {
            bail!("{}: not recorded: the sources have changed since it began, at {commit}", proof.name);
        }
        let run = Run { date, kernel: kernel()?, commit, seconds: start.elapsed().as_secs() };
        let page = Page::read(&root)?.with(proof.name, &tried, &run);
        page.write(&root)?;
        println!("prove: {} passed in {} s: written to {}", proof.name, run.seconds, record::PAGE);
    }
    Ok(())
}

/// What a proof is made of: everything but what only people read.
const SOURCES: &[&str] = &[".", ":!docs", ":!*.md"];

fn commit_of_the_sources(root: &Path) -> anyhow::Result<String> {
    let commit =
        shell::git(root, &["rev-parse", "--short=12", "HEAD"]).context("git: no commit that could be named")?;
    if since::since(root, &commit, SOURCES) != Since::Same {
        bail!("the sources are not those of {commit}, which would be recorded: commit them first");
    }
    Ok(commit)
}

fn kernel() -> anyhow::Result<String> {
    let release = shell::output(Command::new("uname").arg("-r")).context("uname -r")?;
    Ok(release.trim().to_owned())
}

/// Whether the page names a run of each proof.
///
/// # Errors
///
/// Those of which it does not.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let page = Page::read(root)?;
    let missing: Vec<&str> =
        PROOFS.iter().map(|proof| proof.name).filter(|name| page.commits_of(name).is_empty()).collect();
    if !missing.is_empty() {
        bail!("{} has nothing of {}: `cargo xtask prove` writes it", record::PAGE, missing.join(", "));
    }
    Ok(())
}

/// Says what has changed since what is recorded was tried. That is no failure: a proof takes hours, and what changes is tried
/// for seconds in every run.
pub fn warn(root: &Path) {
    let Ok(page) = Page::read(root) else { return };
    for proof in &PROOFS {
        for commit in page.commits_of(proof.name) {
            let since = since::since(root, commit, proof.about.unwrap_or(SOURCES));
            if let Some(words) = proof.words(commit, since) {
                println!("prove: {words}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_a_run_of_every_proof() -> anyhow::Result<()> {
        check(&qos_build::root())
    }
}
