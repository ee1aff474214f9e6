//! `qosbpf attach`: counts at an interface, and enforces the policy in force there.

use std::time::SystemTime;

use serde_json::json;

use crate::{
    cli::{AttachArgs, HookChoice},
    cmd::{
        Context, foreground,
        policy::read_policy,
        site::{self, Site},
        who,
    },
    error::{Exit, Failure},
    hook::{Direction, Via},
    kernel::{
        choice::{self, Request, Wanted},
        datapath::{self, Hook, Observed},
        document,
        network::Interface,
        pins::Store,
        state::PolicyRecord,
    },
    policy::{Policy, Source},
};

/// What became of one hook.
enum Done {
    Attached(Hook),
    AlreadyThere(Hook),
    Upgraded(Hook),
}

/// Attaches, says what it did, and ends.
///
/// # Errors
///
/// `no-such-interface`, `attach`, `other-policy`, and what the kernel says.
pub fn run(args: &AttachArgs, context: &Context) -> anyhow::Result<Exit> {
    let given = args.policy.as_deref().map(read_policy).transpose()?;
    let interface = context.network()?.interface(&args.interface)?;
    let (store, change) = Store::change(&context.bpffs)?;
    let site = recovered(store)?;
    if args.foreground {
        refuse_to_borrow(args, &site, &interface)?;
    }
    let adopted = match &given {
        Some((source, policy)) => adopt(&site, source, policy)?,
        None => false,
    };
    let in_force = given.as_ref().map(|(_, policy)| policy).or(site.policy.as_ref().map(|found| &found.policy));
    let mut done = Vec::new();
    for direction in directions(args) {
        match attach_one(args, &site, &interface, direction, in_force) {
            Ok(hook) => done.push(hook),
            Err(error) => {
                take_back(&site, &interface, &done, adopted);
                return Err(error);
            }
        }
    }
    drop(change);
    report(args, context, &interface, &done)?;
    if args.foreground {
        let hooks: Vec<_> = done.iter().map(Done::hook).cloned().collect();
        foreground::stay(&hooks, &interface.name, args.log_decisions, context)?;
    }
    Ok(Exit::Done)
}

/// The network namespace, after what killed processes left half done has been finished or undone.
pub fn recovered(store: Store) -> anyhow::Result<Site> {
    let net = crate::kernel::network::Network::open()?;
    for pins in store.hooks()? {
        datapath::recover(pins, &net)?;
    }
    Site::of(store)
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
        .hint(format!("qosbpf detach {name} first, losing its counters; or name the other direction"))
        .into())
}

/// XDP has no egress: who asks for it without naming a direction gets TC there.
fn directions(args: &AttachArgs) -> Vec<Direction> {
    match (args.ingress, args.egress) {
        (true, false) => vec![Direction::Ingress],
        (false, true) => vec![Direction::Egress],
        _ => Direction::BOTH.to_vec(),
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
    let implied = direction == Direction::Egress && !args.egress;
    if by_name.is_xdp() && implied { Wanted::Best } else { Wanted::Exactly(by_name) }
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
        return keep(hook, wanted, &interface.name);
    }
    let binding = policy.and_then(|policy| site::binding(policy, &interface.name, direction));
    let request = Request { interface, pins, wanted, binding, log: args.log_decisions };
    choice::attach(&request, &site.net).map(Done::Attached)
}

/// What could be done only in part is undone: the other direction, and the policy.
fn take_back(site: &Site, interface: &Interface, done: &[Done], adopted: bool) {
    for done in done {
        if let Done::Attached(hook) = done
            && let Err(error) = datapath::detach(hook, Some(&interface.name), &site.net)
        {
            tracing::error!(hook = %format!("{}:{}", interface.name, hook.pins.direction), "cannot go back: {error:#}");
        }
    }
    if adopted {
        let _removed = std::fs::remove_file(site.store.policy());
    }
}

/// A second attach changes nothing, unless the program there is of another version of qosbpf.
fn keep(hook: &Hook, wanted: Wanted, interface: &str) -> anyhow::Result<Done> {
    let via = hook.state.via;
    if let Wanted::Exactly(other) = wanted
        && other != via
    {
        let direction = hook.pins.direction;
        return Err(Failure::new("attached", format!("{interface}:{direction} is attached by {via}, not by {other}"))
            .hint(format!("to move it, losing its counters: qosbpf detach {interface}:{direction}, then attach"))
            .into());
    }
    let version = env!("CARGO_PKG_VERSION");
    if hook.state.version == version {
        return Ok(Done::AlreadyThere(hook.clone()));
    }
    let next = crate::kernel::state::HookState { version: version.to_owned(), ..hook.state.clone() };
    datapath::switch(datapath::prepare(hook, next)?, interface)?;
    Ok(Done::Upgraded(hook.clone()))
}

/// Puts the policy of `--policy` in force, if that changes no hook that is there; whether it was not yet in force.
fn adopt(site: &Site, source: &Source, policy: &Policy) -> anyhow::Result<bool> {
    let running = site.policy.as_ref().map(|found| &found.policy);
    if running.is_some_and(|running| running.hash() == policy.hash()) {
        return Ok(false);
    }
    let touched = site.hooks.iter().find(|hook| policy.bind(&site.name_of(hook), hook.pins.direction).is_some());
    if let Some(running) = running {
        return Err(other_policy(source, &format!("policy {} {} is in force", running.name(), running.hash())));
    }
    if let Some(hook) = touched {
        let hook = format!("{}:{}", site.name_of(hook), hook.pins.direction);
        return Err(other_policy(source, &format!("{hook} is attached already, without it")));
    }
    document::write(&site.store.policy(), &record(source))?;
    Ok(true)
}

fn other_policy(source: &Source, why: &str) -> anyhow::Error {
    Failure::new("other-policy", format!("attach does not change a policy, and {why}"))
        .hint(format!("qosbpf policy apply {} --attach", source.file()))
        .into()
}

/// What is remembered of a policy when it is put in force.
pub fn record(source: &Source) -> PolicyRecord {
    let text = source.text().to_owned();
    PolicyRecord { file: source.file().to_owned(), text, applied: SystemTime::now(), by: who::am_i() }
}

impl Done {
    const fn hook(&self) -> &Hook {
        match self {
            Self::Attached(hook) | Self::AlreadyThere(hook) | Self::Upgraded(hook) => hook,
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Attached(_) => "attached",
            Self::AlreadyThere(_) => "already attached",
            Self::Upgraded(_) => "upgraded",
        }
    }
}

fn report(args: &AttachArgs, context: &Context, interface: &Interface, done: &[Done]) -> anyhow::Result<()> {
    if args.json {
        let hooks: Vec<_> = done.iter().map(|done| document_of(done, interface)).collect();
        return context.print(&format!("{}\n", json!({ "schema": 1, "hooks": hooks })));
    }
    for done in done {
        let hook = done.hook();
        let table = hook.state.binding.as_ref().map_or_else(
            || "counting, no policy is bound to it".to_owned(),
            |binding| format!("table {}", binding.table),
        );
        let line =
            format!("{}:{}  {}: {}; {table}\n", interface.name, hook.pins.direction, done.word(), hook.state.reason);
        context.print(&line)?;
    }
    Ok(())
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
        "table": state.binding.as_ref().map(|binding| &binding.table),
    })
}
