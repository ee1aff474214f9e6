//! Codepoints at a hook: what our policy does with them here, and where they were lost between our hooks.

use qos_common::ds::Dscp;

use super::{
    Scene,
    forwarding::{self, of_family},
    hook_name, since, suspects,
};
use crate::{
    diagnosis::{Command, Cure, Finding, Level, outside::Packets},
    hook::Direction,
    netdev::Passed,
    snapshot::{
        Hook,
        made::{Change, Maker},
    },
};

/// Hooks that were attached within this many seconds of each other are taken to have counted the same packets.
const TOGETHER: u64 = 30;

/// So are those that were attached within one part in so many of the time since.
const SMALL_PART: u64 = 20;

/// What is said above.
pub(super) fn heading(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> String {
    let all = hook.counts.as_ref().map_or(0, |counts| counts.totals().before.packets);
    let (before, after) = (before(hook, dscps), after(hook, dscps));
    let others = all - before.min(all);
    let name = scene.name();
    if before > 0 {
        return format!("{word} at {name}: before {before}, after {after}, since {}.", since(hook));
    }
    let counting = if others > 0 { "Not a counting fault: " } else { "" };
    format!("{word} at {name}: before 0 since {}. {counting}{others} other packets counted here.", since(hook))
}

fn before(hook: &Hook, dscps: &[Dscp]) -> u64 {
    hook.counts.as_ref().map_or(0, |counts| dscps.iter().map(|dscp| counts.before(*dscp).packets).sum())
}

fn after(hook: &Hook, dscps: &[Dscp]) -> u64 {
    hook.counts.as_ref().map_or(0, |counts| dscps.iter().map(|dscp| counts.after(*dscp).packets).sum())
}

fn others(hook: &Hook, dscps: &[Dscp]) -> u64 {
    let all = hook.counts.as_ref().map_or(0, |counts| counts.totals().before.packets);
    all.saturating_sub(before(hook, dscps))
}

/// What is found of these codepoints.
pub(super) fn findings(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let mut findings = by_policy(hook, "here", dscps);
    match hook.direction {
        Direction::Ingress if before(hook, dscps) == 0 => findings.push(none_came(scene, hook, word, dscps)),
        Direction::Ingress => findings.extend(way(scene, &[hook], None, word, dscps)),
        Direction::Egress => findings.extend(upstream(scene, hook, word, dscps)),
    }
    findings
}

/// What our own policy does with them at a hook, which is called `place`.
fn by_policy(hook: &Hook, place: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let Ok(counts) = &hook.counts else { return Vec::new() };
    let name = hook_name(hook);
    let changes = counts.changes().filter(|(from, ..)| dscps.contains(from));
    let changed = changes.map(|(from, to, count)| {
        let text = format!(
            "our policy: {} {from} -> {to} {place}, {}",
            count.packets,
            decided_by(hook, Change::remark(from, to))
        );
        Finding::info(&name, "remarked", text)
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
        Maker::Outer(table) => format!("outer table {} ({file})", table.name),
        Maker::Entry(table, entry) => format!("table {}, entry {} ({file}:{})", table.name, entry.key, entry.line),
    };
    let names = |makers: &[Maker<'_>]| makers.iter().map(name).collect::<Vec<_>>().join(" or ");
    hook.made(change).words(|makers| format!("by {}", names(makers)), |packets| packets.to_string())
}

fn none_came(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> Finding {
    let text = format!("no {word} came in from the wire here since {}: the sender or the way before us", since(hook));
    let port = scene.ground.port(scene.interface);
    let programs = port
        .into_iter()
        .flat_map(|port| super::marks::before_us(port, Direction::Ingress, Packets::of(dscps), scene.ground));
    Finding::info(&scene.name(), "none-came", text).details(programs.map(|program| format!("or: {program}")))
}

/// Where they came in, and what became of them on the way to this hook.
fn upstream(scene: &Scene<'_>, hook: &Hook, word: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let others = || scene.hooks(Direction::Ingress).filter(|from| from.interface != hook.interface);
    let at = |from: &Hook| format!("at {}", hook_name(from));
    let mut taken: Vec<_> = others().flat_map(|from| by_policy(from, &at(from), dscps)).collect();
    let from: Vec<_> = others().filter(|from| after(from, dscps) > 0).collect();
    if !from.is_empty() {
        taken.extend(way(scene, &from, Some(hook), word, dscps));
        return taken;
    }
    if others().any(|from| before(from, dscps) > 0) {
        return taken;
    }
    if before(hook, dscps) > 0 {
        return vec![Finding::ok(
            &scene.name(),
            "arrived",
            format!("{word} comes here, made by this host or marked on the way"),
        )];
    }
    vec![came_nowhere(scene, hook, word)]
}

fn came_nowhere(scene: &Scene<'_>, hook: &Hook, word: &str) -> Finding {
    let counted = |name: &str| scene.hooks(Direction::Ingress).any(|from| from.interface == name);
    let blind: Vec<_> = scene
        .ground
        .ports
        .iter()
        .map(|port| port.device.name.as_str())
        .filter(|name| *name != "lo" && *name != hook.interface && !counted(name))
        .collect();
    let name = scene.name();
    let Some(first) = blind.first() else {
        let text = format!("no {word} came in by any interface of this router: ask the sender");
        return Finding::info(&name, "none-came", text);
    };
    let text = format!("no {word} came in where we count; {} have no hook at ingress", blind.join(", "));
    Finding::unknown(&name, "blind", text).cure(Cure::attach(first, Direction::Ingress))
}

/// What came in with these codepoints, and what of it reached the hooks at egress.
fn way(scene: &Scene<'_>, from: &[&Hook], to: Option<&Hook>, word: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let name = scene.name();
    let mut findings: Vec<_> = from.iter().map(|hook| arrived(&name, hook, word, dscps)).collect();
    let exits: Vec<_> = scene
        .hooks(Direction::Egress)
        .filter(|exit| from.iter().all(|from| from.interface != exit.interface))
        .collect();
    let Some(way) = compared(scene, from, &exits, to, dscps) else {
        let text =
            "the hooks were attached at different times, and nothing came while we looked: repeat it while it flows";
        findings.push(
            Finding::unknown(&name, "not-comparable", text)
                .cure(Cure::Own(Command::new("why --sample 10").operand(&name))),
        );
        return findings;
    };
    // What our own policy took here, it has been said of.
    if way.came > 0 {
        findings.push(judged(scene, from, to, word, &way));
    }
    findings
}

fn arrived(name: &str, hook: &Hook, word: &str, dscps: &[Dscp]) -> Finding {
    let (before, after) = (before(hook, dscps), after(hook, dscps));
    Finding::ok(
        name,
        "arrived",
        format!("{word} arrived on this router: {} before {before}, after {after}", hook_name(hook)),
    )
}

/// Packets with certain codepoints.
pub(super) struct Way<'a> {
    pub dscps: &'a [Dscp],
    /// Left our hooks at ingress.
    came: u64,
    /// Came to any of our hooks at egress.
    left: u64,
    /// Came to the one asked about.
    here: u64,
    /// With other codepoints came to any of our hooks at egress.
    pub others: u64,
    /// Whether these are the packets of the sample.
    pub sampled: bool,
    /// The families of which packets are missing; both, if that cannot be said.
    pub families: [bool; 2],
}

impl Way<'_> {
    /// What is missing.
    pub(super) fn packets(&self) -> Packets {
        Packets { families: self.families, ..Packets::of(self.dscps) }
    }

    /// Came in, and to none of our hooks at egress.
    pub(super) const fn missing(&self) -> u64 {
        self.came.saturating_sub(self.left)
    }
}

type Count = fn(&Hook, &[Dscp]) -> u64;

/// The same packets at both ends, each once: those of the sample, or all of them if the hooks are of the same age.
fn compared<'a>(
    scene: &Scene<'_>,
    from: &[&Hook],
    exits: &[&Hook],
    to: Option<&Hook>,
    dscps: &'a [Dscp],
) -> Option<Way<'a>> {
    let whole = |hook: &Hook, count: Count| count(hook, dscps);
    let grown = |hook: &Hook, count: Count| {
        let then = scene.before(hook).map_or(0, |then| count(then, dscps));
        count(hook, dscps).saturating_sub(then)
    };
    let counted = |amount: &dyn Fn(&Hook, Count) -> u64, sampled| {
        let stacks = scene.stacks(Direction::Egress);
        let all = |count: Count| stacks.down(exits.iter().map(|hook| (hook.ifindex, amount(hook, count))));
        let (left, others) = (all(before), all(others));
        let here = to.map_or(left, |to| amount(to, before));
        let families = missing_families(from, |hook, count| amount(hook, count), &|count| all(count));
        Way { dscps, came: came(scene, from, amount), left, here, others, sampled, families }
    };
    if from.iter().any(|hook| grown(hook, after) > 0) {
        return Some(counted(&grown, true));
    }
    let together = from.iter().all(|from| exits.iter().all(|exit| saw_the_same(scene, from, exit)));
    together.then(|| counted(&whole, false))
}

/// What came of a family and did not leave. A packet that two hooks count on its way in is missing once too often: then a
/// family is suspected too many, and none too few. What our own policy made of others at ingress is in neither.
fn missing_families(from: &[&Hook], amount: impl Fn(&Hook, Count) -> u64, left: &dyn Fn(Count) -> u64) -> [bool; 2] {
    let counts: [Count; 2] = [|hook, dscps| of_family(hook, 0, dscps), |hook, dscps| of_family(hook, 1, dscps)];
    let missing = counts.map(|count| {
        let came: u64 = from.iter().map(|hook| amount(hook, count)).sum();
        left(count) * 10 < came * 9
    });
    if missing == [false; 2] { [true; 2] } else { missing }
}

/// What left these hooks at ingress, without what those of ours took that stand on them.
fn came(scene: &Scene<'_>, from: &[&Hook], amount: &dyn Fn(&Hook, Count) -> u64) -> u64 {
    let passed = scene.hooks(Direction::Ingress).map(|hook| {
        let asked = from.iter().any(|from| from.ifindex == hook.ifindex);
        let after = amount(hook, after);
        let taken = amount(hook, before).saturating_sub(after);
        (hook.ifindex, Passed { packets: if asked { after } else { 0 }, taken })
    });
    scene.stacks(Direction::Ingress).up(passed)
}

/// Whether what came in by one hook was counted by the other, if it came there: one that is older has seen it all.
fn saw_the_same(scene: &Scene<'_>, from: &Hook, exit: &Hook) -> bool {
    let Ok(later) = exit.since.duration_since(from.since) else { return true };
    let age = scene.later.time.duration_since(exit.since).unwrap_or_default();
    later.as_secs() <= TOGETHER || later.as_secs() * SMALL_PART <= age.as_secs()
}

/// One in ten may be for this host, or under way.
fn judged(scene: &Scene<'_>, from: &[&Hook], to: Option<&Hook>, word: &str, way: &Way<'_>) -> Finding {
    let name = scene.name();
    let Way { dscps, came, left, here, .. } = way;
    let suspects = suspects::between(scene, from, to.map(|to| to.interface.as_str()), way);
    let from_words = from.iter().map(|hook| hook_name(hook)).collect::<Vec<_>>().join(", ");
    let to_word = to.map_or_else(|| "the hooks at egress".to_owned(), hook_name);
    if here * 10 >= came * 9 {
        return Finding::ok(
            &name,
            "passed",
            format!("{word} comes through: {came} from {from_words}, {here} at {to_word}"),
        );
    }
    if left > here && left * 10 >= came * 9 {
        let text = format!(
            "{word} leaves by another interface: {came} came in, {left} left, {here} at {to_word}: see the routes"
        );
        return Finding::info(&name, "elsewhere", text).details(elsewhere(scene, to, dscps));
    }
    if let Some(off) = forwarding::off(scene, from, dscps, to.is_some()) {
        return off.details([format!("{word}: {came} came, {here} were counted")]);
    }
    let numbers = format!("{came} came, {here} were counted");
    if suspects.words.is_empty() {
        let text =
            format!("{word} is not seen between {from_words} and {to_word} ({numbers}): for this host, or dropped");
        let ways = suspects.possible.into_iter().map(|way| format!("or: {way}"));
        let cure = Cure::There(Command::new("nft -a list ruleset"));
        return Finding::unknown(&name, "vanished", text).details(ways).cure(cure);
    }
    let text = format!("{word} is lost inside this router, between {from_words} and {to_word} ({numbers})");
    let words = suspects.words.iter().enumerate().map(|(at, words)| format!("suspect {}: {words}", at + 1));
    let finding = Finding::fail(&name, "lost-inside", text).details(words);
    match suspects.removal {
        Some(removal) => finding.cure(Cure::There(removal)),
        None => finding,
    }
}

fn elsewhere(scene: &Scene<'_>, to: Option<&Hook>, dscps: &[Dscp]) -> Vec<String> {
    let others = scene.hooks(Direction::Egress).filter(|exit| to.is_none_or(|to| to.interface != exit.interface));
    let counted = others.map(|exit| (hook_name(exit), before(exit, dscps))).filter(|(_, packets)| *packets > 0);
    counted.map(|(name, packets)| format!("{name} before {packets}")).collect()
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
