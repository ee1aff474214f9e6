//! Whether a policy fits into the pins in which it is remembered, asked before anything is switched.

use super::{plan::Item, record};
use crate::{
    cmd::{conditioner, site},
    hook::Direction,
    kernel::{
        document,
        pending::{HookBefore, Pending},
        state::Binding,
    },
    policy::{MAX_BYTES, Policy, Source},
};

// The largest file fits, whatever of it has to be escaped.
const _: () = assert!(document::MAX >= 4 * MAX_BYTES);

/// Refuses a policy that does not fit, at the hooks that it names itself.
///
/// # Errors
///
/// `too-large`.
pub fn refuse_too_large(source: &Source, policy: &Policy) -> anyhow::Result<()> {
    let everywhere = Direction::BOTH.map(|direction| ("*", direction));
    let named = policy.bindings().into_iter().map(|binding| (binding.pattern, binding.direction)).chain(everywhere);
    let bindings = named.filter_map(|(pattern, direction)| {
        // An interface that the glob stands for.
        conditioner::binding(policy, &pattern.replace('*', "0"), direction)
    });
    refuse(source, policy, bindings)
}

/// The same, at the hooks of a plan.
///
/// # Errors
///
/// `too-large`.
pub fn refuse_plan_too_large(source: &Source, policy: &Policy, items: &[Item<'_>]) -> anyhow::Result<()> {
    refuse(source, policy, items.iter().filter_map(|item| item.binding.clone()))
}

fn refuse(source: &Source, policy: &Policy, bindings: impl Iterator<Item = Binding>) -> anyhow::Result<()> {
    let hooks =
        bindings.map(|binding| HookBefore { ifindex: u32::MAX, direction: Direction::Ingress, binding: Some(binding) });
    Pending::refuse_too_large(site::identity(policy), record(source), hooks.collect())
}
