//! A rule of the policy at a hook: who is asked before it, and what of it packets here cannot have.

use qos_common::ds::Dscp;

use super::{Scene, mark, time};
use crate::{
    diagnosis::{Command, Cure, Finding, address, port},
    hook::Direction,
    rules::{
        UPDATE_PRIORITY, from,
        model::{Condition, Field, Rule, pattern_matches},
    },
    snapshot::{Hook, RuleCount, State},
};

/// What is known of a rule beside its counters.
#[derive(Clone, Debug)]
pub struct RuleFacts {
    /// Its name.
    pub name: String,
    /// The rule before it that decides on all that it would match, or several that do so together.
    pub shadowed_by: Vec<String>,
    /// Where the policy asks it, as it says so.
    pub on: String,
    /// Whether that is at this hook, too.
    pub wanted: bool,
    /// The hooks here that do ask it.
    pub asked_at: Vec<String>,
    /// Whether its `from` means other interfaces by now than at the hook that asks it.
    pub outdated: bool,
    /// `file:line`.
    pub place: String,
}

fn counted<'a>(hook: &'a Hook, name: &str) -> Option<&'a RuleCount> {
    hook.rules.iter().find(|rule| rule.rule.name == name)
}

/// What is said above.
pub(super) fn heading(scene: &Scene<'_>, hook: &Hook, facts: &RuleFacts) -> String {
    let (name, place, at) = (&facts.name, &facts.place, scene.name());
    let Some(rule) = counted(hook, name) else { return format!("rule \"{name}\" ({place}) is not asked at {at}.") };
    // What it has counted stays with its name over all policies.
    let (packets, since) = (rule.counted.packets, time(rule.since.unwrap_or(hook.since)));
    format!("rule \"{name}\" ({place}) at {at}: {packets} packets since {since}.")
}

/// What is found of it.
pub(super) fn findings(scene: &Scene<'_>, hook: &Hook, facts: &RuleFacts) -> Vec<Finding> {
    let name = scene.name();
    let Some(rule) = counted(hook, &facts.name) else { return vec![not_asked(scene, facts)] };
    let mut findings: Vec<Finding> = certain(scene, rule, facts);
    if rule.counted.packets > 0 {
        let text = format!("it has decided or counted {} packets: {}", rule.counted.packets, rule.rule.result());
        findings.push(Finding::ok(&name, "hit", text));
    } else if findings.is_empty() && !facts.outdated {
        findings.extend(unhit(scene, hook, rule));
    }
    findings.extend(overwritten(scene, &rule.rule));
    findings
}

/// The policy may not mean it for this hook: that is an answer, and no fault.
fn not_asked(scene: &Scene<'_>, facts: &RuleFacts) -> Finding {
    let (name, on) = (scene.name(), &facts.on);
    if facts.wanted {
        let text =
            format!("rule \"{}\" is for {name} (on = {on}), and the program there was made without it", facts.name);
        return Finding::fail(&name, "not-asked", text).cures(scene.again.cloned());
    }
    let Some(first) = facts.asked_at.first() else {
        let text = format!("rule \"{}\" is asked nowhere: no hook that runs is meant by on = {on}", facts.name);
        let advice =
            format!("qosbpf status says what is missing; to ask it here: write on = \"{name}\" in {}", facts.place);
        return Finding::fail(&name, "not-asked", text).cure(Cure::Advice(advice));
    };
    let hooks = facts.asked_at.join(", ");
    let text =
        format!("rule \"{}\" is not for {name}, as the policy says: on = {on}; it is asked at {hooks}", facts.name);
    let there = Command::new("why").operand(first).word(format_args!("rule={}", facts.name));
    Finding::info(&name, "asked-elsewhere", text).cure(Cure::ask(there))
}

/// What keeps it from ever matching.
fn certain(scene: &Scene<'_>, count: &RuleCount, facts: &RuleFacts) -> Vec<Finding> {
    let (name, rule) = (scene.name(), &count.rule);
    let shadowed = shadowed(&name, rule, facts);
    let translated = address::translated_rule(scene.interface, scene.direction, rule, scene.outside);
    let no_tag = no_tag(scene, rule, count.counted.packets > 0);
    [shadowed, translated, no_interface(scene, rule, facts), no_tag].into_iter().flatten().collect()
}

/// What it makes of IPv4 packets that come in is the kernel's again once they are forwarded.
fn overwritten(scene: &Scene<'_>, rule: &Rule) -> Option<Finding> {
    let has_no_ipv4 = |condition: &Condition| match &condition.field {
        Field::Family(families) => families.contains(&4) == condition.negated,
        _ => false,
    };
    let comes_in = scene.direction == Direction::Ingress && scene.ground.updates_priority;
    if rule.priority.is_none() || !comes_in || rule.conditions.iter().any(has_no_ipv4) {
        return None;
    }
    let text = format!(
        "forwarding overwrites the priority that rule \"{}\" gives IPv4 packets: {UPDATE_PRIORITY} is 1",
        rule.name
    );
    let note = "a rule at the hook where they leave sets it behind that, without the setting";
    let keeps = Command::new("sysctl -w").word(format_args!("{UPDATE_PRIORITY}=0"));
    Some(Finding::warn(&scene.name(), "priority-overwritten", text).details([note.to_owned()]).cure(Cure::There(keeps)))
}

fn shadowed(name: &str, rule: &Rule, facts: &RuleFacts) -> Option<Finding> {
    let (verbs, others) = match &*facts.shadowed_by {
        [] => return None,
        [_] => ("is before it, and decides", "that rule"),
        [_, ..] => ("are before it, and together decide", "one of those rules"),
    };
    let by = facts.shadowed_by.join(", ");
    let text = format!("rule \"{}\" is never asked: {by} {verbs} on all that it would match", rule.name);
    let cure = Cure::Advice(format!("move it from {} to before {others}, or narrow that one", facts.place));
    Some(Finding::fail(name, "shadowed", text).cure(cure))
}

/// `from` names interfaces, and there are none of that name.
fn no_interface(scene: &Scene<'_>, rule: &Rule, facts: &RuleFacts) -> Option<Finding> {
    let (patterns, _) = rule.froms().find(|(_, not)| !not)?;
    let there = |pattern: &String| scene.ground.ports.iter().any(|port| pattern_matches(pattern, &port.device.name));
    let text = || rule.absence(&patterns.iter().collect::<Vec<_>>(), false);
    let finding = || Finding::fail(&scene.name(), "no-interface", text());
    let is_nowhere = !patterns.iter().any(there);
    is_nowhere.then(|| finding().cure(Cure::Advice(from::to_be_there(&facts.place))))
}

/// XDP sees no tag that the device has taken off. Of a rule that has matched that cannot be all there is to say: a tag may
/// have come in the frame.
fn no_tag(scene: &Scene<'_>, rule: &Rule, is_hit: bool) -> Option<Finding> {
    let looks = rule.conditions.iter().any(|condition| matches!(condition.field, Field::Vlan(_) | Field::Pcp(_)));
    let port = scene.ground.port(scene.interface)?;
    let at_xdp = port.hook(Direction::Ingress).is_some_and(|hook| hook.via.is_xdp());
    let stripped = scene.direction == Direction::Ingress && at_xdp && port::takes_tags_off(port);
    if !looks || !stripped {
        return None;
    }
    let text = format!("rule \"{}\" looks at VLAN tags, which the device takes off before XDP", rule.name);
    let found = match is_hit {
        true => Finding::info(&scene.name(), "rxvlan", format!("{text}: it matches where a tag was left in the frame")),
        false => Finding::fail(&scene.name(), "rxvlan", text),
    };
    Some(found.cure(port::tags_in_frames(port)))
}

/// Nothing forbids it: either its codepoints do not come, or something else of it does not match.
fn unhit(scene: &Scene<'_>, hook: &Hook, rule: &RuleCount) -> Vec<Finding> {
    let Ok(counts) = &hook.counts else { return Vec::new() };
    let wanted = codepoints(&rule.rule);
    let sum = |of: &dyn Fn(Dscp) -> u64| wanted.iter().map(|dscp| of(*dscp)).sum::<u64>();
    let before = sum(&|dscp| counts.before(dscp).packets);
    let came = hook.asked.as_ref().map_or(before, |asked| sum(&|dscp| asked.since(counts, dscp)));
    if before == 0 && wanted.len() < Dscp::COUNT {
        return mark::findings(scene, hook, &listed(&wanted), &wanted);
    }
    let began = time(hook.asked.as_ref().map_or(hook.since, |asked| asked.at));
    if hook.state == State::Bypassed {
        let (text, earlier) = ("while the policy is out of the path it is not asked", before - came.min(before));
        let text = format!("{text}: {came} packets with its codepoints came since {began}, {earlier} before that");
        return vec![Finding::info(&scene.name(), "out-of-path", text)];
    }
    if came == 0 {
        let earlier = if before == 0 { String::new() } else { format!("; {before} came before that") };
        let text = format!("no packet with its codepoints came since it is asked here, {began}{earlier}");
        return vec![Finding::info(&scene.name(), "none-came", text)];
    }
    vec![not_matched(scene, hook, rule, &format!("{came} packets with its codepoints came since {began}"))]
}

fn listed(dscps: &[Dscp]) -> String {
    dscps.iter().map(Dscp::to_string).collect::<Vec<_>>().join(", ")
}

fn not_matched(scene: &Scene<'_>, hook: &Hook, rule: &RuleCount, came: &str) -> Finding {
    let name = scene.name();
    let before_it = hook.rules.iter().take_while(|other| other.rule.name != rule.rule.name);
    let deciding = before_it.filter(|other| other.rule.decides() && other.counted.packets > 0);
    let details = deciding.map(|other| {
        format!("decided before it: rule \"{}\", {} packets since it is there", other.rule.name, other.counted.packets)
    });
    let text = format!("{came}, and none matched all of: {}", rule.rule.matches());
    let write =
        "the command below says which condition is not so of one packet: write there the one that you mean".to_owned();
    let explain = Command::new("policy explain").operand(&name).word(example(&rule.rule));
    let finding = Finding::unknown(&name, "not-matched", text).details(details.chain([write]));
    finding.cure(Cure::ask(explain))
}

/// A packet with the first of its codepoints, in words.
fn example(rule: &Rule) -> String {
    let dscp = codepoints(rule).first().copied().unwrap_or(Dscp::DF);
    format!("udp 192.0.2.1:5060 > 198.51.100.1:5060 dscp {dscp}")
}

/// The codepoints that the rule is for, if it is asked at the hook.
pub(super) fn dscps(hook: &Hook, facts: &RuleFacts) -> Vec<Dscp> {
    counted(hook, &facts.name).map_or_else(Vec::new, |rule| codepoints(&rule.rule))
}

/// The codepoints that a rule is for.
fn codepoints(rule: &Rule) -> Vec<Dscp> {
    let bits = rule.conditions.iter().fold(u64::MAX, |all, condition| match condition.field {
        Field::Dscp(bits) => all & if condition.negated { !bits } else { bits },
        _ => all,
    });
    Dscp::all().filter(|dscp| bits >> dscp.value() & 1 == 1).collect()
}
