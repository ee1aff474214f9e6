//! `qosbpf status`: every hook that is wanted or there.

use std::{collections::BTreeMap, time::SystemTime};

use crate::{
    cli::StatusArgs,
    cmd::{
        Context,
        site::{self, Site},
    },
    error::Exit,
    hook::Direction,
    kernel::{
        counters,
        datapath::{Hook, Observed},
        jiffies,
    },
    render::{json, table},
    snapshot::State,
    status::{HookStatus, Note, StatusReport},
};

/// Prints what is wanted and what is there; 3 if they differ.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn run(args: &StatusArgs, context: &Context) -> anyhow::Result<Exit> {
    let report = report(&Site::read(context)?, context);
    let text = if args.json {
        json::document(&json::status(&report), json::Layout::Pretty)?
    } else {
        table::status(&report, &context.look())
    };
    context.print(&text)?;
    Ok(report.exit())
}

/// What is wanted and what is there.
fn report(site: &Site, context: &Context) -> StatusReport {
    let mut hooks: BTreeMap<(String, Direction), HookStatus> = BTreeMap::new();
    for hook in &site.hooks {
        let status = status_of(site, hook);
        hooks.insert((status.interface.clone(), status.direction), status);
    }
    for wanted in wanted(site) {
        hooks.entry((wanted.interface.clone(), wanted.direction)).or_insert(wanted);
    }
    StatusReport {
        time: SystemTime::now(),
        host: site::host(),
        netns: context.netns.clone(),
        policy: site.label(),
        hooks: hooks.into_values().collect(),
        notes: site.policy.iter().map(applied).collect(),
    }
}

fn applied(in_force: &site::InForce) -> Note {
    let when = humantime::format_rfc3339_seconds(in_force.record.applied);
    Note::info(format!("policy from {}, applied {when} by {}", in_force.record.file, in_force.record.by))
}

fn status_of(site: &Site, hook: &Hook) -> HookStatus {
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
        state: if counts.is_err() { State::Error } else { site::state_of(hook) },
        program_id: running.map(|running| running.program_id),
        link_id: running.and_then(|running| running.link_id),
        table: table.map(|binding| binding.table.clone()),
        policy_hash: table.map(|binding| binding.policy.clone()),
        since: Some(state.since),
        last_packet: counts.as_ref().ok().and_then(|counts| jiffies::since(counts.sums.last)),
        reason: Some(why(site, hook)),
        datapath_version: Some(state.version.clone()),
        notes: notes(site, hook, counts.err()),
    }
}

/// Without the right to ask, what is remembered is taken for what runs.
fn unknown(hook: &Hook) -> Option<crate::kernel::mechanism::Running> {
    (hook.running == Observed::Unknown)
        .then_some(crate::kernel::mechanism::Running { program_id: hook.state.program_id, link_id: None })
}

fn why(site: &Site, hook: &Hook) -> String {
    match (hook.running, site.interface_of(hook)) {
        (Observed::Gone, None) => {
            format!("the interface is gone: qosbpf detach {} removes what is left", site.name_of(hook))
        }
        (Observed::Gone, Some(interface)) => {
            format!("the program was removed by someone else: qosbpf attach {}", interface.name)
        }
        (Observed::Unknown, _) => format!("{} (not verified: that needs root)", hook.state.reason),
        (Observed::Running(_), _) => hook.state.reason.clone(),
    }
}

fn notes(site: &Site, hook: &Hook, unreadable: Option<anyhow::Error>) -> Vec<Note> {
    let mut notes = Vec::new();
    if let Some(bypass) = &hook.state.bypass {
        let since = humantime::format_rfc3339_seconds(bypass.since);
        let resume = format!("qosbpf policy resume {}:{}", site.name_of(hook), hook.pins.direction);
        notes.push(Note::warning(format!("BYPASS by {} since {since}: {resume}", bypass.by)));
    }
    if let Some(error) = unreadable {
        notes.push(Note::warning(format!("counters: {error:#}")));
    }
    let running = site.policy.as_ref().map(|in_force| in_force.policy.hash());
    if let Some(binding) = &hook.state.binding
        && running != Some(binding.policy.as_str())
    {
        notes.push(Note::warning(format!("runs policy {}, not the one in force: apply it again", binding.policy)));
    }
    if hook.state.version != crate::VERSION {
        notes.push(Note::warning(format!(
            "runs the program of qosbpf {}, this is {}: qosbpf attach {}",
            hook.state.version,
            crate::VERSION,
            site.name_of(hook)
        )));
    }
    notes
}

/// What the policy in force binds: interfaces that exist, and names that should.
fn wanted(site: &Site) -> Vec<HookStatus> {
    let Some(in_force) = &site.policy else { return Vec::new() };
    let policy = &in_force.policy;
    let mut wanted = Vec::new();
    for interface in &site.interfaces {
        for direction in Direction::BOTH {
            if let Some(bound) = policy.bind(&interface.name, direction) {
                let reason = format!("bound by {}, not attached: qosbpf attach {}", bound.pattern, interface.name);
                wanted.push(missing(&interface.name, Some(interface.ifindex), direction, bound.table.name(), reason));
            }
        }
    }
    for binding in policy.bindings().filter(|binding| !binding.is_glob()) {
        if !site.interfaces.iter().any(|interface| interface.name == binding.pattern) {
            let reason = "bound by the policy, and there is no such interface".to_owned();
            wanted.push(missing(binding.pattern, None, binding.direction, binding.table, reason));
        }
    }
    wanted
}

fn missing(interface: &str, ifindex: Option<u32>, direction: Direction, table: &str, reason: String) -> HookStatus {
    HookStatus {
        interface: interface.to_owned(),
        ifindex,
        direction,
        via: None,
        state: State::Missing,
        program_id: None,
        link_id: None,
        table: Some(table.to_owned()),
        policy_hash: None,
        since: None,
        last_packet: None,
        reason: Some(reason),
        datapath_version: None,
        notes: Vec::new(),
    }
}
