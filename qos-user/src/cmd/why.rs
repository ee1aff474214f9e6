//! `qosbpf why`: why a counter is zero, or a mark is not what was meant.

use std::{collections::BTreeMap, thread, time::SystemTime};

use qos_common::{ds::Dscp, notation::NotationError};

use crate::{
    cli::WhyArgs,
    cmd::{
        Context, conditioner,
        doctor::shell,
        site::{self, Site},
    },
    diagnosis::{
        self, Report,
        why::{About, RuleFacts, Scene},
    },
    error::{Exit, Failure},
    hook::{Direction, HookName},
    kernel::{state::Binding, survey},
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
    site.net.interface(interface)?;
    let about = about(args.what.as_deref(), &site, interface, direction)?;
    let (earlier, sent_before) = (site.snapshot(&[], context)?, sent(&site)?);
    thread::sleep(args.sample);
    let mut later = site.again()?.snapshot(&[], context)?;
    let sent: BTreeMap<u32, u64> = sent(&site)?
        .into_iter()
        .filter_map(|(ifindex, now)| Some((ifindex, now.checked_sub(*sent_before.get(&ifindex)?)?)))
        .collect();
    (later.policy, later.missing) = (earlier.policy.clone(), earlier.missing.clone());
    let ground = survey::ground(&site.net, &site.interfaces, &site.hooks)?;
    let outside = survey::outside();
    let scene = Scene {
        interface,
        direction,
        earlier: &earlier,
        later: &later,
        ground: &ground,
        outside: &outside,
        sent: &sent,
    };
    let answer = diagnosis::why::why(&scene, &about);
    let report = Report {
        time: SystemTime::now(),
        host: site::host(),
        about: Some(args.what.as_ref().map_or_else(|| args.hook.to_string(), |what| format!("{} {what}", args.hook))),
        heading: Some(answer.heading),
        findings: answer.findings,
        further: answer.further,
        shell: shell(context),
    };
    if args.json {
        context.document(&json::document(&json::diagnosis(&report), json::Layout::Pretty)?)?;
    } else {
        context.screen(&table::why(&report, &context.look()))?;
    }
    Ok(diagnosis::exit(&report.findings))
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
        return rule(name, site, interface, direction).map(About::Rule).ok_or_else(|| unknown(name, site).into());
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
    rule(word, site, interface, direction).map(About::Rule).ok_or_else(|| unknown(word, site).into())
}

/// A rule that runs at the hook, else one of the policy in force.
fn rule(name: &str, site: &Site, interface: &str, direction: Direction) -> Option<RuleFacts> {
    let hook = site.hooks.iter().find(|hook| site.name_of(hook) == interface && hook.pins.direction == direction);
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
    hooks.map(|hook| format!("{}:{}", site.name_of(hook), hook.pins.direction)).collect()
}

fn places(rule: &Rule) -> String {
    let place = |place: &crate::rules::model::Place| match place.direction {
        Some(direction) => format!("{}:{direction}", place.pattern),
        None => place.pattern.clone(),
    };
    rule.on.iter().map(place).collect::<Vec<_>>().join(", ")
}

fn unknown(word: &str, site: &Site) -> Failure {
    let rules =
        site.policy.iter().flat_map(|in_force| in_force.policy.rules()).map(|rule| format!("\"{}\"", rule.name));
    let rules: Vec<_> = rules.collect();
    let there = if rules.is_empty() { "the policy in force has no rules".to_owned() } else { rules.join(", ") };
    Failure::new("usage", format!("`{word}` is no codepoint, no class and no rule of the policy in force"))
        .exit(Exit::Usage)
        .hint(format!("rules: {there}"))
}
