//! `qosbpf attach`: counts at an interface, and enforces the policy in force there.

use std::{collections::HashSet, path::Path};

use qos_common::locate::Link;
use serde_json::json;

use crate::{
    cli::{ApplyOptions, AttachArgs, HookChoice},
    cmd::{
        Context,
        applying::Applying,
        attaching::{Asked, attach_again, attach_anew, begins_anew},
        conditioner,
        control::{self, Ask},
        foreground,
        kept::{Kept, keep, left_behind},
        misplaced,
        policy::{read_policy, record, room, session::Session, testing},
        recovery::recovered,
        site::{self, Site},
        twice, who,
    },
    command::Command,
    error::{Exit, Failure},
    hook::{Direction, Layer, Via},
    kernel::{
        choice::Wanted,
        datapath::{self, Hook, Observed},
        network::Interface,
        past,
        pins::Store,
        state::Binding,
    },
    policy::{Policy, Source},
    render::hanging,
};

/// What became of one hook.
enum Done {
    Attached(Hook),
    Anew(Hook, String),
    PutBack(Hook),
    There(Hook, Kept),
}

/// Attaches, says what it did, and ends.
///
/// # Errors
///
/// `no-such-interface`, `attach`, `other-policy`, `test-failed`, `session-dropped`, and what the kernel says.
pub fn run(args: &AttachArgs, context: &Context) -> anyhow::Result<Exit> {
    let given = args.policy.as_deref().map(read_policy).transpose()?;
    // A name that was never there is refused before anything is made; the device counts that has it under the lock.
    refuse_to_contradict(args, &context.network()?.interface(&args.place.interface)?)?;
    let (site, interface, done) = context.afterwards(|context| attach(args, given.as_ref(), context))?;
    let hooks: Vec<&Hook> = done.iter().map(Done::hook).collect();
    let mut warnings: Vec<_> = done.iter().filter_map(|done| done.warning(&site)).collect();
    warnings.extend(twice::warnings(&site, &hooks)?);
    let bound = hooks.iter().filter_map(|hook| Some((hook.pins.ifindex, hook.state.binding.as_ref()?)));
    warnings.extend(misplaced::warnings(&site, bound)?);
    report(args, context, &interface, &done, &warnings)?;
    if args.foreground {
        let hooks: Vec<_> = done.iter().map(Done::hook).cloned().collect();
        foreground::stay(&hooks, &interface.name, args.log_decisions, context)?;
    }
    Ok(Exit::Done)
}

/// Attaches, under the lock: what was there then, and what became of each hook.
fn attach(
    args: &AttachArgs,
    given: Option<&(Source, Policy)>,
    context: &Context,
) -> anyhow::Result<(Site, Interface, Vec<Done>)> {
    let (store, _change) = Store::change(&context.bpffs)?;
    let mut site = recovered(store, context)?;
    site.collect_dead(&HashSet::new())?;
    let interface = site.net.interface(&args.place.interface)?;
    if args.foreground {
        refuse_to_borrow(args, &site, &interface)?;
    }
    let adopted = match given {
        Some((source, policy)) => adopt(args, &site, source, policy, context)?,
        None => false,
    };
    let in_force = given.map(|(_, policy)| policy).or(site.policy.as_ref().map(|found| &found.policy));
    let mut done = Vec::new();
    for direction in directions(args) {
        match attach_one(args, &site, &interface, direction, in_force) {
            Ok(hook) => done.push(hook),
            Err(error) => {
                take_back(&site, &interface, &done, adopted, context);
                return Err(with_what_stays(error, &interface, &done));
            }
        }
    }
    if let Some((source, policy)) = given {
        remember(&site, source, policy)?;
    }
    control::tell_attached(done.iter().map(Done::hook), context);
    Ok((site, interface, done))
}

/// A direction by name and the other one as an option; sessions to look into where none are.
fn refuse_to_contradict(args: &AttachArgs, interface: &Interface) -> anyhow::Result<()> {
    let (place, name) = (&args.place, &interface.name);
    let is_other = |direction: &Direction| place.direction.is_some_and(|named| named != *direction);
    let usage = |message: String| Failure::new("usage", message).exit(Exit::Usage);
    if let Some(other) = Direction::BOTH.into_iter().find(|other| is_other(other) && by_option(args, *other)) {
        let both = Command::new("qosbpf attach").operand(name);
        let message = format!("{place} names one direction, and --{other} the other one");
        return Err(usage(message).hint(format!("for both: {both}")).into());
    }
    if args.inside.contains(&Layer::Pppoe) && matches!(interface.link, Ok(Link::Layer3)) {
        let message =
            format!("{name} is a layer-3 device, and PPPoE is at the Ethernet below: --inside pppoe finds nothing");
        return Err(usage(message).into());
    }
    Ok(())
}

/// A hook that somebody else attached is not there to be detached at the end.
fn refuse_to_borrow(args: &AttachArgs, site: &Site, interface: &Interface) -> anyhow::Result<()> {
    let wanted = directions(args);
    let there = |hook: &&Hook| {
        hook.running != Observed::Gone
            && hook.pins.ifindex == interface.ifindex
            && wanted.contains(&hook.pins.direction)
    };
    let Some(hook) = site.hooks.iter().find(there) else { return Ok(()) };
    let name = format!("{}:{}", interface.name, hook.pins.direction);
    Err(Failure::new("attached", format!("{name} is attached already, and --foreground detaches at the end"))
        .hint(format!("{} first, losing its counters; or name the other direction", detach(&name)))
        .into())
}

/// Those that are named in either way; if none is, both.
fn directions(args: &AttachArgs) -> Vec<Direction> {
    let named: Vec<_> = Direction::BOTH.into_iter().filter(|direction| names(args, *direction)).collect();
    if named.is_empty() { Direction::BOTH.to_vec() } else { named }
}

fn names(args: &AttachArgs, direction: Direction) -> bool {
    by_option(args, direction) || args.place.direction == Some(direction)
}

const fn by_option(args: &AttachArgs, direction: Direction) -> bool {
    match direction {
        Direction::Ingress => args.ingress,
        Direction::Egress => args.egress,
    }
}

fn wanted(args: &AttachArgs, direction: Direction) -> Wanted {
    let by_name = match args.hook {
        HookChoice::Auto => return Wanted::Best,
        HookChoice::Xdp => Via::XdpNative,
        HookChoice::XdpGeneric => Via::XdpGeneric,
        HookChoice::Tcx => Via::Tcx,
        HookChoice::Clsact => Via::Clsact,
    };
    // XDP has no egress: who asks for it without naming a direction gets TC there.
    let implied = direction == Direction::Egress && !names(args, direction);
    if by_name.is_xdp() && implied { Wanted::Best } else { Wanted::Exactly(by_name) }
}

/// What was asked for, if anything.
fn inside(args: &AttachArgs) -> Option<Vec<Layer>> {
    (!args.inside.is_empty()).then(|| Layer::sorted(args.inside.clone()))
}

fn attach_one(
    args: &AttachArgs,
    site: &Site,
    interface: &Interface,
    direction: Direction,
    policy: Option<&Policy>,
) -> anyhow::Result<Done> {
    let pins = site.store.hook(interface.ifindex, direction);
    let wanted = wanted(args, direction);
    if let Some(hook) = site.hooks.iter().find(|hook| hook.pins == pins && hook.running != Observed::Gone) {
        let asked = Asked { wanted, inside: inside(args), ..Asked::nothing() };
        let (hook, kept) = keep(hook, asked, interface, policy, site)?;
        return Ok(Done::There(hook, kept));
    }
    let asked = Asked { wanted, inside: inside(args), log: args.log_decisions, ..Asked::nothing() };
    if let Some(lost) = site.hooks.iter().find(|hook| hook.pins == pins) {
        let attached = attach_again(site, lost, interface, policy, asked)?;
        return Ok(match begins_anew(lost, interface) {
            Some(why) => Done::Anew(attached, why),
            None => Done::PutBack(attached),
        });
    }
    attach_anew(site, interface, direction, policy, asked).map(Done::Attached)
}

/// What was put back with its counters is not taken away again.
fn with_what_stays(error: anyhow::Error, interface: &Interface, done: &[Done]) -> anyhow::Error {
    let stays = done.iter().find(|done| matches!(done, Done::PutBack(_)));
    match stays.map(|done| done.hook().pins.direction) {
        Some(direction) => error.context(format!("{}:{direction} was put back, and stays", interface.name)),
        None => error,
    }
}

/// What could be done only in part is undone: the other direction, and the policy.
fn take_back(site: &Site, interface: &Interface, done: &[Done], adopted: bool, context: &Context) {
    for done in done {
        let (Done::Attached(hook) | Done::Anew(hook, _)) = done else { continue };
        // What a policy binds that stays in force is the service's to attach.
        if adopted || hook.state.binding.is_none() {
            let _no_service = control::ask(Ask::Release(hook.pins.ifindex, hook.pins.direction), context);
        }
        if let Err(error) = datapath::detach(hook, Some(&interface.name), &site.net) {
            tracing::error!(hook = %format!("{}:{}", interface.name, hook.pins.direction), "cannot go back: {error:#}");
        }
    }
    if adopted {
        let _removed = std::fs::remove_file(site.store.policy());
    }
}

/// Puts the policy of `--policy` in force, if that changes no hook that is there; whether it was not yet in force.
fn adopt(args: &AttachArgs, site: &Site, source: &Source, policy: &Policy, context: &Context) -> anyhow::Result<bool> {
    let running = site.policy.as_ref().map(|found| &found.policy);
    if running.is_some_and(|running| running.hash() == policy.hash()) {
        return Ok(false);
    }
    let other_policy = |why: &str| other_policy(site, source, policy, why);
    let binds = |hook: &&Hook| conditioner::binding(policy, &site.name_of(hook), hook.pins.direction).is_some();
    let touched = site.hooks.iter().find(binds);
    if let Some(running) = running {
        return Err(other_policy(&format!("policy {} {} is in force", running.name(), running.hash())));
    }
    if let Some(hook) = touched {
        let hook = site.hook_name(hook);
        return Err(other_policy(&format!("{hook} is attached already, without it")));
    }
    room::refuse_too_large(source, policy)?;
    testing::refuse_failing(site, policy, false)?;
    let how = ApplyOptions { attach: true, only: Some(args.place.interface.clone()), ..ApplyOptions::default() };
    Session::find(site, policy, &how)?.iter().try_for_each(|session| session.refuse_drop(false, context))?;
    site.remember(&record(source))?;
    Ok(true)
}

/// The policy of `--policy` is in force: adds it to the history, unless it is there. An attach that had put it in force may
/// have been killed before it came to that.
fn remember(site: &Site, source: &Source, policy: &Policy) -> anyhow::Result<()> {
    match &site.policy {
        Some(found) => past::add(&site.store, site::identity(&found.policy), &found.record.by, &found.record),
        None => past::add(&site.store, site::identity(policy), &who::am_i(), &record(source)),
    }
}

fn detach(hook: &str) -> Command {
    Command::new("qosbpf detach").operand(hook)
}

fn other_policy(site: &Site, source: &Source, policy: &Policy, why: &str) -> anyhow::Error {
    Failure::new("other-policy", format!("attach does not change a policy, and {why}"))
        .hint(Applying::attaching(site, policy, Path::new(source.file())).to_string())
        .into()
}

impl Done {
    const fn hook(&self) -> &Hook {
        match self {
            Self::Attached(hook) | Self::Anew(hook, _) | Self::PutBack(hook) | Self::There(hook, _) => hook,
        }
    }

    fn warning(&self, site: &Site) -> Option<String> {
        match self {
            Self::Anew(_, why) => Some(why.clone()),
            Self::There(hook, _) => left_behind(site, hook),
            _ => None,
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Attached(_) | Self::Anew(..) | Self::PutBack(_) => "attached",
            Self::There(_, kept) => kept.word(),
        }
    }
}

fn report(
    args: &AttachArgs,
    context: &Context,
    interface: &Interface,
    done: &[Done],
    warnings: &[String],
) -> anyhow::Result<()> {
    let warnings: Vec<_> = warnings.iter().map(|warning| context.invocation().completed(warning)).collect();
    if args.json {
        let hooks: Vec<_> = done.iter().map(|done| document_of(done, interface)).collect();
        return context.document(&format!("{}\n", json!({ "schema": 1, "hooks": hooks, "warnings": warnings })));
    }
    warnings.iter().for_each(|warning| context.warn(&hanging("! ", warning)));
    for done in done {
        let hook = done.hook();
        let table = hook.state.words();
        let by_flag = hook.state.binding.as_ref().is_none_or(|binding| binding.inside.is_none());
        let inside = hook.state.inside.as_deref().filter(|_| by_flag);
        let inside = inside.map(|layers| format!(", inside {}", Layer::words(layers))).unwrap_or_default();
        let (word, reason) = (done.word(), &hook.state.reason);
        let table = if matches!(done, Done::PutBack(_)) { format!("{table}; its counters go on") } else { table };
        let name = format!("{}:{}", interface.name, hook.pins.direction);
        let bypassed = hook.state.bypass.as_ref().map(|_| bypassed(&name, context)).unwrap_or_default();
        context.print(&hanging(&format!("{name}  "), &format!("{word}: {reason}; {table}{inside}{bypassed}")))?;
    }
    Ok(())
}

/// That the policy is out of the path, and what ends that.
fn bypassed(name: &str, context: &Context) -> String {
    let resume = Command::new("policy resume").operand(name).to_string();
    format!("; BYPASSED: {}", context.invocation().command(&resume))
}

fn document_of(done: &Done, interface: &Interface) -> serde_json::Value {
    let state = &done.hook().state;
    json!({
        "interface": interface.name,
        "ifindex": interface.ifindex,
        "direction": done.hook().pins.direction,
        "hook": state.via,
        "result": done.word(),
        "reason": state.reason,
        "inside": state.inside(),
        "bypassed": state.bypass.is_some(),
        "table": state.binding.as_ref().and_then(Binding::table_name),
        "outer": state.binding.as_ref().and_then(Binding::outer_name),
        "rules": state.binding.as_ref().map_or(0, |binding| binding.rules.len()),
    })
}
