//! `cargo xtask setup`: installs what is missing, and says why each thing is needed.

mod apt;
mod linker;
mod need;
mod programs;
mod toolchain;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use self::need::{Cure, Need};
use crate::shell;

/// The stages, in the order in which one can tell what is missing: the compiler says which LLVM the linker needs.
const STAGES: [fn() -> Vec<Need>; 3] = [toolchain::needs, packages, linker::needs];

/// What comes as packages, in one go.
fn packages() -> Vec<Need> {
    programs::needs().into_iter().chain(linker::libraries()).collect()
}

/// Lists what is missing.
///
/// # Errors
///
/// None now; the signature is that of a chore.
pub fn check() -> anyhow::Result<ExitCode> {
    let missing: Vec<Need> = STAGES.into_iter().flat_map(|needs| needs()).collect();
    for need in &missing {
        println!("missing: {need}");
    }
    if missing.is_empty() {
        println!("setup: nothing is missing");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// What guests with other kernels need beside that.
const GUEST_STAGES: [fn() -> Vec<Need>; 2] = [toolchain::guest_needs, programs::guest_needs];

/// Installs what is missing.
///
/// # Errors
///
/// If something cannot be installed; without root, after printing what root has to run.
pub fn run() -> anyhow::Result<()> {
    bring(&STAGES)
}

/// Installs what guests with other kernels need beside that.
///
/// # Errors
///
/// As [`run`].
pub fn run_for_guests() -> anyhow::Result<()> {
    bring(&GUEST_STAGES)
}

/// Installs what fuzzing needs beside that.
///
/// # Errors
///
/// As [`run`].
pub fn run_for_fuzzing() -> anyhow::Result<()> {
    bring(&[programs::fuzz_needs])
}

fn bring(stages: &[fn() -> Vec<Need>]) -> anyhow::Result<()> {
    let mut installed = 0;
    for needs in stages {
        installed += install(&needs())?;
        if let Some(left) = needs().first() {
            bail!("still missing: {left}");
        }
    }
    if installed == 0 {
        println!("setup: nothing to do");
    }
    Ok(())
}

/// Installs what measuring needs beside that, and the test of its gate.
///
/// # Errors
///
/// As [`run`].
pub fn for_bench() -> anyhow::Result<()> {
    install(&programs::for_bench())?;
    match programs::for_bench().first() {
        Some(left) => bail!("still missing: {left}"),
        None => Ok(()),
    }
}

/// Brings what one stage needs: packages first, since commands may build with them.
fn install(needs: &[Need]) -> anyhow::Result<usize> {
    for need in needs {
        println!("setup: {need}");
    }
    let packages: Vec<&str> = needs.iter().filter_map(Need::package).collect();
    if !packages.is_empty() {
        apt::install(&packages)?;
    }
    for need in needs {
        match &need.cure {
            Cure::Package(_) => {}
            Cure::Command(command) => shell::run(&mut command())
                .with_context(|| format!("{} is not installed; docs/building.md has the other ways", need.what))?,
            Cure::ByHand(advice) => bail!("{advice}"),
        }
    }
    Ok(needs.len())
}
