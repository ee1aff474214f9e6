//! `qosbpf policy check`

use std::path::Path;

use serde_json::json;

use super::read_policy;
use crate::{cmd::Context, error::Exit, policy::Policy};

/// Reads a policy and changes nothing.
///
/// # Errors
///
/// [`super::WrongPolicy`].
pub fn run(file: &Path, json: bool, context: &Context) -> anyhow::Result<Exit> {
    let (_, policy) = read_policy(file)?;
    if json {
        context.document(&format!("{}\n", document(&policy)))?;
        return Ok(Exit::Done);
    }
    if !policy.warnings().is_empty() {
        context.warn(&policy.warnings().render(context.color_on_stderr));
    }
    let (tables, bindings) = (policy.tables().len(), policy.bindings().len());
    context.print(&format!(
        "{}: policy {} {} is right: {}, {}\n",
        file.display(),
        policy.name(),
        policy.hash(),
        counted(tables, "table"),
        counted(bindings, "binding"),
    ))?;
    Ok(Exit::Done)
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn document(policy: &Policy) -> serde_json::Value {
    let warnings: Vec<_> = policy.warnings().diagnostics().iter().map(|found| {
        json!({ "message": found.title(), "hint": found.help(), "line": found.place().line, "column": found.place().column })
    }).collect();
    json!({ "schema": 1, "policy": { "name": policy.name(), "hash": policy.hash() }, "warnings": warnings })
}
