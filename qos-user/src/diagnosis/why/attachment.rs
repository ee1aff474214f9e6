//! Whether the hook is there, in force, and sees what the device sees.

use qos_common::abi::Uncounted;

use super::{Scene, device};
use crate::{
    diagnosis::{Command, Cure, Finding, strays},
    snapshot::{Hook, State},
};

/// What is found of the hook itself.
pub(super) fn findings(scene: &Scene<'_>) -> Vec<Finding> {
    let name = scene.name();
    let Some(hook) = scene.hook() else { return vec![unpinned(scene).unwrap_or_else(|| absent(scene))] };
    if let Err(why) = &hook.counts {
        let text = format!("its counters cannot be read: {why}");
        return vec![Finding::fail(&name, "unreadable", text).cure(Cure::Own(Command::new("detach").operand(&name)))];
    }
    let mut findings = vec![state(scene, hook)];
    findings.extend(other_policy(scene, hook));
    findings.extend(scene.outdated.iter().cloned());
    findings.extend(device::findings(scene, hook));
    findings.extend(no_ip(&name, hook));
    findings
}

fn attach(scene: &Scene<'_>) -> Cure {
    Cure::attach(scene.interface, scene.direction)
}

/// A program of ours that works here all the same, beside which another one is refused.
fn unpinned(scene: &Scene<'_>) -> Option<Finding> {
    strays::at(scene.ground.port(scene.interface)?, scene.direction, scene.ground)
}

fn absent(scene: &Scene<'_>) -> Finding {
    let name = scene.name();
    let wanted = scene
        .later
        .missing
        .iter()
        .find(|missing| missing.interface == scene.interface && missing.direction == scene.direction);
    let text = match wanted {
        Some(missing) => format!("not attached: {}", missing.reason),
        None => "not attached: nothing is counted or changed here".to_owned(),
    };
    Finding::fail(&name, "not-attached", text).cure(attach(scene))
}

fn state(scene: &Scene<'_>, hook: &Hook) -> Finding {
    let name = scene.name();
    let via = hook.via;
    match hook.state {
        State::Bypassed => {
            let text = format!("the policy is out of the path (bypass): {via} counts, and changes nothing");
            Finding::fail(&name, "bypassed", text).cure(Cure::Own(Command::new("policy resume").operand(&name)))
        }
        State::Missing | State::Error => {
            Finding::fail(&name, "program-removed", "the program was removed by someone else").cure(attach(scene))
        }
        State::Active => Finding::ok(&name, "attached", format!("hook attached ({via}), not bypassed")),
        State::Counting => {
            Finding::ok(&name, "attached", format!("hook attached ({via}); it counts, no policy is bound"))
        }
    }
}

/// `--only` leaves hooks behind.
fn other_policy(scene: &Scene<'_>, hook: &Hook) -> Option<Finding> {
    let (runs, in_force) = (hook.policy.as_ref()?, scene.later.policy.as_ref()?);
    let text = format!(
        "it runs policy {} {}, and {} {} is in force: {} was left out",
        runs.name,
        runs.hash,
        in_force.name,
        in_force.hash,
        scene.name()
    );
    let finding = || Finding::warn(&scene.name(), "other-policy", text).cures(scene.again.cloned());
    (runs.hash != in_force.hash).then(finding)
}

fn no_ip(name: &str, hook: &Hook) -> Option<Finding> {
    let counts = hook.counts.as_ref().ok()?;
    let (not_ip, before) = (counts.sums.uncounted[Uncounted::NotIp as usize].packets, counts.totals().before.packets);
    let text = format!(
        "{not_ip} frames are not IP where we look, {before} are: behind PPPoE or MPLS attach to the device on top"
    );
    (not_ip > before).then(|| Finding::info(name, "not-ip", text))
}
