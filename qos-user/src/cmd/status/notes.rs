//! What `qosbpf status` notes of a hook: what is out of the ordinary, and what to do about it.

use super::left;
use crate::{
    cmd::{applying, attaching, conditioner, outdated, policy::seconds, site::Site, slot},
    command::Command,
    error::with_hint,
    hook::Layer,
    kernel::{choice::Wanted, datapath::Hook, state::Binding},
    snapshot::HookPolicy,
    status::Note,
};

/// Whether the hook runs something else than the policy in force says.
pub(super) fn is_unmet(site: &Site, hook: &Hook) -> bool {
    let in_force = site.policy.as_ref().map(|in_force| in_force.policy.hash());
    match &hook.state.binding {
        Some(binding) => {
            let is_another = Some(binding.policy.hash.as_str()) != in_force;
            is_another || !outdated::at(site, hook).is_empty() || !outdated::absences(site, binding).is_empty()
        }
        None => bound(site, hook).is_some(),
    }
}

/// What the policy in force binds to a hook, in words.
fn bound(site: &Site, hook: &Hook) -> Option<String> {
    let policy = &site.policy.as_ref()?.policy;
    conditioner::binding(policy, &site.name_of(hook), hook.pins.direction).map(|binding| binding.words())
}

/// What there is to say of a hook beside its state; `unreadable` is why its counters are not read.
pub(super) fn of(site: &Site, hook: &Hook, unreadable: Option<anyhow::Error>) -> Vec<Note> {
    let mut notes = Vec::new();
    if !hook.state.inside().is_empty() {
        notes.push(Note::info(format!("looks inside {}", Layer::words(hook.state.inside()))));
    }
    if let Some(outer) = hook.state.binding.as_ref().and_then(Binding::outer_name) {
        notes.push(Note::info(format!("marks outer headers that this host makes by table {outer}")));
    }
    if let Some(bypass) = &hook.state.bypass {
        let since = humantime::format_rfc3339_seconds(bypass.since);
        let resume = Command::new("qosbpf policy resume").operand(site.hook_name(hook));
        let end = bypass.until.and_then(left).map(|left| format!(", ends in {}", seconds(left))).unwrap_or_default();
        notes.push(Note::warning(format!("BYPASS by {} since {since}{end}: {resume}", bypass.by)));
    }
    if let Some(error) = unreadable {
        notes.push(Note::warning(format!("counters: {}", with_hint(&error))));
    }
    notes.extend(of_policy(site, hook));
    if !hook.state.is_of_this_build() {
        let another = if hook.state.version == crate::VERSION { "another build of " } else { "" };
        notes.push(Note::warning(format!(
            "runs the program of {another}qosbpf {}, this is {}: {}",
            hook.state.version,
            *crate::FULL_VERSION,
            Command::new("qosbpf attach").operand(site.hook_name(hook))
        )));
    }
    notes.extend(other_mechanism(site, hook));
    notes.extend(slot::is_free(site, hook).map(Note::info));
    notes
}

/// What is to be done so that it runs what the policy in force says.
fn of_policy(site: &Site, hook: &Hook) -> Vec<Note> {
    let mut notes = Vec::new();
    let running = site.policy.as_ref().map(|in_force| in_force.policy.hash());
    if let Some(binding) = &hook.state.binding
        && running != Some(binding.policy.hash.as_str())
    {
        let HookPolicy { name, hash, .. } = &binding.policy;
        let but = if site.has_policy() { "not the one in force" } else { "and none is in force" };
        notes.push(Note::warning(format!("runs policy {name} {hash}, {but}: {}", applying::again(site, hook))));
    }
    if let (None, Some(what)) = (&hook.state.binding, bound(site, hook)) {
        let again = applying::again(site, hook);
        notes.push(Note::warning(format!("bound to {what} by the policy in force, and runs without: {again}")));
    }
    notes.extend(outdated::words(site, hook).into_iter().map(Note::warning));
    let absences = hook.state.binding.iter().flat_map(|binding| outdated::absences(site, binding));
    notes.extend(absences.map(|absence| Note::warning(absence.to_string())));
    notes
}

/// That the policy asks for another mechanism than the hook was attached by: no switch of programs changes that.
fn other_mechanism(site: &Site, hook: &Hook) -> Option<Note> {
    let (name, direction) = (site.name_of(hook), hook.pins.direction);
    let in_force = site.policy.as_ref()?;
    let wanted = conditioner::wanted(Wanted::Best, Some(&in_force.policy), &name, direction);
    let (attached, Wanted::Exactly(via)) = (hook.state.via, wanted) else { return None };
    let text = || {
        let moved = attaching::moved(site, hook, via);
        format!("attached by {attached}, and the policy says {via}; counters begin anew: {moved}")
    };
    (via != attached).then(|| Note::warning(text()))
}
