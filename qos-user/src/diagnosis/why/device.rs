//! Whether the hook sees what the device sees, and what is dropped between the two.

use super::{Scene, since, suspects::Suspects};
use crate::{
    diagnosis::{
        Command, Cure, Finding, Sample, marks, programs,
        share::{Seen, hidden},
    },
    hook::Direction,
    snapshot::Hook,
};

/// Since the hook was attached; what the packets of now do not bear out is over.
pub(super) fn findings(scene: &Scene<'_>, hook: &Hook) -> Vec<Finding> {
    let Some(whole) = Sample::whole(hook) else { return Vec::new() };
    let is_short = matches!(whole.seen(), Seen::Lost { .. } | Seen::Hidden);
    let now = meanwhile(scene, hook);
    let mut findings: Vec<_> = match scene.qdisc_replaced && is_short {
        true => beside_another_qdisc(scene, &whole, now.as_ref()),
        false => now
            .and_then(|now| over(scene, hook, &whole, &now))
            .or_else(|| compared(scene, &whole))
            .into_iter()
            .collect(),
    };
    findings.extend(dropped(scene, hook));
    findings
}

/// What came past the hook while we looked.
fn meanwhile(scene: &Scene<'_>, hook: &Hook) -> Option<Sample> {
    let is_here = |sample: &Sample| (&sample.interface, sample.direction) == (&hook.interface, hook.direction);
    Sample::between(scene.earlier, scene.later).into_iter().find(is_here)
}

/// What is so since the hook was attached, and not of what came while we looked; nothing if somebody is still there who may do
/// so to packets that did not come meanwhile.
fn over(scene: &Scene<'_>, hook: &Hook, whole: &Sample, now: &Sample) -> Option<Finding> {
    let port = scene.ground.port(scene.interface);
    let (then, is_still_there) = match whole.seen() {
        Seen::NotAll { thousandths, of } => {
            let percent = thousandths as f64 / 10.0;
            let then = format!("we did not see {percent:.1} % of the {of}, but {}", whole.numbers(of));
            (then, port.is_some_and(|port| programs::beside(port, scene.direction, true).next().is_some()))
        }
        Seen::Lost { packets } => {
            let then = format!("{packets} of the {} packets that we saw did not come to it", whole.ours.packets);
            (then, port.is_some_and(|port| !marks::takers_behind(port, scene.direction).is_empty()))
        }
        Seen::Few | Seen::All | Seen::Hidden => return None,
    };
    let text = format!("{}; since {} {then}: not so now", agrees(now), since(hook));
    let is_over = now.seen() == Seen::All && !is_still_there;
    is_over.then(|| Finding::info(&scene.name(), "share-earlier", text))
}

/// `the device agrees: while we looked we saw 38, it counted 38`.
fn agrees(sample: &Sample) -> String {
    let (ours, device, dropped) = (sample.ours.packets, sample.device.packets, sample.dropped.words());
    let when = if sample.millis > 0 { "while we looked " } else { "" };
    format!("the device agrees: {when}we saw {ours}, it counted {device}{dropped}")
}

fn compared(scene: &Scene<'_>, sample: &Sample) -> Option<Finding> {
    let name = &scene.name();
    let (ours, device, dropped) = (sample.ours.packets, sample.device.packets, sample.dropped.words());
    let (thousandths, of) = match sample.seen() {
        Seen::Few => return None,
        Seen::All => return Some(Finding::ok(name, "share", agrees(sample))),
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
fn beside_another_qdisc(scene: &Scene<'_>, whole: &Sample, now: Option<&Sample>) -> Vec<Finding> {
    let (ours, device, dropped) = (whole.ours.packets, whole.device.packets, whole.dropped.words());
    let text = format!(
        "we saw {ours}, the device counted {device}{dropped}: the qdisc was replaced since the hook was attached; what that \
         one dropped is not known"
    );
    let told = Finding::info(&scene.name(), "qdisc-replaced", text);
    [told].into_iter().chain(now.and_then(|sample| compared(scene, sample))).collect()
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
