//! Codepoints at a hook: what our policy does with them here, and where they were lost between our hooks.

use qos_common::ds::Dscp;

use super::{Scene, bridged, elsewhere, hook_name, own, protected, since, tunnels, way::way};
use crate::{
    diagnosis::{Cure, Detail, Finding, Level, outside::Packets},
    hook::Direction,
    snapshot::{
        Hook,
        made::{Change, Maker},
    },
};

/// What is said above.
pub(super) fn heading(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> String {
    let all = hook.counts.as_ref().map_or(0, |counts| counts.totals().before.packets);
    let (before, after) = (before(hook, dscps), after(hook, dscps));
    let others = all - before.min(all);
    let name = scene.name();
    if before > 0 {
        return format!("{word} at {name}: before {before}, after {after}, since {}.", since(hook));
    }
    if after > 0 {
        return format!("{word} at {name}: before 0, after {after}, since {}: our policy makes it here.", since(hook));
    }
    let counting = if others > 0 { "Not a counting fault: " } else { "" };
    format!("{word} at {name}: before 0 since {}. {counting}{others} other packets counted here.", since(hook))
}

pub(super) fn before(hook: &Hook, dscps: &[Dscp]) -> u64 {
    hook.counts.as_ref().map_or(0, |counts| dscps.iter().map(|dscp| counts.before(*dscp).packets).sum())
}

pub(super) fn after(hook: &Hook, dscps: &[Dscp]) -> u64 {
    hook.counts.as_ref().map_or(0, |counts| dscps.iter().map(|dscp| counts.after(*dscp).packets).sum())
}

/// What is found of these codepoints.
pub(super) fn findings(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let mut findings = by_policy(hook, "here", dscps);
    let kept = protected::kept(scene, hook, dscps);
    match hook.direction {
        Direction::Ingress if before(hook, dscps) == 0 && after(hook, dscps) == 0 => {
            findings.push(none_came(scene, hook, word, dscps))
        }
        Direction::Ingress => findings.extend(way(scene, &[hook], None, word, dscps)),
        Direction::Egress => {
            let mut found = upstream(scene, hook, word, dscps);
            // Where none is to be found is answered.
            found.retain(|finding| kept.is_none() || !["blind", "none-came"].contains(&finding.code));
            let own = own::suspected(scene, hook, word, dscps, &found);
            findings.extend(found);
            findings.extend(own);
        }
    }
    findings.extend(kept);
    findings.extend(elsewhere::bypassed(scene, hook, dscps));
    findings
}

/// What our own policy does with them at a hook, which is called `place`.
fn by_policy(hook: &Hook, place: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let Ok(counts) = &hook.counts else { return Vec::new() };
    let name = hook_name(hook);
    let changes = counts.changes().filter(|(from, to, _)| dscps.contains(from) || dscps.contains(to));
    let changed = changes.map(|(from, to, count)| {
        let by = decided_by(hook, Change::remark(from, to));
        let text = format!("our policy: {} {from} -> {to} {place}, {by}", count.packets);
        Finding::info(&name, if dscps.contains(&from) { "remarked" } else { "made" }, text)
    });
    let dropped = dscps.iter().map(|dscp| (*dscp, counts.dropped(*dscp).packets)).filter(|(_, packets)| *packets > 0);
    let dropped = dropped.map(|(dscp, packets)| {
        let text = format!("our policy: {packets} {dscp} dropped {place}, {}", decided_by(hook, Change::drop(dscp)));
        Finding::info(&name, "dropped", text)
    });
    changed.chain(dropped).collect()
}

/// What is in force and may have done it, each with its place; else an earlier policy.
fn decided_by(hook: &Hook, change: Change) -> String {
    let file = hook.policy.as_ref().map_or("policy", |policy| policy.file.as_str());
    let name = |maker: &Maker<'_>| match maker {
        Maker::Rule(rule) => format!("rule \"{}\" ({file}:{})", rule.name, rule.line),
        Maker::Outer(table, to) => table.as_outer(*to, file),
        Maker::Entry(table, entry) => format!("table {}, entry {} ({file}:{})", table.name, entry.key, entry.line),
    };
    let names = |makers: &[Maker<'_>]| makers.iter().map(name).collect::<Vec<_>>().join(" or ");
    hook.made(change).words(|makers| format!("by {}", names(makers)), |packets| packets.to_string())
}

fn none_came(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> Finding {
    if let Some(bridged) = bridged::none_came(scene, hook, word, dscps) {
        return bridged;
    }
    let text = format!("no {word} came in from the wire here since {}: the sender or the way before us", since(hook));
    let port = scene.ground.port(scene.interface);
    let programs = port
        .into_iter()
        .flat_map(|port| super::marks::before_us(port, Direction::Ingress, Packets::of(dscps), scene.ground));
    let or = |program: Detail| Detail { text: format!("or: {}", program.text), ..program };
    Finding::info(&scene.name(), "none-came", text).details(programs.map(or))
}

/// Where they came in, and what became of them on the way to this hook.
fn upstream(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let all = || scene.hooks(Direction::Ingress).filter(|from| from.interface != hook.interface);
    let at = |from: &Hook| format!("at {}", hook_name(from));
    let mut taken: Vec<_> = all().flat_map(|from| by_policy(from, &at(from), dscps)).collect();
    // What comes here may be the outer headers of what goes into a tunnel; what comes out of it came by here, and leaves elsewhere.
    // What came in by a bridge does not leave by its ports, nor what came in by a port by the bridge: this host answers there.
    let comes_here = before(hook, dscps) > 0;
    let is_another = |from: &&Hook| tunnels::is_over(scene, from, hook) || bridged::is_way_back(scene, from, hook);
    let others = || all().filter(|from| !(comes_here && is_another(from)));
    let from: Vec<_> = others().filter(|from| after(from, dscps) > 0).collect();
    if !from.is_empty() {
        taken.extend(way(scene, &from, Some(hook), word, dscps));
        return taken;
    }
    if others().any(|from| before(from, dscps) > 0) {
        return taken;
    }
    // Who asks for what our policy makes here does not miss it.
    if before(hook, dscps) == 0 && after(hook, dscps) > 0 {
        return taken;
    }
    if before(hook, dscps) > 0 {
        let text = format!("{word} comes here: {}", origins(scene, hook));
        return vec![Finding::ok(&scene.name(), "arrived", text)];
    }
    vec![came_nowhere(scene, hook, word)]
}

/// From where packets may have come here that no hook at ingress has counted.
pub(super) fn origins(scene: &Scene<'_>, hook: &Hook) -> String {
    let blind = blind(scene, hook);
    let others = scene.hooks(Direction::Ingress).filter(|from| from.interface != hook.interface);
    let younger: Vec<_> = others.filter(|from| from.since > hook.since).map(hook_name).collect();
    let nowhere = (!blind.is_empty()).then(|| format!("came in where no hook is ({})", blind.join(", ")));
    let earlier = (!younger.is_empty()).then(|| format!("came in before {} was attached", younger.join(" or ")));
    let may_be = ["made by this host".to_owned(), "marked on the way".to_owned()];
    let outer = tunnels::outer_headers(scene, hook);
    may_be.into_iter().chain(outer).chain(nowhere).chain(earlier).collect::<Vec<_>>().join(", or ")
}

/// Other interfaces by which packets may come in that nobody counts there.
fn blind<'a>(scene: &Scene<'a>, hook: &Hook) -> Vec<&'a str> {
    let counted = |name: &str| scene.hooks(Direction::Ingress).any(|from| from.interface == name);
    let names = scene.ground.ports.iter().map(|port| port.device.name.as_str());
    names.filter(|name| *name != "lo" && *name != hook.interface && !counted(name)).collect()
}

fn came_nowhere(scene: &Scene<'_>, hook: &Hook, word: &str) -> Finding {
    let blind = blind(scene, hook);
    let name = scene.name();
    let Some(first) = blind.first() else {
        let text = format!("no {word} came in by any interface of this router: ask the sender");
        return Finding::info(&name, "none-came", text);
    };
    let have = if blind.len() == 1 { "has" } else { "have" };
    let text = format!("no {word} came in where we count; {} {have} no hook at ingress", blind.join(", "));
    Finding::unknown(&name, "blind", text).cure(Cure::attach(first, Direction::Ingress))
}

/// For a hook as a whole: each codepoint that comes in, reaches no hook at egress, and has somebody who takes it; that is said
/// once of a host that does not forward, and not where the packets may be for itself.
pub(super) fn lost(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(hook) = scene.hook() else { return Vec::new() };
    let looked = |dscp: Dscp| findings(scene, hook, &dscp.to_string(), &[dscp]);
    let mut lost: Vec<Finding> = Vec::new();
    for finding in Dscp::all().flat_map(looked) {
        let said = || lost.iter().any(|before| (before.code, &before.text) == (finding.code, &finding.text));
        let is_meant = match finding.code {
            "lost-inside" => true,
            "not-forwarded" => finding.level == Level::Fail && !said(),
            _ => false,
        };
        if is_meant {
            lost.push(finding);
        }
    }
    lost
}
