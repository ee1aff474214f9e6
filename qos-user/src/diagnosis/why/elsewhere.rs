//! Hooks on the way of the packets whose policy is out of the path: what it means to do with them is not done.

use std::collections::BTreeSet;

use qos_common::ds::Dscp;

use super::{Scene, hook_name, mark};
use crate::{
    diagnosis::{Command, Cure, Finding},
    hook::Direction,
    snapshot::{Hook, State},
};

/// From a hook at ingress those by which these packets leave; from one at egress those by which any come: which of them would
/// be these, were the policy there in the path, nobody has counted.
pub(super) fn bypassed(scene: &Scene<'_>, hook: &Hook, dscps: &[Dscp]) -> Vec<Finding> {
    let (there, does) = match hook.direction {
        Direction::Ingress => (Direction::Egress, "leaves"),
        Direction::Egress => (Direction::Ingress, "comes in"),
    };
    let here = marks(hook, dscps);
    let passes = |other: &Hook| match hook.direction {
        Direction::Ingress => mark::before(other, &here) > 0,
        Direction::Egress => other.counts.as_ref().is_ok_and(|counts| counts.totals().before.packets > 0),
    };
    let others = scene.hooks(there).filter(|other| other.interface != hook.interface);
    others.filter(|other| other.state == State::Bypassed && passes(other)).map(|other| told(other, does)).collect()
}

/// What these codepoints are behind the hook.
fn marks(hook: &Hook, dscps: &[Dscp]) -> Vec<Dscp> {
    let changes = hook.counts.iter().flat_map(|counts| counts.changes());
    let changed = changes.filter(|(from, _, _)| dscps.contains(from)).map(|(_, to, _)| to);
    dscps.iter().copied().chain(changed).collect::<BTreeSet<_>>().into_iter().collect()
}

fn told(other: &Hook, does: &str) -> Finding {
    let name = hook_name(other);
    let text = format!("where it {does}, at {name}, the policy is out of the path (bypass): nothing is changed there");
    Finding::warn(&name, "bypassed", text).cure(Cure::Own(Command::new("policy resume").operand(&name)))
}
