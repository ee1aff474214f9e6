//! `qosbpf policy apply`: one policy for the whole network namespace, switched at each hook in one system call.

use serde_json::json;

use super::read_policy;
use crate::{
    cli::ApplyArgs,
    cmd::{
        Context,
        attach::{record, recovered},
        site::{self, Site},
    },
    error::{Exit, Failure},
    hook::Direction,
    kernel::{
        choice::{self, Request, Wanted},
        datapath::{self, Hook, Observed},
        document,
        network::Interface,
        pins::{Pin, Store},
        state::{Binding, HookState},
    },
    policy::Policy,
};

/// What the new policy means for one hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Another table, or the first.
    Changed,
    /// The same marks leave.
    Same,
    /// It has a table, and the new policy none for it.
    Lost,
    /// It counts, and goes on counting.
    Counts,
    /// `--only` leaves it as it is.
    LeftOut,
    /// Bound, and nothing attached there.
    NotAttached,
    /// Bound, and attached just now.
    Attached,
}

impl Change {
    const fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Same => "same",
            Self::Lost => "not in the file: counts without a table",
            Self::Counts => "counts, not bound",
            Self::LeftOut => "left as it is",
            Self::NotAttached => "bound, not attached",
            Self::Attached => "attached",
        }
    }
}

/// One hook with what the new policy says of it.
struct Item {
    name: String,
    binding: Option<Binding>,
    change: Change,
    /// Whether the table is out of the path all the same.
    bypassed: bool,
}

/// Applies a policy.
///
/// # Errors
///
/// [`super::WrongPolicy`]; `not-in-file`; what the kernel says: the old policy is in force then, at every hook.
pub fn run(args: &ApplyArgs, context: &Context) -> anyhow::Result<Exit> {
    let (source, policy) = read_policy(&args.file)?;
    let (store, _change) = Store::change(&context.bpffs)?;
    let site = recovered(store)?;
    let mut items = plan(args, &site, &policy);
    refuse_losses(args, &items)?;
    switch_all(&site, &items)?;
    document::write(&site.store.policy(), &record(&source))?;
    let unattached = unattached(args, &site, &policy);
    for (interface, direction, binding) in unattached {
        items.push(attach_bound(args, &site, &interface, direction, binding)?);
    }
    items.extend(absent(args, &site, &policy));
    say(args, &policy, &items, context)?;
    Ok(Exit::Done)
}

fn plan(args: &ApplyArgs, site: &Site, policy: &Policy) -> Vec<Item> {
    let present = |hook: &&Hook| hook.running != Observed::Gone;
    let items = site.hooks.iter().filter(present).map(|hook| {
        let interface = site.name_of(hook);
        let binding = site::binding(policy, &interface, hook.pins.direction);
        let change = if args.only.as_ref().is_some_and(|only| *only != interface) {
            Change::LeftOut
        } else {
            compare(hook.state.binding.as_ref(), binding.as_ref())
        };
        let bypassed = hook.state.bypass.is_some();
        Item { name: format!("{interface}:{}", hook.pins.direction), binding, change, bypassed }
    });
    items.collect()
}

fn compare(now: Option<&Binding>, next: Option<&Binding>) -> Change {
    match (now, next) {
        (Some(now), Some(next)) if now.does_the_same_as(next) => Change::Same,
        (_, Some(_)) => Change::Changed,
        (Some(_), None) => Change::Lost,
        (None, None) => Change::Counts,
    }
}

fn refuse_losses(args: &ApplyArgs, items: &[Item]) -> anyhow::Result<()> {
    let lost = |item: &&Item| item.change == Change::Lost;
    let lost: Vec<_> = items.iter().filter(lost).map(|item| item.name.as_str()).collect();
    if lost.is_empty() || args.prune || args.only.is_some() {
        return Ok(());
    }
    let file = args.file.display();
    Err(Failure::new("not-in-file", format!("{} would lose its table: {file} does not bind it", lost.join(", ")))
        .hint(format!(
            "a policy is the whole statement for this network namespace: bind it, or\n  \
             qosbpf policy apply {file} --prune (it goes on counting), or --only IFACE"
        ))
        .into())
}

/// Prepares every program before the first is switched; one that cannot be switched takes the others back.
fn switch_all(site: &Site, items: &[Item]) -> anyhow::Result<()> {
    let present = site.hooks.iter().filter(|hook| hook.running != Observed::Gone);
    let mut prepared = Vec::new();
    for (hook, item) in present.zip(items) {
        let next = HookState { binding: item.binding.clone(), ..hook.state.clone() };
        match item.change {
            Change::Changed | Change::Lost => prepared.push((hook, datapath::prepare(hook, next)?)),
            // The marks are the same, the policy's name and hash perhaps not.
            Change::Same => document::write(&hook.pins.path(Pin::State), &next)?,
            _ => {}
        }
    }
    let mut switched = Vec::new();
    for (hook, program) in prepared {
        if let Err(error) = datapath::switch(program, &site.name_of(hook)) {
            take_back(site, &switched);
            return Err(error.context(format!("{}:{}", site.name_of(hook), hook.pins.direction)));
        }
        switched.push(hook);
    }
    Ok(())
}

fn take_back(site: &Site, switched: &[&Hook]) {
    for hook in switched {
        let name = site.name_of(hook);
        let undone = datapath::prepare(hook, hook.state.clone()).and_then(|old| datapath::switch(old, &name));
        if let Err(error) = undone {
            tracing::error!(hook = %format!("{name}:{}", hook.pins.direction), "cannot go back: {error:#}");
        }
    }
}

/// What the policy binds on interfaces that exist, and where nothing is attached.
fn unattached(args: &ApplyArgs, site: &Site, policy: &Policy) -> Vec<(Interface, Direction, Binding)> {
    let attached = |ifindex, direction| {
        let there = |hook: &Hook| (hook.pins.ifindex, hook.pins.direction) == (ifindex, direction);
        site.hooks.iter().any(|hook| there(hook) && hook.running != Observed::Gone)
    };
    let meant = |interface: &&Interface| args.only.as_ref().is_none_or(|only| *only == interface.name);
    let all = site.interfaces.iter().filter(meant).flat_map(|interface| {
        Direction::BOTH.into_iter().filter_map(|direction| {
            let binding = site::binding(policy, &interface.name, direction)?;
            (!attached(interface.ifindex, direction)).then(|| (interface.clone(), direction, binding))
        })
    });
    all.collect()
}

fn attach_bound(
    args: &ApplyArgs,
    site: &Site,
    interface: &Interface,
    direction: Direction,
    binding: Binding,
) -> anyhow::Result<Item> {
    let mut change = Change::NotAttached;
    if args.attach {
        let pins = site.store.hook(interface.ifindex, direction);
        let request = Request { interface, pins, wanted: Wanted::Best, binding: Some(binding.clone()), log: false };
        choice::attach(&request, &site.net)?;
        change = Change::Attached;
    }
    let name = format!("{}:{direction}", interface.name);
    Ok(Item { name, binding: Some(binding), change, bypassed: false })
}

/// What the policy binds by exact name, and no interface has that name.
fn absent(args: &ApplyArgs, site: &Site, policy: &Policy) -> Vec<Item> {
    let exists = |name: &str| site.interfaces.iter().any(|interface| interface.name == name);
    let absent = policy.bindings().filter(|binding| !binding.is_glob() && !exists(binding.pattern));
    let absent = absent.filter(|binding| args.only.as_ref().is_none_or(|only| only == binding.pattern));
    let items = absent.map(|binding| Item {
        name: format!("{}:{}", binding.pattern, binding.direction),
        binding: None,
        change: Change::NotAttached,
        bypassed: false,
    });
    items.collect()
}

fn say(args: &ApplyArgs, policy: &Policy, items: &[Item], context: &Context) -> anyhow::Result<()> {
    if args.json {
        let hooks: Vec<_> = items.iter().map(document_of).collect();
        let policy = json!({ "name": policy.name(), "hash": policy.hash() });
        return context.print(&format!("{}\n", json!({ "schema": 1, "policy": policy, "hooks": hooks })));
    }
    if !policy.warnings().is_empty() {
        context.warn(&policy.warnings().render(context.color_on_stderr));
    }
    context.print(&format!("policy {} {} is in force\n", policy.name(), policy.hash()))?;
    for item in items {
        context.print(&line(item))?;
    }
    Ok(())
}

fn line(item: &Item) -> String {
    let Item { name, change, bypassed, .. } = item;
    let warning = if *bypassed || *change == Change::NotAttached { "! " } else { "  " };
    let table = item.binding.as_ref().map_or("-", |binding| binding.table.as_str());
    let bypass = if *bypassed { format!("; BYPASSED: qosbpf policy resume {name}") } else { String::new() };
    format!("{warning}{name:<24} table {table:<16} {}{bypass}\n", change.word())
}

fn document_of(item: &Item) -> serde_json::Value {
    json!({
        "hook": item.name,
        "table": item.binding.as_ref().map(|binding| &binding.table),
        "result": item.change.word(),
        "bypassed": item.bypassed,
    })
}
