//! `status --json`.

use std::time::SystemTime;

use serde::Serialize;

use super::{Policy, SCHEMA};
use crate::{
    VERSION,
    hook::{Direction, Layer, Via},
    invocation::Invocation,
    render::text::rfc3339,
    snapshot::State,
    status::{
        Applied, BypassStatus, Confirm, HookStatus, Note, ServiceStatus, StatusReport, UndonePolicy, about_the_policy,
    },
};

/// The document of `status --json`.
#[must_use]
pub fn status<'a>(report: &'a StatusReport, here: &'a Invocation) -> impl Serialize + 'a {
    Document {
        schema: SCHEMA,
        time: rfc3339(report.time),
        host: &report.host,
        netns: report.netns.as_deref(),
        version: VERSION,
        policy: report.policy.as_ref().map(Policy::from),
        applied: report.applied.as_ref().map(AppliedDocument::from),
        taken_back: report.taken_back.as_ref().map(TakenBackDocument::from),
        confirm: report.confirm.as_ref().map(|confirm| ConfirmDocument::new(confirm, report.time)),
        run: report.service.as_ref().map(|service| ServiceDocument::new(service, here)),
        hooks: report.hooks.iter().map(|hook| HookDocument::new(hook, here)).collect(),
        notes: notes(&[&about_the_policy(report, seconds), &*report.notes].concat(), here),
    }
}

fn seconds(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    time: String,
    host: &'a str,
    netns: Option<&'a str>,
    version: &'static str,
    policy: Option<Policy<'a>>,
    applied: Option<AppliedDocument<'a>>,
    taken_back: Option<TakenBackDocument<'a>>,
    confirm: Option<ConfirmDocument<'a>>,
    /// The service; null where none runs.
    run: Option<ServiceDocument<'a>>,
    hooks: Vec<HookDocument<'a>>,
    notes: Vec<String>,
}

/// Since when the policy is in force, as `policy history` has it.
#[derive(Serialize)]
struct AppliedDocument<'a> {
    time: String,
    by: &'a str,
    file: &'a str,
}

impl<'a> From<&'a Applied> for AppliedDocument<'a> {
    fn from(applied: &'a Applied) -> Self {
        Self { time: rfc3339(applied.when), by: &applied.by, file: &applied.file }
    }
}

/// A policy that was taken back, as the latest that has happened.
#[derive(Serialize)]
struct TakenBackDocument<'a> {
    name: &'a str,
    hash: &'a str,
    applied: String,
    time: Option<String>,
    /// `late`, `cut-short`, `failed` or `by`.
    why: Option<&'static str>,
    /// Who took it back.
    by: Option<&'a str>,
}

impl<'a> From<&'a UndonePolicy> for TakenBackDocument<'a> {
    fn from(taken: &'a UndonePolicy) -> Self {
        let undone = taken.undone.as_ref();
        Self {
            name: &taken.name,
            hash: &taken.hash,
            applied: rfc3339(taken.applied),
            time: undone.map(|undone| rfc3339(undone.at)),
            why: undone.map(|undone| undone.why.word()),
            by: undone.and_then(|undone| undone.why.by()),
        }
    }
}

/// The service.
#[derive(Serialize)]
struct ServiceDocument<'a> {
    pid: u32,
    since: String,
    version: &'a str,
    metrics: Vec<String>,
    events_today: u64,
    last_reload: String,
    last_reload_successful: bool,
    last_success: Option<String>,
    failure: Option<String>,
}

impl<'a> ServiceDocument<'a> {
    fn new(service: &'a ServiceStatus, here: &Invocation) -> Self {
        let failure = service.reload.failure.as_deref().or(service.settings_failure.as_deref());
        Self {
            pid: service.pid,
            since: rfc3339(service.since),
            version: &service.version,
            metrics: service.metrics.iter().map(ToString::to_string).collect(),
            events_today: service.events_today,
            last_reload: rfc3339(service.reload.at),
            last_reload_successful: failure.is_none(),
            last_success: service.success.map(rfc3339),
            failure: failure.map(|failure| here.completed(failure)),
        }
    }
}

/// A policy that waits to be confirmed.
#[derive(Serialize)]
struct ConfirmDocument<'a> {
    name: &'a str,
    hash: &'a str,
    by: &'a str,
    since: String,
    deadline: String,
    seconds_left: f64,
    save: bool,
    back: Option<Back<'a>>,
}

/// What comes back if nobody confirms.
#[derive(Serialize)]
struct Back<'a> {
    name: &'a str,
    hash: &'a str,
}

impl<'a> ConfirmDocument<'a> {
    fn new(confirm: &'a Confirm, now: SystemTime) -> Self {
        Self {
            name: &confirm.name,
            hash: &confirm.hash,
            by: &confirm.by,
            since: rfc3339(confirm.since),
            deadline: rfc3339(now + confirm.left),
            seconds_left: confirm.left.as_secs_f64(),
            save: confirm.save,
            back: confirm.back.as_ref().map(|(name, hash)| Back { name, hash }),
        }
    }
}

/// The policy of a hook out of the path.
#[derive(Serialize)]
struct BypassDocument<'a> {
    by: &'a str,
    since: String,
    /// Until it ends by itself.
    seconds_left: Option<f64>,
}

impl<'a> From<&'a BypassStatus> for BypassDocument<'a> {
    fn from(bypass: &'a BypassStatus) -> Self {
        let seconds_left = bypass.left.map(|left| left.as_secs_f64());
        Self { by: &bypass.by, since: rfc3339(bypass.since), seconds_left }
    }
}

#[derive(Serialize)]
struct HookDocument<'a> {
    interface: &'a str,
    ifindex: Option<u32>,
    direction: Direction,
    hook: Option<Via>,
    state: State,
    program_id: Option<u32>,
    link_id: Option<u32>,
    inside: &'a [Layer],
    table: Option<&'a str>,
    rules: usize,
    policy_hash: Option<&'a str>,
    since: Option<String>,
    /// Seconds since the last frame came.
    last_packet: Option<f64>,
    reason: Option<String>,
    bypass: Option<BypassDocument<'a>>,
    tcpdump_sees: Option<&'static str>,
    binary_version: &'static str,
    datapath_version: Option<&'a str>,
    notes: Vec<String>,
}

impl<'a> HookDocument<'a> {
    fn new(hook: &'a HookStatus, here: &Invocation) -> Self {
        Self {
            interface: &hook.interface,
            ifindex: hook.ifindex,
            direction: hook.direction,
            hook: hook.via,
            state: hook.state,
            program_id: hook.program_id,
            link_id: hook.link_id,
            inside: &hook.inside,
            table: hook.table.as_deref(),
            rules: hook.rules,
            policy_hash: hook.policy_hash.as_deref(),
            since: hook.since.map(rfc3339),
            last_packet: hook.last_packet.map(|age| age.as_secs_f64()),
            reason: hook.reason.as_deref().map(|reason| here.completed(reason)),
            bypass: hook.bypass.as_ref().map(BypassDocument::from),
            tcpdump_sees: hook.tcpdump_sees(),
            binary_version: VERSION,
            datapath_version: hook.datapath_version.as_deref(),
            notes: notes(&hook.notes, here),
        }
    }
}

fn notes(notes: &[Note], here: &Invocation) -> Vec<String> {
    notes.iter().map(|note| here.completed(&note.text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{
        json::{Layout, document},
        sample,
    };

    #[test]
    fn the_service_is_in_it_while_it_runs() {
        let value = serde_json::to_value(status(&sample::status_of_service(), &Invocation::default())).unwrap();
        insta::assert_snapshot!(document(&value["run"], Layout::Pretty).unwrap());
        assert!(serde_json::to_value(status(&sample::status(), &Invocation::default())).unwrap()["run"].is_null());
    }

    #[test]
    fn the_document_is_as_promised() {
        insta::assert_snapshot!(document(&status(&sample::status(), &Invocation::default()), Layout::Pretty).unwrap());
    }
}
