//! The policy language from outside: what is refused and how that reads, what a policy means, and that no input at all
//! makes the reader panic.

mod agreement;
mod frames;
mod hash_of_rules;
mod macros;
mod meaning;
mod meaning_of_rules;
mod mistakes;
mod mistakes_in_meters;
mod mistakes_in_rules;
mod mistakes_in_tests;
mod packets;
mod robust;
mod schema;
mod walk;
mod warnings;

use super::{Policy, Report, Source, parse};

/// The example that is shipped.
const EDGE: &str = include_str!("../../../../docs/examples/edge.toml");

/// The example that has everything.
const FULL: &str = include_str!("../../../../docs/examples/edge-full.toml");

pub(in crate::policy) fn read(text: &str) -> Result<Policy, Report> {
    Source::new("policy.toml", text.as_bytes().to_vec()).and_then(|source| parse(&source))
}

/// A policy of which only the sections matter.
fn policy(sections: &str) -> Policy {
    let result = read(&format!("version = 1\nname = \"test\"\n{sections}"));
    result.unwrap_or_else(|report| panic!("{}", report.render(false)))
}
