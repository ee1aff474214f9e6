//! What a bridge passes on from one of its ports to another: it comes to the hooks of the ports, and to none of the bridge
//! itself.

use qos_common::ds::Dscp;

use super::{
    Scene, hook_name,
    mark::{after, before},
    since,
};
use crate::{
    diagnosis::{Finding, Level, facts::Port},
    hook::Direction,
    snapshot::Hook,
};

/// What came in by the ports of a bridge whose own hook at ingress has counted none of it.
pub(super) fn none_came(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> Option<Finding> {
    let bridge = bridge(scene, hook)?;
    let came = at_ports(scene, bridge, Direction::Ingress, |hook| after(hook, dscps));
    let left = at_ports(scene, bridge, Direction::Egress, |hook| before(hook, dscps));
    let [all, on] = [&came, &left].map(|hooks| hooks.iter().map(|(_, packets)| packets).sum::<u64>());
    let (level, what) = match on >= all {
        true => (Level::Info, "bridged between ports, does not come to the bridge itself"),
        false => (Level::Unknown, "bridged to a port without a hook, or dropped: neither comes to the bridge itself"),
    };
    let (since, name) = (since(hook), &hook.interface);
    let text =
        format!("no {word} came to {name} itself since {since}: {all} came in by its ports, {on} left by them: {what}");
    let finding = || Finding::new(level, &scene.name(), "bridged", text).details(listed(&came).chain(listed(&left)));
    (all > 0).then(finding)
}

/// The same of a bridge that has sent none of it: so many came in, and as many left by other hooks.
pub(super) fn none_left(scene: &Scene<'_>, hook: &Hook, word: &str, came: u64, dscps: &[Dscp]) -> Option<Finding> {
    let bridge = bridge(scene, hook)?;
    let left = at_ports(scene, bridge, Direction::Egress, |hook| before(hook, dscps));
    let on: u64 = left.iter().map(|(_, packets)| packets).sum();
    let text = format!(
        "{word} does not come to {} itself: {came} came in, {on} left by its ports: bridged between ports",
        hook.interface
    );
    (on >= came).then(|| Finding::info(&scene.name(), "bridged", text).details(listed(&left)))
}

/// Whether what came in by one hook leaves by the other only as it came: they are at one device, or at a bridge and one of its
/// ports. What is bridged leaves by another port, and what is routed by another device.
pub(super) fn is_way_back(scene: &Scene<'_>, from: &Hook, exit: &Hook) -> bool {
    let is_port =
        |bridge: &Hook, port: &Hook| self::bridge(scene, bridge).is_some_and(|bridge| has_port(scene, bridge, port));
    from.interface == exit.interface || is_port(from, exit) || is_port(exit, from)
}

fn has_port(scene: &Scene<'_>, bridge: &Port, hook: &Hook) -> bool {
    let port = scene.ground.port(&hook.interface);
    port.is_some_and(|port| port.device.master == Some(bridge.device.ifindex))
}

/// The device of a hook, if it is a bridge.
fn bridge<'a>(scene: &Scene<'a>, hook: &Hook) -> Option<&'a Port> {
    scene.ground.port(&hook.interface).filter(|port| port.device.kind.as_deref() == Some("bridge"))
}

/// The hooks at its ports that have counted some.
fn at_ports<'a>(
    scene: &Scene<'a>,
    bridge: &Port,
    direction: Direction,
    packets: impl Fn(&Hook) -> u64,
) -> Vec<(&'a Hook, u64)> {
    let is_port = |hook: &&Hook| has_port(scene, bridge, hook);
    let counted = scene.hooks(direction).filter(is_port).map(|hook| (hook, packets(hook)));
    counted.filter(|(_, packets)| *packets > 0).collect()
}

fn listed(hooks: &[(&Hook, u64)]) -> impl Iterator<Item = String> {
    hooks.iter().map(|(hook, packets)| format!("{} {packets}", hook_name(hook)))
}
