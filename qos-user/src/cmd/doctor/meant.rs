//! What the policy means to be so and is not: hooks that it binds, the policy that a reboot brings back, pins that say what
//! is in force.

use crate::{
    cmd::{
        Context,
        applying::{self, Applying},
        outdated::{self, Absence},
        saved::{self, Saved},
        site::Site,
        wanted,
    },
    diagnosis::{Cure, Finding},
    error::Failure,
    kernel::datapath::Hook,
    snapshot::Missing,
};

/// All of it, or what is about one interface.
pub(super) fn findings(site: &Site, interface: Option<&str>, context: &Context) -> Vec<Finding> {
    let is_meant = |missing: &Missing| interface.is_none_or(|name| name == missing.interface);
    let missing = wanted::missing(site).into_iter().filter(is_meant);
    let mut findings: Vec<Finding> = site.spoiled_pins().into_iter().map(spoiled).collect();
    findings.extend(saved(site, context));
    findings.extend(missing.map(|missing| not_attached(&missing, site)));
    let is_meant = |hook: &&Hook| interface.is_none_or(|name| name == site.name_of(hook));
    findings.extend(site.hooks.iter().filter(is_meant).flat_map(|hook| outdated(site, hook)));
    findings
}

/// What a hook does otherwise than the policy in force says, since interfaces are not what they were, or are not there.
fn outdated(site: &Site, hook: &Hook) -> Vec<Finding> {
    let (interface, name) = (site.name_of(hook), site.hook_name(hook));
    let outdated = outdated::at(site, hook).into_iter().map(|found| {
        let finding = Finding::warn(&interface, found.code, format!("{name}: {}", found.text));
        Finding { cure: applying::cure(site), ..finding }
    });
    let absences = hook.state.binding.iter().flat_map(|binding| outdated::absences(site, binding));
    let absences = absences.map(|Absence { text, remedy }| {
        Finding::fail(&interface, "no-interface", format!("{name}: {text}")).cure(Cure::Advice(remedy))
    });
    outdated.chain(absences).collect()
}

fn not_attached(missing: &Missing, site: &Site) -> Finding {
    let Missing { interface, direction, .. } = missing;
    let bound = format!("{interface}:{direction}: the policy in force binds it");
    if missing.ifindex.is_some() {
        let text = format!("{bound}, and nothing is attached: nothing is counted or marked there");
        return Finding::fail(interface, "not-attached", text).cure(Cure::attach(interface, *direction));
    }
    if let Some((renamed, cure)) = site.renamed(interface) {
        return Finding::fail(interface, "no-interface", format!("{bound}, and {renamed}")).cure(Cure::Advice(cure));
    }
    let file = site.written_in();
    let advice = format!("make the interface, and attach; or take the name out of {file} and apply it again");
    let text = format!("{bound}, and there is no such interface");
    Finding::fail(interface, "no-interface", text).cure(Cure::Advice(advice))
}

/// A pin that says what is in force, and is not to be understood.
fn spoiled(failure: Failure) -> Finding {
    let advice = failure.hint.unwrap_or_else(|| "look who wrote it".to_owned());
    Finding::fail("host", failure.code, failure.message).cure(Cure::Advice(advice))
}

/// The policy that a reboot brings back: that it is none, or that it is not in force though no other one is.
fn saved(site: &Site, context: &Context) -> Option<Finding> {
    let path = context.saved();
    match Saved::read(&path) {
        Saved::Good(policy) if !site.has_policy() => {
            let text = format!("policy {} {} is saved, and not in force", policy.name(), policy.hash());
            let apply = Applying::attaching(site, &policy, site.saved_file());
            Some(Finding::warn("host", "not-in-force", text).cure(apply.cure()))
        }
        saved => Some(Finding::fail("host", "saved-policy", saved.fault()?).cure(Cure::ask(saved::check(&path)))),
    }
}
