//! `qosbpf why`: why a counter is zero, or a mark is not what was meant.

use std::{collections::BTreeMap, thread, time::SystemTime};

use qos_common::{ds::Dscp, notation::NotationError};

use crate::{
    cli::WhyArgs,
    cmd::{
        Context, absent, applying, conditioner,
        doctor::shell,
        earlier,
        outdated::{self, Outdated},
        site::{self, Site},
        unpinned,
    },
    command::Command,
    diagnosis::{
        self, Cure, Finding, Report,
        why::{About, Answer, RuleFacts, Scene},
    },
    error::{Exit, Failure},
    hook::{Direction, HookName},
    kernel::{datapath::Hook, state::Binding, survey},
    policy::{self, classifier::Idle},
    render::{json, table},
    rules::model::Rule,
};

/// Prints what is found; 3 if a fault is, 4 if something could not be asked.
///
/// # Errors
///
/// `usage`, `no-such-interface`; foreign or unreadable pins.
pub fn run(args: &WhyArgs, context: &Context) -> anyhow::Result<Exit> {
    let direction = args.hook.direction.ok_or_else(|| no_hook(&args.hook))?;
    let interface = &args.hook.interface;
    let site = Site::read(context)?;
    let again = |new: &str| {
        let why = Command::new("qosbpf why").operand(format_args!("{new}:{direction}"));
        args.what.iter().fold(why, |why, what| why.word(what))
    };
    let answer = match absent::named(&site, &args.hook) {
        Some(finding) => Answer {
            heading: args.hook.to_string(),
            findings: vec![finding],
            further: vec![Cure::ask(Command::new("status"))],
        },
        None => {
            site.interface(interface, again)?;
            answer(args, &site, direction, context)?
        }
    };
    let report = Report {
        time: SystemTime::now(),
        host: site::host(),
        about: Some(args.what.as_ref().map_or_else(|| args.hook.to_string(), |what| format!("{} {what}", args.hook))),
        heading: Some(answer.heading),
        findings: answer.findings,
        further: answer.further,
        shell: shell(context),
    }
    .with_tools(&survey::is_installed);
    if args.json {
        context.document(&json::document(&json::diagnosis(&report), json::Layout::Pretty)?)?;
    } else {
        context.screen(&table::why(&report, &context.look()))?;
    }
    Ok(diagnosis::exit(&report.findings))
}

/// What is found at a hook of an interface that is here.
fn answer(args: &WhyArgs, site: &Site, direction: Direction, context: &Context) -> anyhow::Result<Answer> {
    let interface = &args.hook.interface;
    let about = about(args.what.as_deref(), site, interface, direction)?;
    // What comes through while one reads is counted where it leaves, and not missed there.
    let (earlier, sent_before) = (site.snapshot_from(Direction::Egress, context)?, sent(site)?);
    thread::sleep(args.sample);
    let mut later = site.again()?.snapshot_from(Direction::Ingress, context)?;
    let sent_ever = sent(site)?;
    let meanwhile = |(ifindex, now): (&u32, &u64)| Some((*ifindex, now.checked_sub(*sent_before.get(ifindex)?)?));
    let sent: BTreeMap<u32, u64> = sent_ever.iter().filter_map(meanwhile).collect();
    (later.policy, later.missing) = (earlier.policy.clone(), earlier.missing.clone());
    let mut ground = survey::ground(&site.net, &site.interfaces, Some(site.pinned()))?;
    ground.elsewhere = unpinned::elsewhere(ground.ports.iter().flat_map(|port| &port.strays), context);
    let outside = survey::outside().among(&ground.bridges());
    let again = applying::cure(site);
    let hook = site.hooks.iter().find(|hook| is_at(site, hook, interface, direction));
    let outdated = hook.map_or_else(Vec::new, |hook| outdated(site, hook, again.as_ref()));
    let scene = Scene {
        interface,
        direction,
        earlier: &earlier,
        later: &later,
        ground: &ground,
        outside: &outside,
        sent: &sent,
        sent_ever: &sent_ever,
        again: again.as_ref(),
        outdated: &outdated,
        qdisc_replaced: qdisc_replaced(site, hook),
    };
    Ok(diagnosis::why::why(&scene, &about))
}

fn is_at(site: &Site, hook: &Hook, interface: &str, direction: Direction) -> bool {
    hook.pins.direction == direction && site.name_of(hook) == interface
}

/// What the hook does otherwise than the policy in force says, since interfaces are not what they were.
fn outdated(site: &Site, hook: &Hook, again: Option<&Cure>) -> Vec<Finding> {
    let name = site.hook_name(hook);
    let finding = |found: Outdated| Finding { cure: again.cloned(), ..Finding::fail(&name, found.code, found.text) };
    outdated::at(site, hook).into_iter().map(finding).collect()
}

/// Whether the device has another root qdisc than when the hook was attached.
fn qdisc_replaced(site: &Site, hook: Option<&Hook>) -> bool {
    let hook = hook.filter(|hook| hook.pins.direction == Direction::Egress);
    let then = hook.map(|hook| (hook, &hook.state.qdisc)).filter(|(_, then)| !then.kind.is_empty());
    then.is_some_and(|(hook, then)| {
        let now = site.net.qdiscs(hook.pins.ifindex);
        now.is_ok_and(|now| earlier::is_another(&now.root, then))
    })
}

/// How many packets each device has sent.
fn sent(site: &Site) -> anyhow::Result<BTreeMap<u32, u64>> {
    let interfaces = site.net.interfaces()?;
    Ok(interfaces.iter().map(|interface| (interface.ifindex, interface.sent.packets)).collect())
}

fn no_hook(name: &HookName) -> Failure {
    let hint = format!("write {}", name.both());
    Failure::new("usage", format!("`{name}` is an interface, and counters are at a hook")).exit(Exit::Usage).hint(hint)
}

/// A codepoint, else a class, else a rule: names of classes do not read as codepoints. `rule=` says that a rule is meant.
fn about(word: Option<&str>, site: &Site, interface: &str, direction: Direction) -> anyhow::Result<About> {
    let Some(word) = word else { return Ok(About::Hook) };
    if let Some(name) = word.strip_prefix("rule=") {
        return rule(name, site, interface, direction).map(About::Rule).ok_or_else(|| unknown(name, site, true).into());
    }
    match word.parse::<Dscp>() {
        Ok(dscp) => return Ok(About::Marks(dscp.to_string(), vec![dscp])),
        Err(NotationError::NotSixBits(Some(dscp))) => {
            let hint = format!("if it is a ToS byte, {dscp} is meant: write tos={word}");
            return Err(Failure::new("usage", format!("`{word}` is no codepoint")).exit(Exit::Usage).hint(hint).into());
        }
        Err(_) => {}
    }
    let label = site.label();
    let class = label.iter().flat_map(|label| &label.classes).find(|(name, _)| name == word);
    if let Some((name, dscps)) = class {
        return Ok(About::Marks(name.clone(), dscps.clone()));
    }
    rule(word, site, interface, direction).map(About::Rule).ok_or_else(|| unknown(word, site, false).into())
}

/// A rule that runs at the hook, else one of the policy in force.
fn rule(name: &str, site: &Site, interface: &str, direction: Direction) -> Option<RuleFacts> {
    let hook = site.hooks.iter().find(|hook| is_at(site, hook, interface, direction));
    let outdated = hook.map_or_else(Vec::new, |hook| conditioner::outdated(site, hook));
    let binding = hook.and_then(|hook| hook.state.binding.as_ref());
    let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
    let here = binding.map_or(&[][..], |binding| &binding.rules);
    let running = here.iter().find(|rule| rule.name == name);
    let rule = running.or_else(|| policy?.rules().iter().find(|rule| rule.name == name))?;
    let file = binding.map(|binding| binding.policy.file.as_str()).or_else(|| Some(policy?.file())).unwrap_or_default();
    let mut by = policy::shadowed_by(here, name);
    if by.is_empty() {
        by = binding.and_then(|binding| shadowed_in_tables(binding, name, site)).into_iter().collect();
    }
    Some(RuleFacts {
        name: name.to_owned(),
        asked_at: asked_at(name, site),
        shadowed_by: by.iter().map(|by| format!("rule \"{}\" ({file}:{})", by.name, by.line)).collect(),
        on: places(rule),
        wanted: rule.is_asked_at(interface, direction),
        outdated: outdated.iter().any(|rule| rule.name == name),
        place: format!("{file}:{}", rule.line),
    })
}

/// The rule that the compiler has found to decide on all that this one would match: it knows sets that are too large for
/// the language to compare.
fn shadowed_in_tables<'a>(binding: &'a Binding, name: &str, site: &Site) -> Option<&'a Rule> {
    let slots: Vec<u16> = (0..).zip(&binding.rules).map(|(slot, _)| slot).collect();
    let compiled = conditioner::compiled(binding, &slots, &slots, &conditioner::numbered(&site.interfaces)).ok()??;
    compiled.idle.iter().find_map(|idle| match idle {
        Idle::Shadowed { by, .. } if binding.rules.get(idle.rule())?.name == name => binding.rules.get(*by),
        _ => None,
    })
}

/// The hooks that ask a rule of this name.
fn asked_at(name: &str, site: &Site) -> Vec<String> {
    let asks = |binding: &Binding| binding.rules.iter().any(|rule| rule.name == name);
    let hooks = site.hooks.iter().filter(|hook| hook.state.binding.as_ref().is_some_and(asks));
    hooks.map(|hook| site.hook_name(hook)).collect()
}

fn places(rule: &Rule) -> String {
    let place = |place: &crate::rules::model::Place| match place.direction {
        Some(direction) => format!("{}:{direction}", place.pattern),
        None => place.pattern.clone(),
    };
    rule.on.iter().map(place).collect::<Vec<_>>().join(", ")
}

/// `a_rule`: nothing else can be meant.
fn unknown(word: &str, site: &Site, a_rule: bool) -> Failure {
    let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
    let rules: Vec<_> = policy.into_iter().flat_map(|policy| policy.rules()).map(|rule| &*rule.name).collect();
    let label = site.label();
    let classes: Vec<_> = label.iter().flat_map(|label| &label.classes).map(|(name, _)| &**name).collect();
    let (what, hint) = match a_rule {
        true => ("no rule", near(word, &[("rule", &rules)]).unwrap_or_else(|| all("rules", &rules))),
        false => {
            let codepoints: Vec<_> = Dscp::all().filter_map(Dscp::name).collect();
            let kinds = [("codepoint", &*codepoints), ("class", &classes), ("rule", &rules)];
            let all = || format!("{}; {}; codepoints: qosbpf dscp", all("classes", &classes), all("rules", &rules));
            ("no codepoint, no class and no rule", near(word, &kinds).unwrap_or_else(all))
        }
    };
    Failure::new("usage", format!("`{word}` is {what} of the policy in force")).exit(Exit::Usage).hint(hint)
}

/// Of each kind the name that is most like the word, or has it as a part.
fn near(word: &str, kinds: &[(&str, &[&str])]) -> Option<String> {
    let lower = word.to_lowercase();
    let found = kinds.iter().filter_map(|(kind, names)| {
        let has_it = || names.iter().copied().find(|name| name.to_lowercase().contains(&lower));
        let name = policy::nearest(word, names.iter().copied()).or_else(has_it)?;
        Some(format!("the {kind} \"{name}\""))
    });
    let found = found.collect::<Vec<_>>();
    (!found.is_empty()).then(|| format!("did you mean {}?", found.join(" or ")))
}

/// The names that there are, or the first of them.
fn all(kind: &str, names: &[&str]) -> String {
    const MOST: usize = 8;
    let shown = names.iter().take(MOST).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => format!("no {kind}"),
        1..=MOST => format!("{kind}: {shown}"),
        _ => format!("{kind}: {shown}, ..."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_is_answered_with_the_nearest_name_of_each_kind() {
        let rules = ["EF only from the PBX", "video, color-marked"];
        let kinds: [(&str, &[&str]); 3] = [("codepoint", &["EF", "AF41"]), ("class", &["voice"]), ("rule", &rules)];
        for (word, hint) in [
            ("EFF", Some("did you mean the codepoint \"EF\"?")),
            ("vioce", Some("did you mean the class \"voice\"?")),
            ("pbx", Some("did you mean the rule \"EF only from the PBX\"?")),
            ("Video, color marked", Some("did you mean the rule \"video, color-marked\"?")),
            ("nonsense", None),
        ] {
            assert_eq!(near(word, &kinds).as_deref(), hint, "{word}");
        }
        let both: [(&str, &[&str]); 2] = [("codepoint", &["AF41"]), ("rule", &["AF42"])];
        assert_eq!(near("AF4", &both).unwrap(), "did you mean the codepoint \"AF41\" or the rule \"AF42\"?");
        assert_eq!(near("AF4", &both[1..]).unwrap(), "did you mean the rule \"AF42\"?");
    }

    #[test]
    fn of_a_thousand_rules_some_are_named() {
        let names: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(all("rules", &[]), "no rules");
        assert_eq!(all("rules", &names[..2]), "rules: \"0\", \"1\"");
        assert!(all("rules", &names).ends_with("\"7\", ..."));
    }
}
