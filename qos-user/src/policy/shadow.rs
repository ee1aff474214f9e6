//! Rules that are never asked, or do less than they say.

use qos_common::policy::Local;

use crate::{
    hook::Direction,
    policy::{
        bounds::{Axis, Bounds, covers},
        check::Checked,
        diagnostic::{Finding, Report, quote},
        model::{Action, Condition, Field, MeterKind, Origin, Place, Rule},
        rules::Written,
    },
    rules::UPDATE_PRIORITY,
};

/// How many pairs of rules are compared: some thousand rules at one hook.
const MOST_PAIRS: usize = 4_000_000;

/// What several rules together leave of another one is asked among so many rules.
const MOST_TOGETHER: usize = 64;

/// A burst below this lets no full-size Ethernet packet conform, in bytes.
const FULL_SIZE: u64 = 1500;

/// Network control, CS6 and CS7.
const CONTROL: u64 = 1 << 48 | 1 << 56;

/// All warnings about rules.
pub(super) fn check(policy: &Checked, report: &mut Report) {
    let bounds: Vec<_> = policy.rules.iter().map(|written| Bounds::of(&written.rule)).collect();
    check_shadowed(&policy.rules, &bounds, report);
    for (written, bounds) in policy.rules.iter().zip(&bounds) {
        check_local(policy, written, bounds, report);
        check_bursts(written, report);
        check_priority(written, bounds, report);
        check_origin(written, report);
    }
}

/// Of the rules of a hook those that are asked before this one, and decide on all that it would match: the first that does
/// so alone, else several that do so together.
#[must_use]
pub fn shadowed_by<'a>(rules: &'a [Rule], name: &str) -> Vec<&'a Rule> {
    let Some(at) = rules.iter().position(|rule| rule.name == name) else { return Vec::new() };
    let bounds = Bounds::of(&rules[at]);
    let earlier: Vec<_> =
        rules[..at].iter().filter(|rule| rule.decides()).map(|rule| (rule, Bounds::of(rule))).collect();
    if let Some((alone, _)) = earlier.iter().find(|(_, wider)| bounds.is_within(wider)) {
        return vec![alone];
    }
    let together = bounds.covered_by(&earlier.iter().map(|(_, bounds)| bounds).collect::<Vec<_>>());
    together.unwrap_or_default().into_iter().map(|at| earlier[at].0).collect()
}

/// What is said of a rule with this name.
#[must_use]
pub fn never_asked(name: &str) -> String {
    format!("the rule {} is never asked", quote(name))
}

/// Whether a rule leaves nothing that this host makes to what is asked after it, on all interfaces that a pattern means.
pub(super) fn decides_on_all_that_is_local(rule: &Rule, pattern: &str) -> bool {
    let is_asked = rule.on.iter().any(|place| {
        place.direction.is_none_or(|direction| direction == Direction::Egress) && covers(&place.pattern, pattern)
    });
    let mut local = Bounds::default();
    local.narrow(&Condition { field: Field::Origin(Origin::Local), negated: false });
    is_asked && rule.decides() && local.is_within(&Bounds::of(rule))
}

fn check_shadowed(rules: &[Written], bounds: &[Bounds], report: &mut Report) {
    let mut pairs = 0;
    for (later, written) in rules.iter().enumerate() {
        pairs += later;
        if pairs > MOST_PAIRS {
            let finding = Finding::warning(written.span, "there are too many rules to compare all of them");
            let finding =
                finding.help("whether this one or a later one is never asked, `policy check` says hook by hook");
            return report.push(finding);
        }
        let decides = |earlier: &usize| {
            let rule = &rules[*earlier].rule;
            rule.decides() && is_asked_within(&written.rule, rule)
        };
        let never = || Finding::warning(written.span, never_asked(&written.rule.name));
        if let Some(earlier) = (0..later).filter(decides).find(|earlier| bounds[later].is_within(&bounds[*earlier])) {
            let finding = never().also(rules[earlier].span, "this one decides on all that it would match");
            let same =
                bounds[earlier].is_within(&bounds[later]) && is_asked_within(&rules[earlier].rule, &written.rule);
            report.push(finding.help(if same {
                "both are for the same packets: delete one of them".to_owned()
            } else {
                cure(&written.rule, &rules[earlier].rule)
            }));
        } else if rules.len() <= MOST_TOGETHER {
            let before: Vec<usize> = (0..later).filter(decides).collect();
            let together = bounds[later].covered_by(&before.iter().map(|at| &bounds[*at]).collect::<Vec<_>>());
            if let Some([first, others @ ..]) = together.as_deref() {
                let names = others.iter().map(|at| quote(&rules[before[*at]].rule.name)).collect::<Vec<_>>().join(", ");
                let label = format!("this one and {names} decide on all that it would match");
                let finding = never().also(rules[before[*first]].span, label);
                report.push(finding.help(cure(&written.rule, &rules[before[*first]].rule)));
            }
        }
    }
}

/// What to do about a rule that is never asked: it is narrower than the one before it.
fn cure(rule: &Rule, earlier: &Rule) -> String {
    let (name, before) = (quote(&rule.name), quote(&earlier.name));
    format!("move {name} above {before} in line {}, or delete it", earlier.line)
}

/// Whether each place of one rule is within a place of another.
fn is_asked_within(inner: &Rule, outer: &Rule) -> bool {
    let asks = |place: &Place, direction| place.direction.is_none_or(|asked| asked == direction);
    Direction::BOTH.into_iter().all(|direction| {
        let mut places = inner.on.iter().filter(|place| asks(place, direction));
        places
            .all(|place| outer.on.iter().any(|wider| asks(wider, direction) && covers(&wider.pattern, &place.pattern)))
    })
}

/// Of both origins is every packet; what `local` keeps goes on being kept from the rule.
fn check_origin(written: &Written, report: &mut Report) {
    let Some(span) = written.any_origin else { return };
    let finding = Finding::warning(span, "`origin` says nothing here: every packet is local or forwarded");
    report.push(finding.help("leave it out; what `local` keeps is for a rule with origin = \"local\" alone"));
}

/// A rule about network control at egress does nothing to what this host made, unless it says so.
fn check_local(policy: &Checked, written: &Written, bounds: &Bounds, report: &mut Report) {
    let rule = &written.rule;
    let control = |(first, last): &(u128, u128)| (*first..=*last).all(|dscp| CONTROL >> dscp & 1 == 1);
    let only_control = bounds.get(Axis::Dscp).is_some_and(|left| left.iter().all(control));
    if !only_control || bounds.get(Axis::Origin).is_some() || matches!(rule.action, Action::None | Action::Set(None)) {
        return;
    }
    let leaves = rule.on.iter().any(|place| {
        place.direction != Some(Direction::Ingress) && local(policy, &place.pattern) == Local::KeepControl
    });
    if leaves {
        let title = format!("the rule {} does not touch the CS6 and CS7 of this host", quote(&rule.name));
        let finding = Finding::warning(written.action.unwrap_or(written.span), title).label("`local` keeps them");
        report.push(
            finding.help("say origin = \"forwarded\" if that is meant, or origin = \"local\" in a rule for them"),
        );
    }
}

/// What the section around a pattern says.
fn local(policy: &Checked, pattern: &str) -> Local {
    let around = policy.interfaces.iter().filter(|section| covers(&section.pattern, pattern));
    // An exact name has no star, and is no shorter than the globs around it.
    let widest = around.max_by_key(|section| (section.prefix().is_none(), section.pattern.len()));
    widest.map_or_else(Local::default, |section| section.local)
}

fn check_bursts(written: &Written, report: &mut Report) {
    let Action::Meter(meter) = &written.rule.action else { return };
    let largest = match meter.kind {
        MeterKind::SrTcm { cbs, ebs, .. } | MeterKind::Rfc4115 { cbs, ebs, .. } => cbs.max(ebs),
        MeterKind::TrTcm { cbs, pbs, .. } => cbs.max(pbs),
    };
    if largest < FULL_SIZE {
        let title = format!("no bucket holds a packet of {FULL_SIZE} bytes: it would always be red");
        report.push(Finding::warning(written.action.unwrap_or(written.span), title));
    }
}

/// Forwarding gives IPv4 packets a priority by their TOS, unless it is told not to (ip_forward(), since Linux 4.16 by
/// `ip_forward_update_priority`).
fn check_priority(written: &Written, bounds: &Bounds, report: &mut Report) {
    let Some((_, span)) = written.hand_over.iter().find(|(key, _)| *key == "priority") else { return };
    let rule = &written.rule;
    let ingress = rule.on.iter().position(|place| place.direction == Some(Direction::Ingress));
    let Some(place) = ingress.filter(|_| bounds.leaves(Axis::Family, 6, |family| family == 4)) else { return };
    let title = format!("forwarding overwrites the priority that {} gives IPv4 packets", quote(&rule.name));
    let mut finding = Finding::warning(*span, title);
    if let Some(place) = written.places.get(place) {
        finding = finding.also(*place, "here they have not been forwarded yet");
    }
    report.push(
        finding.help(format!("set it where they leave, at an egress hook; or forward with {UPDATE_PRIORITY} = 0")),
    );
}
