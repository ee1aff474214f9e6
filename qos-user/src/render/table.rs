//! The screens of the commands.

mod class;
mod diagnosis;
mod diff;
mod explain;
mod foot;
mod history;
mod hook;
mod overview;
mod policy;
mod row;
mod status;
mod watch;

pub use diagnosis::{doctor, fix_script, why};
pub use diff::diff;
pub use explain::{capture, explained, test_runs};
pub use history::history;
pub use hook::{Rows, hook};
pub use overview::overview;
pub use policy::policy;
pub use status::status;
pub use watch::watch;

use super::{Look, screen::Screen, text};
use crate::{
    command::Command,
    hook::Direction,
    snapshot::{Hook, PolicyLabel, Snapshot, State},
};

/// The longest a policy's or table's name is printed; files allow 64 characters.
const NAME: usize = 24;

/// `wan0:egress`; an interface's name has at most 15 bytes.
fn hook_name(interface: &str, direction: Direction) -> String {
    format!("{}:{direction}", text::shorten(interface, 15))
}

/// `policy edge-standard 3f9a1c7d`.
fn policy_name(policy: Option<&PolicyLabel>) -> String {
    match policy {
        Some(policy) => format!("policy {} {}", text::shorten(&policy.name, NAME), text::shorten(&policy.hash, 8)),
        None => "no policy".to_owned(),
    }
}

/// The policy of a hook, which `--only` may have left behind.
fn hook_policy(hook: &Hook) -> String {
    match &hook.policy {
        Some(policy) => format!("policy {} {}", text::shorten(&policy.name, NAME), text::shorten(&policy.hash, 8)),
        None => "no policy".to_owned(),
    }
}

/// `table to-isp`.
fn table_name(hook: &Hook) -> String {
    match &hook.table {
        Some(table) => format!("table {}", text::shorten(&table.name, NAME)),
        None => "no table".to_owned(),
    }
}

/// `since 21:00:03 (1h 02m)`.
fn since(snapshot: &Snapshot, hook: &Hook, look: &Look) -> String {
    let beginning = beginning(snapshot, hook, look);
    if !text::is_credible(hook.since, snapshot.time) {
        return format!("since {beginning} (the clock was not set then)");
    }
    let age = snapshot.time.duration_since(hook.since).unwrap_or_default();
    format!("since {beginning} ({})", text::span(age))
}

/// `21:00:03`, or `the clear at 21:00:03`; what happened then where the clock did not say when.
fn beginning(snapshot: &Snapshot, hook: &Hook, look: &Look) -> String {
    match (text::is_credible(hook.since, snapshot.time), hook.cleared) {
        (true, false) => text::local(hook.since, snapshot.time, &look.zone),
        (true, true) => format!("the clear at {}", text::local(hook.since, snapshot.time, &look.zone)),
        (false, false) => "it was attached".to_owned(),
        (false, true) => "it was cleared".to_owned(),
    }
}

/// What a person has to know before reading the hook's numbers.
fn state(screen: &mut Screen, hook: &Hook) {
    match hook.state {
        State::Active | State::Counting => {}
        State::Bypassed => screen.alert(&format!(
            "BYPASSED: packets are counted, none is changed. To enforce again: {}",
            Command::new("qosbpf policy resume").operand(format_args!("{}:{}", hook.interface, hook.direction))
        )),
        State::Missing => screen.alert("MISSING: nothing of ours runs here any more; qosbpf status says why"),
        State::Error => screen.alert("ERROR: qosbpf status says what is wrong"),
    }
}
