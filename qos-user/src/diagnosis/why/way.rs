//! What came in by our hooks at ingress, and what of it reached those at egress.

use std::time::Duration;

use qos_common::ds::Dscp;

use super::{
    Scene,
    forwarding::{self, of_family},
    hook_name,
    mark::{after, before, others},
    suspects::{self, Suspects},
};
use crate::{
    diagnosis::{
        Command, Cure, Finding,
        outside::Packets,
        share::{BETWEEN, NOISE},
    },
    hook::Direction,
    netdev::Passed,
    snapshot::Hook,
};

/// Hooks that were attached within this many seconds of each other are taken to have counted the same packets.
const TOGETHER: u64 = 30;

/// So are those that were attached within one part in so many of the time since.
const SMALL_PART: u64 = 20;

/// What came in with these codepoints, and what of it reached the hooks at egress.
pub(super) fn way(scene: &Scene<'_>, from: &[&Hook], to: Option<&Hook>, word: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let name = scene.name();
    let mut findings: Vec<_> = from.iter().map(|hook| arrived(&name, hook, word, dscps)).collect();
    let exits: Vec<_> = scene
        .hooks(Direction::Egress)
        .filter(|exit| from.iter().all(|from| from.interface != exit.interface))
        .collect();
    let Some(way) = compared(scene, from, &exits, to, dscps) else {
        findings.push(not_comparable(&name, word, "the hooks were attached at different times"));
        return findings;
    };
    // What our own policy took here, it has been said of.
    if way.came > 0 {
        findings.push(judged(scene, from, to, word, &way));
    }
    findings
}

fn not_comparable(name: &str, word: &str, why: &str) -> Finding {
    let text = format!("{why}, and nothing came while we looked: repeat it while it flows");
    let again = Command::new("why --sample 10").operand(name).word(word);
    Finding::unknown(name, "not-comparable", text).cure(Cure::ask(again))
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
    /// How many may be missing though all came through.
    allowed: u64,
    /// How many may have come before the last hook at egress was there.
    unseen: u64,
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

    /// Whether no more than a tenth is missing.
    const fn is_in_part(&self) -> bool {
        self.here * 10 >= self.came * 9
    }

    /// `7.0 % of `, unless all of it is missing.
    fn share(&self) -> String {
        let percent = self.came.saturating_sub(self.here) as f64 * 100.0 / self.came.max(1) as f64;
        if self.here == 0 { String::new() } else { format!("{percent:.1} % of ") }
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
    let counted = |amount: &dyn Fn(&Hook, Count) -> u64, unseen: Duration| {
        let stacks = scene.stacks(Direction::Egress);
        let all = |count: Count| stacks.down(exits.iter().map(|hook| (hook.ifindex, amount(hook, count))));
        let (left, others) = (all(before), all(others));
        let here = to.map_or(left, |to| amount(to, before));
        let came = came(scene, from, amount);
        let (allowed, unseen) = (allowed(came), unseen_of(scene, from, came, unseen));
        let families = missing_families(from, |hook, count| amount(hook, count), &|count| all(count));
        Way { dscps, came, left, here, allowed, unseen, others, sampled: false, families }
    };
    if from.iter().any(|hook| grown(hook, after) > 0) {
        return Some(Way { sampled: true, ..counted(&grown, Duration::ZERO) });
    }
    let together = from.iter().all(|from| exits.iter().all(|exit| saw_the_same(scene, from, exit)));
    together.then(|| counted(&whole, latest(from, exits)))
}

/// What may be missing of so many though nothing was taken: some under way between two readings, or dropped for reasons that
/// every network has.
const fn allowed(came: u64) -> u64 {
    let noise = came * NOISE / 1000;
    if noise > BETWEEN { noise } else { BETWEEN }
}

/// How long what came in was counted before the last of the hooks at egress was there.
fn latest(from: &[&Hook], exits: &[&Hook]) -> Duration {
    let first = from.iter().map(|hook| hook.since).min();
    let last = exits.iter().map(|hook| hook.since).max();
    first.zip(last).and_then(|(first, last)| last.duration_since(first).ok()).unwrap_or_default()
}

/// How many packets that is of those that came since, if they came evenly.
fn unseen_of(scene: &Scene<'_>, from: &[&Hook], came: u64, unseen: Duration) -> u64 {
    let first = from.iter().map(|hook| hook.since).min().unwrap_or(scene.later.time);
    let age = scene.later.time.duration_since(first).unwrap_or_default().as_secs_f64();
    if age > 0.0 { (came as f64 * (unseen.as_secs_f64() / age).min(1.0)).ceil() as u64 } else { 0 }
}

/// What came of a family and did not leave. A packet that two hooks count on its way in is missing once too often: then a
/// family is suspected too many, and none too few. What our own policy made of others at ingress is in neither.
fn missing_families(from: &[&Hook], amount: impl Fn(&Hook, Count) -> u64, left: &dyn Fn(Count) -> u64) -> [bool; 2] {
    let counts: [Count; 2] = [|hook, dscps| of_family(hook, 0, dscps), |hook, dscps| of_family(hook, 1, dscps)];
    let missing = counts.map(|count| {
        let came: u64 = from.iter().map(|hook| amount(hook, count)).sum();
        came.saturating_sub(left(count)) > allowed(came)
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

/// What is missing may have been for this host.
fn judged(scene: &Scene<'_>, from: &[&Hook], to: Option<&Hook>, word: &str, way: &Way<'_>) -> Finding {
    let name = scene.name();
    let Way { dscps, came, left, here, allowed, unseen, .. } = way;
    let from_words = from.iter().map(|hook| hook_name(hook)).collect::<Vec<_>>().join(", ");
    let to_word = to.map_or_else(|| "the hooks at egress".to_owned(), hook_name);
    if came.saturating_sub(*here) <= *allowed {
        return Finding::ok(
            &name,
            "passed",
            format!("{word} comes through: {came} from {from_words}, {here} at {to_word}"),
        );
    }
    if left > here && came.saturating_sub(*left) <= *allowed {
        let text = format!(
            "{word} leaves by another interface: {came} came in, {left} left, {here} at {to_word}: see the routes"
        );
        return Finding::info(&name, "elsewhere", text).details(elsewhere(scene, to, dscps));
    }
    let numbers = format!("{came} came, {here} were counted");
    let missing = format!("{}{word}", way.share());
    if came.saturating_sub(*here) <= allowed + unseen && *here > 0 {
        let why =
            format!("{missing} is not counted at {to_word} ({numbers}), which was attached later than {from_words}");
        return not_comparable(&name, word, &why);
    }
    if let Some(off) = forwarding::off(scene, from, dscps, to.is_some()) {
        return off.details([format!("{word}: {numbers}")]);
    }
    let suspects = suspects::between(scene, from, to.map(|to| to.interface.as_str()), way);
    let between = format!("between {from_words} and {to_word} ({numbers})");
    match suspects.are_there() {
        true => suspected(&name, &format!("{missing} is lost inside this router, {between}"), suspects, way),
        false => vanished(&name, &format!("{missing} is not seen {between}: for this host, or dropped"), suspects),
    }
}

/// Where a part is missing of a codepoint that many have, somebody may take it who is meant to.
fn suspected(name: &str, text: &str, suspects: Suspects, way: &Way<'_>) -> Finding {
    let code = if way.is_in_part() { "lost-in-part" } else { "lost-inside" };
    Finding::fail(name, code, text).cures(suspects.cure()).details(suspects.numbered())
}

fn vanished(name: &str, text: &str, suspects: Suspects) -> Finding {
    let rules = Cure::look(Command::new("nft -a list ruleset"));
    Finding::unknown(name, "vanished", text).details(suspects.possible()).cure(rules)
}

fn elsewhere(scene: &Scene<'_>, to: Option<&Hook>, dscps: &[Dscp]) -> Vec<String> {
    let others = scene.hooks(Direction::Egress).filter(|exit| to.is_none_or(|to| to.interface != exit.interface));
    let counted = others.map(|exit| (hook_name(exit), before(exit, dscps))).filter(|(_, packets)| *packets > 0);
    counted.map(|(name, packets)| format!("{name} before {packets}")).collect()
}
