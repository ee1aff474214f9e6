//! `status --json`.

use serde::Serialize;

use super::{Policy, SCHEMA};
use crate::{
    VERSION,
    hook::{Direction, Via},
    render::text::rfc3339,
    snapshot::State,
    status::{HookStatus, Note, StatusReport},
};

/// The document of `status --json`.
#[must_use]
pub fn status(report: &StatusReport) -> impl Serialize + '_ {
    Document {
        schema: SCHEMA,
        time: rfc3339(report.time),
        host: &report.host,
        netns: report.netns.as_deref(),
        version: VERSION,
        policy: report.policy.as_ref().map(Policy::from),
        hooks: report.hooks.iter().map(HookDocument::from).collect(),
        notes: notes(&report.notes),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    time: String,
    host: &'a str,
    netns: Option<&'a str>,
    version: &'static str,
    policy: Option<Policy<'a>>,
    hooks: Vec<HookDocument<'a>>,
    notes: Vec<&'a str>,
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
    table: Option<&'a str>,
    policy_hash: Option<&'a str>,
    since: Option<String>,
    /// Seconds since the last frame came.
    last_packet: Option<f64>,
    reason: Option<&'a str>,
    tcpdump_sees: Option<&'static str>,
    binary_version: &'static str,
    datapath_version: Option<&'a str>,
    notes: Vec<&'a str>,
}

impl<'a> From<&'a HookStatus> for HookDocument<'a> {
    fn from(hook: &'a HookStatus) -> Self {
        Self {
            interface: &hook.interface,
            ifindex: hook.ifindex,
            direction: hook.direction,
            hook: hook.via,
            state: hook.state,
            program_id: hook.program_id,
            link_id: hook.link_id,
            table: hook.table.as_deref(),
            policy_hash: hook.policy_hash.as_deref(),
            since: hook.since.map(rfc3339),
            last_packet: hook.last_packet.map(|age| age.as_secs_f64()),
            reason: hook.reason.as_deref(),
            tcpdump_sees: hook.tcpdump_sees(),
            binary_version: VERSION,
            datapath_version: hook.datapath_version.as_deref(),
            notes: notes(&hook.notes),
        }
    }
}

fn notes(notes: &[Note]) -> Vec<&str> {
    notes.iter().map(|note| note.text.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{
        json::{Layout, document},
        sample,
    };

    #[test]
    fn the_document_is_as_promised() {
        insta::assert_snapshot!(document(&status(&sample::status()), Layout::Pretty).unwrap());
    }
}
