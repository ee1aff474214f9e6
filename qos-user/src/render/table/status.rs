//! `status`: every hook that is wanted or there.

use std::time::SystemTime;

use super::{NAME, hook_name, policy_name};
use crate::{
    render::{
        Look,
        screen::{Columns, Screen},
        text::{is_credible, local, shorten, span, width},
    },
    snapshot::{PolicyLabel, State},
    status::{Confirm, HookStatus, Note, ServiceStatus, StatusReport, about_the_policy},
};

/// The screen of `status`.
#[must_use]
pub fn status(report: &StatusReport, look: &Look) -> String {
    let mut screen = Screen::default();
    let host = shorten(&report.host, NAME);
    screen.heading(&format!("{host}   {}{}", policy_name(report.policy.as_ref()), saved(report)));
    if let Some(netns) = &report.netns {
        screen.line(&format!("network namespace {netns}"));
    }
    report.service.iter().for_each(|status| service(&mut screen, status, report, look));
    let (now, zone) = (report.time, &look.zone);
    notes(&mut screen, &about_the_policy(report, |time| local(time, now, zone)), "");
    notes(&mut screen, &report.notes, "");
    report.confirm.iter().for_each(|confirm| countdown(&mut screen, confirm));
    screen.blank();
    if report.hooks.is_empty() {
        screen.line("nothing is attached: qosbpf attach IFACE");
        return screen.finish(look);
    }
    screen.table(&hooks(report, look));
    screen.footnote(look, "TCPDUMP = whether tcpdump on this host shows packets as they are before or after us.");
    details(&mut screen, report, look);
    screen.finish(look)
}

const fn saved(report: &StatusReport) -> &'static str {
    match &report.policy {
        Some(PolicyLabel { saved: true, .. }) => ", saved",
        Some(_) if report.falls_back => ", NOT SAVED: run takes it from last-good.toml after a reboot",
        Some(_) => ", NOT SAVED: lost at reboot",
        None => "",
    }
}

/// The line of the service, and what somebody has to do about it.
fn service(screen: &mut Screen, service: &ServiceStatus, report: &StatusReport, look: &Look) {
    let running = report.time.duration_since(service.since).unwrap_or_default();
    let metrics: Vec<_> = service.metrics.iter().map(ToString::to_string).collect();
    let metrics = if metrics.is_empty() { "off".to_owned() } else { metrics.join(", ") };
    let (running, versions, events) = (span(running), versions(service, report), service.events_today);
    screen.line(&format!("run: active {running}   {versions}   metrics {metrics}   events {events} today"));
    let at = local(service.reload.at, report.time, &look.zone);
    if let Some(failure) = &service.reload.failure {
        screen.alert(&format!("run: the saved policy is not in force: read {at}, {failure}"));
    }
    if let Some(failure) = &service.settings_failure {
        screen.alert(&format!("run: its settings are not what their file says: {failure}"));
    }
}

/// The binary of the service, and the programs at the hooks.
fn versions(service: &ServiceStatus, report: &StatusReport) -> String {
    let mut programs: Vec<&str> = report.hooks.iter().filter_map(|hook| hook.datapath_version.as_deref()).collect();
    programs.sort_unstable();
    programs.dedup();
    let sign = if programs.iter().all(|version| *version == service.version) { "=" } else { "!=" };
    let programs = if programs.is_empty() { "none".to_owned() } else { programs.join(", ") };
    format!("datapath {programs} {sign} binary {}", service.version)
}

/// What happens if nobody says otherwise, and when.
fn countdown(screen: &mut Screen, confirm: &Confirm) {
    let name = |name: &str, hash: &str| format!("{} {}", shorten(name, NAME), shorten(hash, 8));
    let back = confirm.back.as_ref().map_or_else(|| "no policy".to_owned(), |(policy, hash)| name(policy, hash));
    let saved = if confirm.save { ", and saves it" } else { "" };
    screen.alert(&format!(
        "NOT CONFIRMED: {} by {}; in {} back to {back}. qosbpf policy confirm keeps it{saved}",
        name(&confirm.name, &confirm.hash),
        confirm.by,
        span(confirm.left),
    ));
}

fn hooks(report: &StatusReport, look: &Look) -> Columns {
    let mut columns = Columns::new(&["HOOK", "STATE", "VIA", "TABLE", ">RULES", "SINCE", "LAST PKT", "TCPDUMP"]);
    let longest = report.hooks.iter().map(|hook| width(&hook.interface)).max().unwrap_or(0);
    // Beside the longest name that Linux has (15 bytes), 8 columns are left for a table's.
    let room = 8 + 15_usize.saturating_sub(longest);
    for hook in &report.hooks {
        let name = hook_name(&hook.interface, hook.direction);
        let none = || "-".to_owned();
        columns.row(vec![
            if hook.state.needs_human() { format!("! {name}") } else { name },
            state(hook.state).to_owned(),
            hook.via.map_or_else(none, |via| via.to_string()),
            hook.table.as_ref().map_or_else(none, |table| shorten(table, room)),
            hook.rules.to_string(),
            hook.since.map_or_else(none, |time| since(time, report.time, look)),
            last_packet(hook),
            hook.tcpdump_sees().unwrap_or("-").to_owned(),
        ]);
    }
    columns
}

fn since(time: SystemTime, now: SystemTime, look: &Look) -> String {
    if is_credible(time, now) { local(time, now, &look.zone) } else { "clock not set".to_owned() }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Counting => "counts",
        State::Bypassed => "BYPASS",
        State::Missing => "MISSING",
        State::Error => "ERROR",
    }
}

fn last_packet(hook: &HookStatus) -> String {
    match (hook.last_packet, hook.via) {
        (Some(age), _) => span(age),
        (None, Some(_)) => "never".to_owned(),
        (None, None) => "-".to_owned(),
    }
}

/// Reasons and notes, a line each, the hook's name before them.
fn details(screen: &mut Screen, report: &StatusReport, look: &Look) {
    let tells = |hook: &&HookStatus| hook.reason.is_some() || !hook.notes.is_empty();
    screen.blank();
    for hook in report.hooks.iter().filter(tells) {
        let name = format!("{}  ", hook_name(&hook.interface, hook.direction));
        let fault = matches!(hook.state, State::Missing | State::Error);
        let reason = hook
            .reason
            .iter()
            .filter(|_| fault || !look.quiet)
            .map(|text| Note { needs_human: fault, text: text.clone() });
        notes(screen, &reason.collect::<Vec<_>>(), &name);
        notes(screen, &hook.notes, &name);
    }
}

fn notes(screen: &mut Screen, notes: &[Note], name: &str) {
    for note in notes {
        let text = format!("{name}{}", note.text);
        if note.needs_human { screen.alert(&text) } else { screen.line(&text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Exit,
        render::{sample, screen::WIDTH},
    };

    #[test]
    fn the_screen() {
        insta::assert_snapshot!(status(&sample::status(), &sample::look()));
    }

    #[test]
    fn the_screen_while_the_service_runs() {
        let text = status(&sample::status_of_service(), &sample::look());
        let of_service: Vec<_> = text.lines().filter(|line| line.contains("run:")).collect();
        insta::assert_snapshot!(of_service.join("\n"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_exit_3() {
        let mut report = sample::status();
        assert_eq!(report.exit(), Exit::No);
        report.hooks.truncate(3);
        assert_eq!(report.exit(), Exit::Done, "bypassed is what somebody asked for");
    }

    #[test]
    fn an_unsaved_policy_says_so_and_names_are_cut() {
        let mut report = sample::status();
        let policy = report.policy.as_mut().unwrap();
        policy.saved = false;
        policy.name = "p".repeat(64);
        for hook in &mut report.hooks {
            hook.interface = "enp101s0f1np1.8".to_owned();
            hook.table = Some("t".repeat(64));
            hook.since = hook.since.map(|since| since - std::time::Duration::from_secs(86_400));
        }
        let text = status(&report, &sample::look());
        assert!(text.contains("NOT SAVED"), "{text}");
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
    }
}
