//! The rules of the architecture, checked: which crate is known where, which way the arrows go, how large things get.

mod knowledge;
mod layers;
mod mentions;
mod purity;
mod size;
mod unsafety;

use std::path::Path;

use anyhow::bail;

use crate::source::{self, Source};

/// One rule.
struct Rule {
    /// What is asked.
    name: &'static str,
    /// Why.
    reason: &'static str,
    /// Finds what breaks it in one file.
    check: fn(&Source) -> Vec<Finding>,
}

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    what: String,
}

const RULES: &[Rule] = &[
    knowledge::AYA,
    knowledge::CLAP,
    knowledge::COMMON,
    layers::LAYERS,
    purity::PURITY,
    unsafety::UNSAFE,
    size::FILES,
    size::FUNCTIONS,
];

/// Checks all rules, and prints how large the code is.
///
/// # Errors
///
/// If a rule is broken; each place has been printed.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let sources = source::load(root)?;
    let broken = RULES.iter().map(|rule| report(rule, &sources)).sum::<usize>();
    println!("architecture: {}", size::Report::of(&sources));
    if broken > 0 {
        bail!("{broken} places break the rules of the architecture");
    }
    Ok(())
}

fn report(rule: &Rule, sources: &[Source]) -> usize {
    let mut broken = 0;
    for source in sources {
        for finding in (rule.check)(source) {
            println!(
                "{}:{}: {}\n    rule: {}\n    why: {}",
                source.path, finding.line, finding.what, rule.name, rule.reason
            );
            broken += 1;
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines at which a rule is broken by a file.
    pub fn lines(rule: &Rule, path: &str, text: &str) -> anyhow::Result<Vec<usize>> {
        Ok((rule.check)(&Source::parse(path, text)?).into_iter().map(|finding| finding.line).collect())
    }

    #[test]
    fn the_rules_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
    }
}
