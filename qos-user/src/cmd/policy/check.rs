//! `qosbpf policy check`

use std::path::Path;

use serde_json::json;

use super::{read_policy, room};
use crate::{
    cmd::{Context, conditioner},
    error::Exit,
    hook::Direction,
    kernel::needs::Needs,
    policy::{self, Diagnostic, Policy, classifier::Idle, model::Rule},
    render::{WIDTH, hanging},
    snapshot::diff::NeverAsked,
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
        for Unasked { rule, why, .. } in idle.into_iter().filter(|unasked| !unasked.warned) {
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
    /// Rules that no packet comes to there.
    idle: Vec<Unasked>,
}

/// A rule that no packet comes to.
struct Unasked {
    /// Its name and line, in words.
    rule: String,
    /// Why.
    why: String,
    /// Whether the language warns of it, which is said once in the text.
    warned: bool,
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
            idle: unasked(policy, &binding.rules, &found.idle),
        });
    }
    Ok(sizes)
}

/// Rules that no packet comes to, as the compiler finds where it has all values of all fields, and of which the language warns:
/// it looks at several earlier rules together. Which interfaces `from` means the compiler does not know here.
fn unasked(policy: &Policy, rules: &[Rule], idle: &[Idle]) -> Vec<Unasked> {
    let told = rules.iter().enumerate().filter_map(|(at, rule)| {
        let warning = warning(policy, rule);
        let found = idle.iter().find(|idle| idle.rule() == at).filter(|_| !rule.names_interfaces());
        let why = match (found, warning) {
            (Some(idle), _) => because(*idle, rules)?,
            (None, warning) => warning?.help().unwrap_or_default().to_owned(),
        };
        let rule = format!("rule \"{}\" (line {})", rule.name, rule.line);
        Some(Unasked { rule, why, warned: warning.is_some() })
    });
    told.collect()
}

/// What the language says of a rule that is never asked.
fn warning<'a>(policy: &'a Policy, rule: &Rule) -> Option<&'a Diagnostic> {
    let title = policy::never_asked(&rule.name);
    policy.warnings().diagnostics().iter().find(|warning| warning.title() == title)
}

/// Why a rule is idle.
fn because(idle: Idle, rules: &[Rule]) -> Option<String> {
    Some(match idle {
        Idle::Impossible(_) => "no packet can match it".to_owned(),
        Idle::Shadowed { by, .. } => {
            let by = rules.get(by)?;
            let cure = "move this one above it, or delete it";
            format!("rule \"{}\" (line {}) decides on all that it would match: {cure}", by.name, by.line)
        }
    })
}

/// The rules that no packet comes to, each at the first hook where it is so.
///
/// # Errors
///
/// What does not fit.
pub fn never_asked(policy: &Policy) -> anyhow::Result<Vec<NeverAsked>> {
    let mut found: Vec<NeverAsked> = Vec::new();
    for Compiled { hook, idle, .. } in compiled(policy)? {
        for Unasked { rule, why, .. } in idle {
            if !found.iter().any(|known| known.rule == rule) {
                found.push(NeverAsked { hook: hook.clone(), rule, why });
            }
        }
    }
    Ok(found)
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn document(policy: &Policy, compiled: &[Compiled]) -> serde_json::Value {
    let warnings: Vec<_> = policy.warnings().diagnostics().iter().map(|found| {
        json!({ "message": found.title(), "hint": found.help(), "line": found.place().line, "column": found.place().column })
    }).collect();
    let hooks = compiled.iter().map(|Compiled { hook, rules, bytes, needs_tc, idle }| {
        let idle = idle.iter().map(|Unasked { rule, why, .. }| json!({ "rule": rule, "why": why })).collect::<Vec<_>>();
        json!({ "hook": hook, "rules": rules, "bytes": bytes, "needs_tc": needs_tc, "never_asked": idle })
    });
    json!({
        "schema": 1,
        "policy": { "name": policy.name(), "hash": policy.hash() },
        "warnings": warnings,
        "hooks": hooks.collect::<Vec<_>>(),
    })
}
