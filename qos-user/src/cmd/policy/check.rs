//! `qosbpf policy check`

use std::path::Path;

use serde_json::json;

use super::{read_policy, room};
use crate::{
    cmd::{Context, conditioner},
    error::Exit,
    hook::Direction,
    kernel::needs::Needs,
    policy::{self, Policy, classifier::Idle, model::Rule},
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
    for Compiled { hook, rules, bytes, needs_tc, idle } in compiled {
        let (rules, kib) = (counted(rules, "rule"), bytes.div_ceil(1024));
        context.print(&format!("  {hook:<24} {rules}, {kib} KiB of lookup tables\n"))?;
        if let Some(why) = needs_tc {
            context.print(&hanging(&format!("  {:<24} ", ""), &format!("by TC, not XDP: {why}")))?;
        }
        for (rule, why) in idle {
            context.print(&hanging(&format!("! {:<24} ", ""), &format!("{rule} is never asked: {why}")))?;
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
    /// Rules that no packet comes to there, and why.
    idle: Vec<(String, String)>,
}

/// Compiles the rules of every hook that the policy names.
fn compiled(policy: &Policy) -> anyhow::Result<Vec<Compiled>> {
    let everywhere = Direction::BOTH.map(|direction| ("all", "*", direction));
    let named = policy.bindings().into_iter().map(|binding| (binding.pattern, binding.pattern, binding.direction));
    let mut sizes = Vec::new();
    for (name, pattern, direction) in named.chain(everywhere) {
        // An interface that the glob stands for.
        let interface = pattern.replace('*', "0");
        let Some(binding) = conditioner::binding(policy, &interface, direction) else { continue };
        let slots: Vec<u16> = (0..).zip(&binding.rules).map(|(slot, _)| slot).collect();
        let Some(found) = conditioner::compiled(&binding, &slots, &slots, &[])? else { continue };
        sizes.push(Compiled {
            hook: format!("{name}:{direction}"),
            rules: found.tables.records.len(),
            bytes: found.tables.bytes(),
            needs_tc: Needs::of(Some(&binding)).tc.filter(|_| direction == Direction::Ingress),
            idle: idle(policy, &binding.rules, &found.idle),
        });
    }
    Ok(sizes)
}

/// Rules that no packet comes to, as the compiler finds where it has all values of all fields: of what the language warns of
/// already nothing is said twice. Which interfaces `from` means is not known here.
fn idle(policy: &Policy, rules: &[Rule], idle: &[Idle]) -> Vec<(String, String)> {
    let warned = |rule: &Rule| {
        let mut warnings = policy.warnings().diagnostics().iter();
        warnings.any(|warning| warning.title() == policy::never_asked(&rule.name))
    };
    let told = idle.iter().filter_map(|idle| {
        let rule = rules.get(idle.rule()).filter(|rule| !rule.names_interfaces() && !warned(rule))?;
        let why = match idle {
            Idle::Impossible(_) => "no packet can match it".to_owned(),
            Idle::Shadowed { by, .. } => {
                let by = rules.get(*by)?;
                let cure = "move this one above it, or delete it";
                format!("rule \"{}\" (line {}) decides on all that it would match: {cure}", by.name, by.line)
            }
        };
        Some((format!("rule \"{}\" (line {})", rule.name, rule.line), why))
    });
    told.collect()
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn document(policy: &Policy, compiled: &[Compiled]) -> serde_json::Value {
    let warnings: Vec<_> = policy.warnings().diagnostics().iter().map(|found| {
        json!({ "message": found.title(), "hint": found.help(), "line": found.place().line, "column": found.place().column })
    }).collect();
    let hooks = compiled.iter().map(|Compiled { hook, rules, bytes, needs_tc, idle }| {
        let idle = idle.iter().map(|(rule, why)| json!({ "rule": rule, "why": why })).collect::<Vec<_>>();
        json!({ "hook": hook, "rules": rules, "bytes": bytes, "needs_tc": needs_tc, "never_asked": idle })
    });
    json!({
        "schema": 1,
        "policy": { "name": policy.name(), "hash": policy.hash() },
        "warnings": warnings,
        "hooks": hooks.collect::<Vec<_>>(),
    })
}
