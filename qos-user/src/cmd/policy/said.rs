//! What `apply` says of what it did.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    plan::{Effect, Item},
    session::Session,
};
use crate::{
    cli::ApplyOptions, cmd::Context, command::Command, invocation::Invocation, kernel::state::Binding, policy::Policy,
    render::hanging,
};

/// What was done.
pub struct Applied<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Every hook with what it means there.
    pub items: &'a [Item<'a>],
    /// What becomes of the SSH session that gave the command.
    pub session: Option<&'a Session>,
    /// What was asked for.
    pub how: &'a ApplyOptions,
    /// Whether it has been saved.
    pub saved: bool,
    /// What is hardly meant at these hooks.
    pub warnings: &'a [String],
}

/// Says it.
///
/// # Errors
///
/// That nobody reads any more.
pub fn say(applied: &Applied<'_>, context: &Context) -> anyhow::Result<()> {
    if applied.how.json {
        return context.print(&format!("{}\n", document(applied, &context.invocation())));
    }
    let policy = applied.policy;
    if !policy.warnings().is_empty() {
        context.warn(&policy.warnings().render(context.color_on_stderr));
    }
    context.print(&format!(
        "policy {} {} is in force{}\n",
        policy.name(),
        policy.hash(),
        how_long(applied, context)
    ))?;
    for item in applied.items {
        context.print(&line(item, &context.invocation()))?;
    }
    for warning in applied.warnings {
        context.print(&hanging("! ", &context.invocation().completed(warning)))?;
    }
    if let Some(session) = applied.session.filter(|session| session.is_checked()) {
        context.print(&format!("{session}\n"))?;
    }
    if applied.saved {
        context.print(&format!("saved to {}\n", context.saved().display()))?;
    }
    Ok(())
}

fn line(item: &Item<'_>, here: &Invocation) -> String {
    let Item { name, effect, bypassed, .. } = item;
    let warning = if *bypassed || *effect == Effect::NotAttached { "! " } else { "  " };
    let does = item.binding.as_ref().map_or_else(|| "-".to_owned(), Binding::words);
    let resume = || format!("; BYPASSED: {}", here.command(&Command::new("policy resume").operand(name).to_string()));
    let bypass = if *bypassed { resume() } else { String::new() };
    let why = item.unattached().map(|why| format!(": {}", here.completed(&why))).unwrap_or_default();
    hanging(&format!("{warning}{name:<24} "), &format!("{does:<24} {}{bypass}{why}", effect.word()))
}

fn how_long(applied: &Applied<'_>, context: &Context) -> String {
    let Some(time) = applied.how.confirm else { return String::new() };
    format!(" for {}, and stays if you say so: {}", seconds(time), context.invocation().command("policy confirm"))
}

/// `1m 30s`; what is begun counts.
pub fn seconds(time: Duration) -> String {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    humantime::format_duration(Duration::from_secs(whole)).to_string()
}

fn document(applied: &Applied<'_>, here: &Invocation) -> Value {
    let hooks: Vec<_> = applied.items.iter().map(|item| document_of(item, here)).collect();
    json!({
        "schema": 1,
        "policy": { "name": applied.policy.name(), "hash": applied.policy.hash(), "saved": applied.saved },
        "confirm_within": applied.how.confirm.map(|time| time.as_secs_f64()),
        "session": applied.session.map(Session::document),
        "hooks": hooks,
        "warnings": applied.warnings.iter().map(|warning| here.completed(warning)).collect::<Vec<_>>(),
    })
}

fn document_of(item: &Item<'_>, here: &Invocation) -> Value {
    json!({
        "hook": item.name,
        "table": item.binding.as_ref().and_then(Binding::table_name),
        "outer": item.binding.as_ref().and_then(Binding::outer_name),
        "rules": item.binding.as_ref().map_or(0, |binding| binding.rules.len()),
        "result": item.effect.word(),
        "reason": item.unattached().map(|why| here.completed(&why)),
        "bypassed": item.bypassed,
    })
}
