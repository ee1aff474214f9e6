//! Hooks that run the policy in force for the interfaces as they were: names have changed since, or an interface that a rule's
//! `from` names was made anew. Only the service follows that.

use std::fmt::Display;

use super::{applying, conditioner, site::Site};
use crate::{
    kernel::{
        datapath::{Hook, Observed},
        state::Binding,
    },
    rules::from,
};

/// Something at a hook that is not as the policy in force says of the interfaces that there are.
#[derive(Debug)]
pub struct Outdated {
    /// A stable word for scripts.
    pub code: &'static str,
    /// What is so. To apply the policy again ends it.
    pub text: String,
}

/// All of it.
#[must_use]
pub fn at(site: &Site, hook: &Hook) -> Vec<Outdated> {
    [other_name(site, hook), others(site, hook)].into_iter().flatten().collect()
}

/// The same in words, each with what ends it.
#[must_use]
pub fn words(site: &Site, hook: &Hook) -> Vec<String> {
    let outdated = at(site, hook).into_iter();
    outdated.map(|found| format!("{}: {}", found.text, applying::again(site, hook))).collect()
}

/// That the policy in force binds something else to the name that the device has got. Another policy than the one in force is
/// another matter.
fn other_name(site: &Site, hook: &Hook) -> Option<Outdated> {
    let policy = &site.policy.as_ref()?.policy;
    let interface = site.interface_of(hook).filter(|_| hook.running != Observed::Gone)?;
    let runs = hook.state.binding.as_ref().filter(|binding| binding.policy.hash == policy.hash())?;
    let (before, now, runs) = (hook.state.asked_for(), &interface.name, runs.words());
    let is_renamed = !before.is_empty() && conditioner::is_renamed(site, hook);
    let wanted = if is_renamed { conditioner::rebound(site, Some(policy), hook, now)? } else { return None };
    let wanted = Binding::words_of(wanted.as_ref());
    let text = format!("runs {runs}, as its device was called {before}; to {now} the policy in force binds {wanted}");
    Some(Outdated { code: "other-name", text })
}

fn others(site: &Site, hook: &Hook) -> Option<Outdated> {
    let rules = conditioner::outdated(site, hook);
    let name = &rules.first()?.name;
    let more = if rules.len() > 1 { format!(" and {} more", rules.len() - 1) } else { String::new() };
    let text = format!("a rule's `from` means other interfaces by now (rule \"{name}\"{more})");
    Some(Outdated { code: "other-from", text })
}

/// Rules that name interfaces which are not there.
#[must_use]
pub fn absences(site: &Site, binding: &Binding) -> Vec<Absence> {
    if !binding.names_interfaces() {
        return Vec::new();
    }
    let now = conditioner::numbered(&site.interfaces);
    let of_rule = binding.rules.iter().flat_map(|rule| {
        let place = format!("{}:{}", binding.policy.file, rule.line);
        rule.absences(&now).into_iter().map(move |text| Absence { text, remedy: from::to_be_there(&place) })
    });
    of_rule.collect()
}

/// That there is no such interface, and what helps.
#[derive(Debug)]
pub struct Absence {
    /// What is so.
    pub text: String,
    /// What helps.
    pub remedy: String,
}

impl Display for Absence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.text, self.remedy)
    }
}
