//! `qosbpf policy check`

use std::path::Path;

use serde_json::json;

use super::{read_policy, room};
use crate::{
    cmd::{Context, conditioner},
    error::Exit,
    hook::Direction,
    policy::Policy,
    render::{WIDTH, hanging},
};

/// Reads a policy and changes nothing.
///
/// # Errors
///
/// [`super::WrongPolicy`], `too-large`.
pub fn run(file: &Path, json: bool, context: &Context) -> anyhow::Result<Exit> {
    let (source, policy) = read_policy(file)?;
    room::refuse_too_large(&source, &policy)?;
    let compiled = compiled(&policy)?;
    if json {
        context.document(&format!("{}\n", document(&policy, &compiled)))?;
        return Ok(Exit::Done);
    }
    if !policy.warnings().is_empty() {
        context.warn(&policy.warnings().render(context.color_on_stderr));
    }
    let (tables, bindings) = (policy.tables().len(), policy.bindings().len());
    let found = format!(
        "policy {} {} is right: {}, {}, {}",
        policy.name(),
        policy.hash(),
        counted(tables, "table"),
        counted(policy.rules().len(), "rule"),
        counted(bindings, "binding"),
    );
    context.print(&said(file, &found))?;
    for Compiled { hook, rules, bytes, needs_tc } in compiled {
        let (rules, kib) = (counted(rules, "rule"), bytes.div_ceil(1024));
        context.print(&format!("  {hook:<24} {rules}, {kib} KiB of lookup tables\n"))?;
        if let Some(why) = needs_tc {
            context.print(&hanging(&format!("  {:<24} ", ""), &format!("by TC, not XDP: {why}")))?;
        }
    }
    Ok(Exit::Done)
}

/// What is said of a file, on a line of its own if the path leaves it no room.
fn said(file: &Path, found: &str) -> String {
    let line = format!("{}: {found}\n", file.display());
    if line.chars().count() <= WIDTH { line } else { format!("{}:\n{}", file.display(), hanging("  ", found)) }
}

/// The rules of a hook that the policy names.
struct Compiled {
    hook: String,
    /// How many.
    rules: usize,
    /// Of their tables in the kernel.
    bytes: usize,
    /// Why XDP will not do, where it could be.
    needs_tc: Option<String>,
}

/// Compiles the rules of every hook that the policy names.
fn compiled(policy: &Policy) -> anyhow::Result<Vec<Compiled>> {
    let everywhere = Direction::BOTH.map(|direction| ("all", "*", direction));
    let named = policy.bindings().into_iter().map(|binding| (binding.pattern, binding.pattern, binding.direction));
    let mut sizes = Vec::new();
    for (name, pattern, direction) in named.chain(everywhere) {
        // An interface that the glob stands for.
        let interface = pattern.replace('*', "0");
        let bound = conditioner::first(conditioner::binding(policy, &interface, direction), &[])?;
        let needs_tc = bound.needs_tc.filter(|_| direction == Direction::Ingress);
        sizes.extend(bound.rules.map(|rules| Compiled {
            hook: format!("{name}:{direction}"),
            rules: rules.records.len(),
            bytes: rules.bytes(),
            needs_tc,
        }));
    }
    Ok(sizes)
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn document(policy: &Policy, compiled: &[Compiled]) -> serde_json::Value {
    let warnings: Vec<_> = policy.warnings().diagnostics().iter().map(|found| {
        json!({ "message": found.title(), "hint": found.help(), "line": found.place().line, "column": found.place().column })
    }).collect();
    let hooks = compiled.iter().map(|Compiled { hook, rules, bytes, needs_tc }| {
        json!({ "hook": hook, "rules": rules, "bytes": bytes, "needs_tc": needs_tc })
    });
    json!({
        "schema": 1,
        "policy": { "name": policy.name(), "hash": policy.hash() },
        "warnings": warnings,
        "hooks": hooks.collect::<Vec<_>>(),
    })
}
