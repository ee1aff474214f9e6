//! Whether the hook is there, in force, and sees what the device sees.

use qos_common::abi::Uncounted;

use super::{Scene, suspects::Suspects};
use crate::{
    diagnosis::{
        Command, Cure, Finding, Sample, marks,
        share::{HIDDEN, Seen},
    },
    snapshot::{Hook, State},
};

/// What is found of the hook itself.
pub(super) fn findings(scene: &Scene<'_>) -> Vec<Finding> {
    let name = scene.name();
    let Some(hook) = scene.hook() else { return vec![absent(scene)] };
    if let Err(why) = &hook.counts {
        let text = format!("its counters cannot be read: {why}");
        return vec![Finding::fail(&name, "unreadable", text).cure(Cure::Own(Command::new("detach").operand(&name)))];
    }
    let mut findings = vec![state(scene, hook)];
    findings.extend(other_policy(scene, hook));
    findings.extend(device(scene, hook));
    findings.extend(no_ip(&name, hook));
    findings
}

fn attach(scene: &Scene<'_>) -> Cure {
    Cure::attach(scene.interface, scene.direction)
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

/// Since it was attached.
fn device(scene: &Scene<'_>, hook: &Hook) -> Option<Finding> {
    let name = &scene.name();
    let sample = Sample::whole(hook)?;
    let (ours, device, dropped) = (sample.ours.packets, sample.device.packets, sample.dropped.words());
    let (thousandths, of) = match sample.seen() {
        Seen::Few => return None,
        Seen::All => {
            let text = format!("the device agrees: we saw {ours}, it counted {device}{dropped}");
            return Some(Finding::ok(name, "share", text));
        }
        // What was asked may have an answer all the same.
        Seen::Hidden => {
            let text = format!("we saw {ours}, the device counted {device}{dropped}: {HIDDEN}");
            return Some(Finding::info(name, "share-hidden", text));
        }
        Seen::Lost { packets } => return Some(lost(scene, ours, packets)),
        Seen::NotAll { thousandths, of } => (thousandths, of),
    };
    let percent = thousandths as f64 / 10.0;
    let text =
        format!("we do not see {percent:.1} % of the {of}: {}; they take another way{dropped}", sample.numbers(of));
    Some(Finding::warn(name, "unseen", text).cure(Cure::ask(Command::new("doctor").operand(&hook.interface))))
}

/// Behind our hook, where nobody has counted it. Who may have done it is suspected; else the device may not count.
fn lost(scene: &Scene<'_>, ours: u64, packets: u64) -> Finding {
    let name = scene.name();
    let text = format!(
        "{packets} of the {ours} packets that we saw did not come to the device, and neither qdisc nor device has dropped them"
    );
    let port = scene.ground.port(scene.interface);
    let behind = port.map(|port| marks::takers_behind(port, scene.direction)).unwrap_or_default();
    let suspects = Suspects::of(behind);
    if suspects.are_there() {
        return Finding::fail(&name, "lost-behind", text).cures(suspects.cure()).details(suspects.numbered());
    }
    let look = Command::new("tc -s filter show dev").word(scene.interface).word(scene.direction);
    let text = format!("{text}: something behind us takes them, or the device does not count them");
    Finding::unknown(&name, "lost-behind", text).cure(Cure::look(look))
}

fn no_ip(name: &str, hook: &Hook) -> Option<Finding> {
    let counts = hook.counts.as_ref().ok()?;
    let (not_ip, before) = (counts.sums.uncounted[Uncounted::NotIp as usize].packets, counts.totals().before.packets);
    let text = format!(
        "{not_ip} frames are not IP where we look, {before} are: behind PPPoE or MPLS attach to the device on top"
    );
    (not_ip > before).then(|| Finding::info(name, "not-ip", text))
}
