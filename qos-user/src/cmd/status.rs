//! `qosbpf status`: every hook that is wanted or there.

mod notes;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    cli::StatusArgs,
    cmd::{
        Context, absent, applied,
        applying::Applying,
        control,
        saved::{self, Saved, is_last_good},
        site::{self, Site},
        unpinned, wanted,
    },
    command::Command,
    error::{Exit, Failure},
    hook::Direction,
    kernel::{
        boottime::BootTime,
        bpffs, counters,
        datapath::{Broken, Hook, Observed},
        jiffies,
        leftover::Leftover,
        mechanism::Running,
        pending::{Identity, Pending},
        state::Binding,
    },
    render::{json, table},
    snapshot::{Missing, State},
    status::{BypassStatus, Confirm, HookStatus, Note, ServiceStatus, StatusReport},
};

/// Prints what is wanted and what is there; 3 if they differ.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn run(args: &StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let report = report(&Site::read(context)?, context);
    if args.json {
        context.document(&json::document(&json::status(&report, &context.invocation()), json::Layout::Pretty)?)?;
    } else {
        context.screen(&table::status(&report, &context.look()))?;
    }
    Ok(report.exit())
}

/// What is wanted and what is there.
fn report(site: &Site, context: &Context) -> StatusReport {
    let mut hooks: BTreeMap<(String, Direction), HookStatus> = BTreeMap::new();
    let (left_over, there): (Vec<_>, Vec<_>) = site.hooks.iter().partition(|hook| absent::is_left_over(site, hook));
    let now = jiffies::now();
    for hook in there {
        let status = status_of(site, hook, now);
        hooks.insert((status.interface.clone(), status.direction), status);
    }
    for broken in &site.broken {
        let status = status_of_broken(site, broken);
        hooks.insert((status.interface.clone(), status.direction), status);
    }
    let service = control::status(context);
    let is_saved = site.policy.as_ref().is_some_and(|in_force| in_force.saved);
    let saved = if is_saved { Saved::Nothing } else { Saved::read(&context.saved()) };
    let useless = saved.fault();
    for missing in service.iter().flat_map(|service| service.lost.clone()) {
        hooks.entry((missing.interface.clone(), missing.direction)).or_insert_with(|| wanted_status(site, missing));
    }
    for missing in wanted::missing_here(site) {
        let missing = hinted(missing, service.as_ref());
        hooks.entry((missing.interface.clone(), missing.direction)).or_insert_with(|| wanted_status(site, missing));
    }
    StatusReport {
        time: SystemTime::now(),
        host: site::host(),
        netns: context.netns.clone(),
        policy: site.label(),
        unapplied: site.policy.is_none() && !matches!(saved, Saved::Nothing),
        falls_back: useless.is_some()
            && site.policy.as_ref().is_some_and(|now| is_last_good(context, now.policy.hash())),
        applied: applied::applied(site),
        taken_back: applied::taken_back(site),
        confirm: confirm(site),
        hooks: hooks.into_values().collect(),
        service,
        notes: spoiled(site)
            .into_iter()
            .chain(unfinished(site))
            .chain(unapplied(site))
            .chain(useless.map(|fault| useless_note(&fault, context)))
            .chain(saved.good().and_then(|saved| wanted::only_saved(site, saved)))
            .chain(left_over.into_iter().map(|hook| gone(site, hook)))
            .chain(unpinned::notes(site, context))
            .collect(),
    }
}

/// The same, with what the service will do about it.
fn hinted(missing: Missing, service: Option<&ServiceStatus>) -> Missing {
    let Some(service) = service else { return missing };
    let reason = match missing.ifindex {
        None => format!("{} (run attaches when it is there)", missing.reason),
        Some(ifindex) if service.released.contains(&(ifindex, missing.direction)) => {
            format!("{} (detached by hand, so run waits for a reload: qosbpf run --reload)", missing.reason)
        }
        Some(_) => missing.reason,
    };
    Missing { reason, ..missing }
}

/// Without a policy in force, that one is saved, as after a reboot.
fn unapplied(site: &Site) -> Option<Note> {
    let policy = wanted::unapplied(site)?;
    let (name, hash) = (policy.name(), policy.hash());
    let apply = Applying::attaching(site, &policy, site.saved_file());
    Some(Note::warning(format!("policy {name} {hash} is saved, and not in force: {apply}")))
}

/// That the next start cannot take the saved policy.
fn useless_note(fault: &str, context: &Context) -> Note {
    let check = Command::new("qosbpf").followed_by(saved::check(&context.saved()));
    Note::warning(format!("{fault}: {check}"))
}

/// Pins that no hook has to itself, and that cannot be read.
fn spoiled(site: &Site) -> Vec<Note> {
    let words = |failure: &Failure| format!("{}; {}", failure.message, failure.hint.as_deref().unwrap_or_default());
    site.spoiled_pins().iter().map(|failure| Note::warning(words(failure))).collect()
}

/// Hooks at which a policy could not be taken back so far.
fn unfinished(site: &Site) -> Option<Note> {
    let Leftover { change, hooks } = Leftover::read(&site.store).ok()??;
    let hooks: Vec<String> = hooks.iter().map(|place| site.name_there(*place)).collect();
    let (Identity { name, hash }, hooks) = (change.to, hooks.join(", "));
    Some(Note::warning(format!("policy {name} {hash} could not be taken back at {hooks}, and that is tried again")))
}

/// The policy that waits to be confirmed. A clock or a pin that cannot be read is no reason to say nothing else.
fn confirm(site: &Site) -> Option<Confirm> {
    let change = Pending::read(&site.store).ok()??;
    let back = change.back.as_ref().and_then(site::parse);
    Some(Confirm {
        left: left(change.until?)?,
        name: change.to.name,
        hash: change.to.hash,
        since: change.since,
        by: change.by,
        save: change.save,
        back: back.map(|back| (back.name().to_owned(), back.hash().to_owned())),
    })
}

fn left(until: BootTime) -> Option<Duration> {
    BootTime::now().ok().map(|now| until.left(now))
}

fn gone(site: &Site, hook: &Hook) -> Note {
    Note::info(format!("{}: {}", site.hook_name(hook), why(site, hook)))
}

fn status_of(site: &Site, hook: &Hook, now: u64) -> HookStatus {
    let state = &hook.state;
    let running = match hook.running {
        Observed::Running(running) => Some(running),
        Observed::Gone | Observed::Unknown => None,
    };
    let counts = counters::read(&hook.pins);
    let table = state.binding.as_ref();
    HookStatus {
        interface: site.name_of(hook),
        ifindex: Some(hook.pins.ifindex),
        direction: hook.pins.direction,
        via: running.or_else(|| unknown(hook)).map(|_| state.via),
        state: site::state_of(hook, counts.is_ok()),
        program_id: running.map(|running| running.program_id),
        link_id: running.and_then(|running| running.link_id),
        inside: state.inside().to_vec(),
        table: table.and_then(Binding::table_name).map(str::to_owned),
        rules: table.map_or(0, |binding| binding.rules.len()),
        policy_hash: table.map(|binding| binding.policy.hash.clone()),
        unmet: notes::is_unmet(site, hook),
        since: Some(state.since),
        last_packet: counts.as_ref().ok().and_then(|counts| jiffies::since(counts.sums.last, now)),
        reason: Some(why(site, hook)),
        bypass: state.bypass.as_ref().map(|bypass| BypassStatus {
            since: bypass.since,
            by: bypass.by.clone(),
            left: bypass.until.and_then(left),
        }),
        datapath_version: Some(state.version.clone()),
        notes: notes::of(site, hook, counts.err()),
    }
}

/// Without the right to ask, what is remembered is taken for what runs.
fn unknown(hook: &Hook) -> Option<Running> {
    (hook.running == Observed::Unknown).then_some(Running { program_id: hook.state.program_id, link_id: None })
}

fn why(site: &Site, hook: &Hook) -> String {
    match hook.running {
        Observed::Gone => absent::why(site, hook),
        Observed::Unknown => {
            let read_only = bpffs::is_read_only(hook.pins.folder());
            let why = if read_only { "the bpf file system is read-only" } else { "that needs root" };
            format!("{} (not verified: {why})", hook.state.reason)
        }
        Observed::Running(_) => hook.state.reason.clone(),
    }
}

fn status_of_broken(site: &Site, broken: &Broken) -> HookStatus {
    let (interface, direction) = (site.name_at(&broken.pins), broken.pins.direction);
    let remedy = Note::warning(broken.open_folder().map_or_else(
        || {
            let detach = Command::new("qosbpf detach").operand(format!("{interface}:{direction}"));
            format!("to remove what is pinned there: {detach}")
        },
        |folder| format!("look who did it; to close it: {}", Command::new("chmod go-w").word(folder.display())),
    ));
    let reason = format!("{:#}", broken.error);
    let ifindex = Some(broken.pins.ifindex);
    let nothing = Missing { interface, ifindex, direction, table: None, reason };
    HookStatus { state: State::Error, table: None, notes: vec![remedy], ..missing_status(nothing) }
}

/// With as many rules as the policy in force has for it.
fn wanted_status(site: &Site, missing: Missing) -> HookStatus {
    let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
    let rules = policy.map_or(0, |policy| policy.rules_for(&missing.interface, missing.direction).len());
    HookStatus { rules, ..missing_status(missing) }
}

fn missing_status(missing: Missing) -> HookStatus {
    HookStatus {
        interface: missing.interface,
        ifindex: missing.ifindex,
        direction: missing.direction,
        via: None,
        state: State::Missing,
        program_id: None,
        link_id: None,
        inside: Vec::new(),
        table: missing.table,
        rules: 0,
        policy_hash: None,
        unmet: false,
        since: None,
        last_packet: None,
        reason: Some(missing.reason),
        bypass: None,
        datapath_version: None,
        notes: Vec::new(),
    }
}
