//! What this host makes itself: no hook at ingress counts it, so that no number says what became of it before the hook at
//! egress.

use qos_common::ds::Dscp;

use super::{
    Scene, mark,
    suspects::{self, Suspects},
};
use crate::{
    diagnosis::{Finding, Level, marks, outside::Packets},
    hook::Direction,
    snapshot::Hook,
};

/// Who may take these codepoints from what this host makes, but those that are suspected already. Where they came to no hook
/// of ours that is the open question, else a note.
pub(super) fn suspected(
    scene: &Scene<'_>,
    hook: &Hook,
    word: &str,
    dscps: &[Dscp],
    found: &[Finding],
) -> Option<Finding> {
    let packets = Packets::of(dscps);
    let open = is_open(scene, hook, dscps);
    let rules = scene.outside.markers().chain(scene.outside.takers());
    let mut all: Vec<_> = rules.filter(|rule| rule.takes_own(packets, &hook.interface)).map(suspects::told).collect();
    if open {
        let port = scene.ground.port(&hook.interface).into_iter();
        all.extend(port.flat_map(|port| marks::before_us(port, Direction::Egress, packets, scene.ground)));
    }
    let named = super::cures(found);
    all.retain(|suspect| suspect.cure.as_ref().is_none_or(|cure| !named.contains(cure)));
    let suspects = Suspects::of(all);
    let level = if open { Level::Unknown } else { Level::Info };
    let name = scene.name();
    let text = format!("{word} that this host makes itself may lose its mark, or be dropped, before {name} counts it");
    // What works may be meant so: a note has nothing to heal.
    let cure = suspects.cure().filter(|_| open);
    let finding = || Finding::new(level, &name, "made-here", text).cures(cure.clone());
    suspects.are_there().then(finding).map(|finding| finding.details(suspects.beside(cure.as_ref())))
}

/// Whether they are at no hook, neither as they came nor as we left them.
fn is_open(scene: &Scene<'_>, hook: &Hook, dscps: &[Dscp]) -> bool {
    let none = |hook: &Hook| mark::before(hook, dscps) == 0 && mark::after(hook, dscps) == 0;
    none(hook) && scene.hooks(Direction::Ingress).filter(|from| from.interface != hook.interface).all(none)
}
