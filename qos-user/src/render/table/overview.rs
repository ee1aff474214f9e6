//! `stats`: one line a hook, with the classes that moved.

use qos_common::ds::Dscp;

use super::{class::classes, hook_name, policy_name, since};
use crate::{
    command::Command,
    render::{
        Look,
        screen::{Columns, Screen},
        text::{count, rate, seconds},
    },
    snapshot::{
        Counts, Hook, Snapshot,
        rates::{HookRates, Rates},
        total,
    },
};

/// How many classes a line shows.
const SHOWN: usize = 5;

/// The screen of all hooks. With rates, a class has moved if it did while they were sampled.
#[must_use]
pub fn overview(snapshot: &Snapshot, rates: &Rates, look: &Look) -> String {
    let mut screen = Screen::default();
    screen.heading(&format!("{}   {}", snapshot.host, policy_name(snapshot.policy.as_ref())));
    screen.blank();
    let Some(first) = snapshot.hooks.first() else {
        screen.line("nothing is attached: qosbpf attach IFACE");
        return screen.finish(look);
    };
    let mut columns = Columns::new(&["HOOK", ">BEFORE pkts", ">REMARKED", ">DROPPED", "MOVED"]);
    for hook in &snapshot.hooks {
        columns.row(row(snapshot, hook, rates.of(hook)));
    }
    screen.table(&columns);
    screen.blank();
    let sampled = snapshot.hooks.iter().find_map(|hook| rates.of(hook));
    let moved = match sampled {
        Some(rates) => format!("MOVED = packets a second, sampled over {}.", seconds(rates.seconds)),
        None => "MOVED = packets since the hook was attached, or the table cleared.".to_owned(),
    };
    // Of one that cannot be read nobody knows.
    let oldest = snapshot.hooks.iter().filter(|hook| hook.is_known()).min_by_key(|hook| hook.since);
    let counts = oldest.map(|oldest| format!("  The oldest counts {}.", since(snapshot, oldest, look)));
    screen.footnote(look, &format!("{moved}{}", counts.unwrap_or_default()));
    screen
        .footnote(look, &format!("One interface in full: {}", Command::new("qosbpf stats").operand(&first.interface)));
    screen.finish(look)
}

fn row(snapshot: &Snapshot, hook: &Hook, rates: Option<&HookRates>) -> Vec<String> {
    let name = hook_name(&hook.interface, hook.direction);
    let name = if hook.state.needs_human() || hook.counts.is_err() { format!("! {name}") } else { name };
    let state = if hook.state.needs_human() { hook.state.as_str().to_uppercase() + "   " } else { String::new() };
    match &hook.counts {
        Ok(counts) => {
            let totals = counts.totals();
            let amounts = [totals.before, totals.remarked, totals.dropped].map(|amount| count(amount.packets));
            let [before, remarked, dropped] = amounts;
            vec![name, before, remarked, dropped, state + &moved(snapshot, counts, rates)]
        }
        Err(why) => {
            let none = || "-".to_owned();
            vec![name, none(), none(), none(), format!("{state}the counters cannot be read: {why}")]
        }
    }
}

/// The classes, or without a policy the codepoints, that moved most.
fn moved(snapshot: &Snapshot, counts: &Counts, rates: Option<&HookRates>) -> String {
    let mut moved: Vec<(String, f64)> = groups(snapshot)
        .into_iter()
        .map(|(name, dscps)| (name, amount(&dscps, counts, rates)))
        .filter(|(_, amount)| *amount > 0.0)
        .collect();
    moved.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    if moved.is_empty() {
        return "nothing".to_owned();
    }
    let unit = if rates.is_some() { "/s" } else { "" };
    let mut words: Vec<_> =
        moved.iter().take(SHOWN).map(|(name, amount)| format!("{name}: {}{unit}", rate(*amount))).collect();
    if moved.len() > SHOWN {
        words.push(format!("+{} more", moved.len() - SHOWN));
    }
    words.join("   ")
}

fn groups(snapshot: &Snapshot) -> Vec<(String, Vec<Dscp>)> {
    let policy = snapshot.policy.as_ref().filter(|policy| !policy.classes.is_empty());
    match policy {
        Some(_) => classes(policy).into_iter().map(|class| (class.name(), class.dscps)).collect(),
        None => Dscp::all().map(|dscp| (dscp.to_string(), vec![dscp])).collect(),
    }
}

fn amount(dscps: &[Dscp], counts: &Counts, rates: Option<&HookRates>) -> f64 {
    match rates {
        Some(rates) => super::row::sum(dscps, &rates.before).packets,
        None => total(dscps.iter().map(|dscp| counts.before(*dscp))).packets as f64,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        render::{sample, screen::WIDTH, text::width},
        snapshot::State,
    };

    #[test]
    fn all_hooks() {
        let later = sample::later();
        let rates = Rates::between(&sample::snapshot(), &later, Duration::from_secs(1));
        insta::assert_snapshot!(overview(&later, &rates, &sample::look()));
    }

    #[test]
    fn all_hooks_without_policy_or_rates_and_with_faults() {
        let mut snapshot = sample::snapshot();
        snapshot.policy = None;
        snapshot.hooks[1].state = State::Bypassed;
        let mut broken = snapshot.hooks[1].clone();
        broken.interface = "wan1".to_owned();
        broken.state = State::Error;
        broken.counts = Err("pin of layout 2, this binary reads layout 1".to_owned());
        snapshot.hooks.push(broken);
        insta::assert_snapshot!(overview(&snapshot, &Rates::default(), &sample::look()));
    }

    /// Of a hook whose pins cannot be read nothing is known, and a board without a battery begins each boot in 1970.
    #[test]
    fn a_time_that_no_clock_has_told_is_not_shown() {
        let mut snapshot = sample::snapshot();
        let seen = |snapshot: &Snapshot| overview(snapshot, &Rates::default(), &sample::look());
        let before = seen(&snapshot);
        let mut broken = snapshot.hooks[0].clone();
        (broken.program_id, broken.since) = (0, SystemTime::UNIX_EPOCH);
        broken.counts = Err("not a map".to_owned());
        snapshot.hooks.push(broken);
        let oldest = |text: &str| text.split("The oldest").nth(1).map(str::to_owned);
        assert!(oldest(&before).is_some());
        assert_eq!(oldest(&seen(&snapshot)), oldest(&before));
        snapshot.hooks[0].since = SystemTime::UNIX_EPOCH + Duration::from_secs(30);
        let text = seen(&snapshot).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("The oldest counts since it was attached (the clock was not set then)."), "{text}");
        assert!(!text.contains("1970"), "{text}");
    }

    #[test]
    fn no_hooks_say_what_to_do() {
        let mut snapshot = sample::snapshot();
        snapshot.hooks.clear();
        let text = overview(&snapshot, &Rates::default(), &sample::look());
        assert!(text.contains("qosbpf attach IFACE"), "{text}");
    }

    #[test]
    fn nothing_is_wider_than_a_hundred_columns() {
        let mut long = sample::long_names();
        long.hooks[0].state = State::Bypassed;
        let text = overview(&long, &Rates::default(), &sample::look());
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
    }
}
