//! Whether the hook sees what the device sees, and what is dropped between the two.

use super::{Scene, suspects::Suspects};
use crate::{
    diagnosis::{
        Command, Cure, Finding, Sample, marks,
        share::{Seen, hidden},
    },
    hook::Direction,
    snapshot::Hook,
};

/// Since the hook was attached.
pub(super) fn findings(scene: &Scene<'_>, hook: &Hook) -> Vec<Finding> {
    let Some(whole) = Sample::whole(hook) else { return Vec::new() };
    let is_short = matches!(whole.seen(), Seen::Lost { .. } | Seen::Hidden);
    let mut findings = match scene.qdisc_replaced && is_short {
        true => beside_another_qdisc(scene, hook, &whole),
        false => compared(scene, &whole).into_iter().collect(),
    };
    findings.extend(dropped(scene, hook));
    findings
}

fn compared(scene: &Scene<'_>, sample: &Sample) -> Option<Finding> {
    let name = &scene.name();
    let (ours, device, dropped) = (sample.ours.packets, sample.device.packets, sample.dropped.words());
    let (thousandths, of) = match sample.seen() {
        Seen::Few => return None,
        Seen::All => {
            let when = if sample.millis > 0 { "while we looked " } else { "" };
            let text = format!("the device agrees: {when}we saw {ours}, it counted {device}{dropped}");
            return Some(Finding::ok(name, "share", text));
        }
        // What was asked may have an answer all the same.
        Seen::Hidden => {
            let why = hidden(sample.direction);
            let text = format!("we saw {ours}, the device counted {device}{dropped}: {why}");
            return Some(Finding::info(name, "share-hidden", text));
        }
        Seen::Lost { packets } => return Some(lost(scene, ours, packets)),
        Seen::NotAll { thousandths, of } => (thousandths, of),
    };
    let percent = thousandths as f64 / 10.0;
    let text =
        format!("we do not see {percent:.1} % of the {of}: {}; they pass by another way{dropped}", sample.numbers(of));
    let port = scene.ground.port(scene.interface);
    Some(Finding::warn(name, "unseen", text).with_ways(port, scene.interface, scene.direction))
}

/// What a qdisc dropped that is not there any more is in no number: only what came while we looked can be compared.
fn beside_another_qdisc(scene: &Scene<'_>, hook: &Hook, whole: &Sample) -> Vec<Finding> {
    let (ours, device, dropped) = (whole.ours.packets, whole.device.packets, whole.dropped.words());
    let text = format!(
        "we saw {ours}, the device counted {device}{dropped}: the qdisc was replaced since the hook was attached; what that \
         one dropped is not known"
    );
    let told = Finding::info(&scene.name(), "qdisc-replaced", text);
    let is_here = |sample: &Sample| (&sample.interface, sample.direction) == (&hook.interface, hook.direction);
    let meanwhile = Sample::between(scene.earlier, scene.later).into_iter().find(is_here);
    [told].into_iter().chain(meanwhile.and_then(|sample| compared(scene, &sample))).collect()
}

/// Behind our hook, where nobody has counted it. Who may have done it is suspected; else the device may not count.
fn lost(scene: &Scene<'_>, ours: u64, packets: u64) -> Finding {
    let name = scene.name();
    let text = format!(
        "{packets} of the {ours} packets that we saw did not come to the device, and neither the present qdisc nor the device \
         has dropped them"
    );
    let port = scene.ground.port(scene.interface);
    let behind = port.map(|port| marks::takers_behind(port, scene.direction)).unwrap_or_default();
    let suspects = Suspects::of(behind);
    if suspects.are_there() {
        return Finding::fail(&name, "lost-behind", text).cures(suspects.cure()).details(suspects.numbered());
    }
    let look = Command::new("tc -s filter show dev").word(scene.interface).word(scene.direction);
    let text = format!(
        "{text}: something behind us takes them, a qdisc that is not there any more has dropped them, or the device does not \
         count them"
    );
    Finding::unknown(&name, "lost-behind", text).cure(Cure::look(look))
}

/// What was dropped of what is counted as AFTER: of which codepoint, neither qdisc nor device says.
fn dropped(scene: &Scene<'_>, hook: &Hook) -> Option<Finding> {
    if hook.direction == Direction::Ingress {
        return None;
    }
    let qdisc = hook.qdisc.as_ref().filter(|qdisc| qdisc.drops > 0);
    let device = hook.device.map(|device| device.drops).filter(|drops| *drops > 0);
    let by_qdisc = qdisc.map(|qdisc| format!("{} dropped by the qdisc {}", qdisc.drops, qdisc.kind));
    let by_device = device.map(|drops| format!("{drops} dropped by the device"));
    let by: Vec<_> = by_qdisc.into_iter().chain(by_device).collect();
    let text = format!("{} behind our count (of all codepoints)", by.join(", "));
    let look = match qdisc {
        Some(_) => Command::new("tc -s qdisc show dev").word(scene.interface),
        None => Command::new("ip -s link show dev").word(scene.interface),
    };
    (!by.is_empty()).then(|| Finding::info(&scene.name(), "dropped-behind", text).cure(Cure::look(look)))
}
