//! What was found, taken into the corpus: as few inputs as reach what all of them reach.
//!
//! Those that have names are kept as they are. Others are named by what they are, and give way to smaller ones that reach the
//! same.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use super::fuzzer::{self, Fuzzer};
use crate::{parallel, shell};

/// What a clone may have to carry.
const MOST_INPUTS: usize = 3_000;
const MOST_BYTES: u64 = 2_000_000;

/// Puts the fewest inputs of corpus and finds into the corpus of each target.
///
/// # Errors
///
/// What the fuzzer says, or that the corpus would be too large; it is then as it was.
pub fn keep(fuzzer: &Fuzzer, targets: &[String], at_a_time: usize) -> anyhow::Result<()> {
    let chosen = parallel::each(targets, at_a_time, |target| choose(fuzzer, target))?;
    let chosen = chosen.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let others = super::targets()?.into_iter().filter(|target| !targets.contains(target));
    let folders: Vec<PathBuf> = others.map(|target| super::corpus().join(target)).chain(chosen.clone()).collect();
    let size = Size::of(&folders)?;
    println!("fuzz: the corpus has {} inputs of {} bytes now", size.inputs, size.bytes);
    size.is_bearable()?;
    for (target, chosen) in targets.iter().zip(&chosen) {
        replace(&super::corpus().join(target), chosen)?;
    }
    Ok(())
}

/// A folder with the named inputs, and of all others the fewest that add to what those reach.
fn choose(fuzzer: &Fuzzer, target: &str) -> anyhow::Result<PathBuf> {
    let (corpus, found) = (super::corpus().join(target), fuzzer::found(target));
    let chosen = shell::target_folder().join("fuzz/chosen").join(target);
    if chosen.exists() {
        fs::remove_dir_all(&chosen)?;
    }
    for folder in [&chosen, &found] {
        fs::create_dir_all(folder)?;
    }
    for named in inputs(&corpus)?.iter().filter(|input| !is_found(input)) {
        copy(named, &chosen)?;
    }
    fuzzer.merge(target, &chosen, &[corpus, found])?;
    Ok(chosen)
}

/// What was found before goes, and what is chosen comes.
fn replace(corpus: &Path, chosen: &Path) -> anyhow::Result<()> {
    for old in inputs(corpus)?.iter().filter(|input| is_found(input)) {
        fs::remove_file(old)?;
    }
    inputs(chosen)?.iter().filter(|input| is_found(input)).try_for_each(|new| copy(new, corpus))
}

fn copy(input: &Path, folder: &Path) -> anyhow::Result<()> {
    let name = input.file_name().context("an input without a name")?;
    fs::copy(input, folder.join(name)).with_context(|| input.display().to_string())?;
    Ok(())
}

/// Whether the fuzzer has named it: by the digits of a hash.
fn is_found(input: &Path) -> bool {
    let name = input.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 40 && name.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn inputs(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    Ok(entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?)
}

/// How large folders are together.
struct Size {
    inputs: usize,
    bytes: u64,
}

impl Size {
    fn of(folders: &[PathBuf]) -> anyhow::Result<Self> {
        let mut size = Self { inputs: 0, bytes: 0 };
        for folder in folders {
            for input in inputs(folder)? {
                size.inputs += 1;
                size.bytes += fs::metadata(input)?.len();
            }
        }
        Ok(size)
    }

    fn is_bearable(&self) -> anyhow::Result<()> {
        ensure!(
            self.inputs <= MOST_INPUTS && self.bytes <= MOST_BYTES,
            "a corpus of {} inputs and {} bytes is too large for a clone: at most {MOST_INPUTS} and {MOST_BYTES}; \
             it stays as it was",
            self.inputs,
            self.bytes
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_bearable() -> anyhow::Result<()> {
        let targets = crate::fuzz::targets()?;
        let folders: Vec<PathBuf> = targets.iter().map(|target| crate::fuzz::corpus().join(target)).collect();
        Size::of(&folders)?.is_bearable()
    }

    #[test]
    fn what_was_found_is_known_by_its_name() {
        assert!(is_found(Path::new("corpus/policy/da39a3ee5e6b4b0d3255bfef95601890afd80709")));
        assert!(!is_found(Path::new("corpus/policy/a-c1-character-in-a-key")));
        assert!(!is_found(Path::new("corpus/process/an-icmpv6-packet-of-forty-characters-by")));
    }
}
