//! `policy show`: what runs, with hits.

mod rules;

use super::{NAME, beginning, foot::queue, hook_name, hook_policy, state, table_name};
use crate::{
    render::{
        Look,
        screen::{Columns, Screen},
        text::{count, is_credible, local, rate, seconds, shorten, span},
    },
    snapshot::{
        Counts, Hook, RuleCount, Snapshot, TableLabel,
        named::{Entry, OTHER},
        rates::{HookRates, Rates},
        tabled::Began,
        total,
    },
};

/// The screen of `policy show`, a block for each hook of the snapshot.
///
/// The hits of an entry are the packets that came in the codepoints it decides on and that no rule decided, since its table
/// is in force.
#[must_use]
pub fn policy(snapshot: &Snapshot, rates: &Rates, look: &Look) -> String {
    let mut screen = Screen::default();
    for hook in &snapshot.hooks {
        screen.blank();
        block(&mut screen, snapshot, hook, rates.of(hook), look);
    }
    if snapshot.hooks.is_empty() {
        screen.line("nothing is attached: qosbpf attach IFACE --policy FILE");
    }
    screen.finish(look)
}

/// A hook with its counters, and what there is to say of them.
struct Shown<'a> {
    snapshot: &'a Snapshot,
    hook: &'a Hook,
    counts: &'a Counts,
    rates: Option<&'a HookRates>,
    since: Since,
}

fn block(screen: &mut Screen, snapshot: &Snapshot, hook: &Hook, rates: Option<&HookRates>, look: &Look) {
    let since = Since::of(snapshot, hook, look);
    screen.heading(&heading(hook));
    state(screen, hook);
    if hook.table.is_none() && hook.outer.is_none() && hook.rules.is_empty() {
        screen.line("no table and no rules: packets are counted, none is changed");
        return;
    }
    match &hook.counts {
        Ok(counts) => {
            let shown = Shown { snapshot, hook, counts, rates, since };
            conditioner(screen, &shown);
            foot(screen, &shown, look);
        }
        Err(why) => screen.alert(&format!("the counters cannot be read: {why}")),
    }
}

fn heading(hook: &Hook) -> String {
    let mut parts = vec![hook_name(&hook.interface, hook.direction), hook_policy(hook)];
    parts.extend(hook.table.as_ref().map(|_| table_name(hook)));
    parts.extend(hook.local.map(|word| match protected(hook) {
        0 => format!("local: {word}"),
        packets => format!("local: {word} ({} protected)", count(packets)),
    }));
    parts.join("   ")
}

/// How many packets of this host were kept from the policy since its table is in force.
fn protected(hook: &Hook) -> u64 {
    let before = began(hook).map_or(0, |began| began.protected);
    let all = hook.counts.as_ref().map_or(0, |counts| counts.sums.protected.packets);
    all.saturating_sub(before)
}

/// In the order in which a packet is decided: the rules, then the table for outer headers, then the table.
fn conditioner(screen: &mut Screen, shown: &Shown<'_>) {
    let Shown { snapshot, hook, rates, since, .. } = shown;
    let file = hook.policy.as_ref().map_or("", |policy| base_name(&policy.file));
    if !hook.rules.is_empty() {
        screen.blank();
        screen.table(&rules::rules(&hook.rules, file, *rates, since));
        rules::never_hit(screen, hook, snapshot.policy.as_ref());
    }
    if let Some(table) = &hook.outer {
        screen.blank();
        screen.table(&outer(file, table));
    }
    screen.blank();
    match &hook.table {
        Some(table) => screen.table(&entries(file, table, shown)),
        None => screen.line("no table: what no rule decides stays as it is"),
    }
}

fn entries(file: &str, table: &TableLabel, shown: &Shown<'_>) -> Columns {
    let mut headings = vec!["TABLE", "DSCP", "FILE:LINE", ">HITS"];
    headings.extend(shown.rates.map(|_| ">bit/s"));
    headings.extend(shown.hook.trend.as_ref().map(|_| "LAST"));
    headings.push("RESULT");
    let mut columns = Columns::new(&headings);
    columns.row(vec![shorten(&table.name, NAME)]);
    for entry in table.by_entry() {
        columns.row(row(&entry, file, shown));
    }
    columns
}

fn row(entry: &Entry<'_>, file: &str, shown: &Shown<'_>) -> Vec<String> {
    let dscps: Vec<_> = entry.decides_on.iter().map(|(from, _)| *from).collect();
    let hits = total(dscps.iter().map(|dscp| shown.counts.tabled(*dscp))).packets;
    let mut cells = vec![
        format!("  {}", shorten(entry.key, NAME - 2)),
        members(entry),
        format!("{}:{}", shorten(file, 16), entry.line),
        count(hits),
    ];
    cells.extend(shown.rates.map(|rates| rate(super::row::sum(&dscps, &rates.tabled).bits)));
    cells.extend(shown.hook.trend.as_ref().map(|trend| match hits {
        0 => "never".to_owned(),
        // What was before the service looked it does not know.
        _ => trend.table_quiet(shown.hook, &dscps, shown.snapshot.time).map_or_else(|| "-".to_owned(), span),
    }));
    let result = entry.result().map_or_else(|| "keep".to_owned(), |to| format!("-> {to}"));
    cells.push(match hits {
        0 if shown.hook.trend.is_some() => format!("{result}   ! never hit"),
        0 => format!("{result}   {}", shown.since.never_hit()),
        _ => result,
    });
    cells
}

/// Nobody counts its hits by entry: what left as what is in the counters of changes.
fn outer(file: &str, table: &TableLabel) -> Columns {
    let mut columns = Columns::new(&["OUTER", "DSCP INSIDE", "FILE:LINE", "RESULT OUTSIDE"]);
    columns.row(vec![shorten(&table.name, NAME)]);
    for entry in table.by_entry() {
        columns.row(vec![
            format!("  {}", shorten(entry.key, NAME - 2)),
            members(&entry),
            format!("{}:{}", shorten(file, 16), entry.line),
            entry.result().map_or_else(|| "-> as inside".to_owned(), |to| format!("-> {to}")),
        ]);
    }
    columns
}

/// The codepoints of a class by name, that of a single key by number.
fn members(entry: &Entry<'_>) -> String {
    let names: Vec<_> = entry.decides_on.iter().map(|(from, _)| from.to_string()).collect();
    match (entry.key, entry.decides_on.as_slice()) {
        (OTHER, _) => "the rest".to_owned(),
        (key, [(from, _)]) if key.parse() == Ok(*from) => from.value().to_string(),
        _ => shorten(&names.join(" "), 16),
    }
}

/// From when the hits of a hook are.
struct Since {
    /// Those of rules.
    rules: String,
    /// Those of the rules that came later, by the place of the rule.
    later: Vec<Option<String>>,
    /// Those of the table's entries, if that is known.
    table: Option<String>,
}

impl Since {
    fn of(snapshot: &Snapshot, hook: &Hook, look: &Look) -> Self {
        let clock = |time| is_credible(time, snapshot.time).then(|| local(time, snapshot.time, &look.zone));
        // Both were noted in the same attach.
        let table = began(hook).and_then(|began| clock(began.at.max(hook.since)));
        let later = hook.rules.iter().map(|rule| rule.since.and_then(clock)).collect();
        Self { rules: beginning(snapshot, hook, look), later, table }
    }

    /// What is said of it beside a rule.
    fn of_rule(&self, place: usize, rule: &RuleCount) -> String {
        let later = self.later.get(place).and_then(Option::as_ref);
        match rule.counted.packets {
            0 => format!("! never hit since {}", later.unwrap_or(&self.rules)),
            _ => later.map_or_else(String::new, |since| format!("since {since}")),
        }
    }

    fn never_hit(&self) -> String {
        self.table.as_ref().map_or_else(|| "! never hit".to_owned(), |since| format!("! never hit since {since}"))
    }
}

fn foot(screen: &mut Screen, shown: &Shown<'_>, look: &Look) {
    let Shown { hook, since: Since { rules, later, table }, .. } = shown;
    if let Some(qdisc) = &hook.qdisc {
        screen.line(&queue(qdisc));
    }
    if protected(hook) > 0 {
        let since = table.as_ref().unwrap_or(rules);
        let meaning = format!("protected since {since}: made by this host, and kept from the policy by `local`.");
        screen.footnote(look, &meaning);
    }
    if let Some(rates) = shown.rates {
        screen.footnote(look, &format!("bit/s = on average over {}.", seconds(rates.seconds)));
    }
    let or = if later.iter().any(Option::is_some) { ", or since the time beside it" } else { "" };
    let of_rules = format!("HITS = packets: of a rule those that it decided or counted since {rules}{or}");
    if hook.table.is_none() {
        screen.footnote(look, &format!("{of_rules}."));
        return;
    }
    let in_force = table.as_ref().map_or_else(
        || "while its table was in force".to_owned(),
        |since| format!("since its table came into force at {since}"),
    );
    let of_entries = format!("of an entry those that came in its codepoints and that no rule decided, {in_force}");
    screen.footnote(look, &format!("{of_rules}, {of_entries}."));
}

/// When the table came into force, if there is one.
fn began(hook: &Hook) -> Option<Began> {
    hook.began.filter(|_| hook.table.is_some())
}

fn base_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use qos_common::abi::Counter;

    use super::*;
    use crate::render::{sample, screen::WIDTH, text::width};

    #[test]
    fn the_screen() {
        let later = sample::later();
        let rates = Rates::between(&sample::snapshot(), &later, Duration::from_secs(1));
        insta::assert_snapshot!(policy(&later, &rates, &sample::look()));
    }

    /// With a rule that was never hit, while the service knows when entries were.
    #[test]
    fn the_screen_while_the_service_runs() {
        let mut snapshot = sample::with_trend();
        let never = |name: &str| RuleCount { since: None, ..sample::rule(name, Counter::default()) };
        snapshot.hooks[1].rules =
            vec![never("EF from guests"), never("voice"), never(&format!("it's {}", "l".repeat(59)))];
        let rates =
            Rates::remembered(&Snapshot { hooks: vec![snapshot.hooks[1].clone()], ..snapshot.clone() }).unwrap();
        insta::assert_snapshot!(policy(&snapshot, &rates, &sample::look()));
    }

    #[test]
    fn the_table_for_outer_headers_is_shown() {
        let mut snapshot = sample::snapshot();
        let table = snapshot.hooks.iter_mut().find_map(|hook| hook.table.take()).unwrap();
        snapshot.hooks.truncate(1);
        snapshot.hooks[0].outer = Some(TableLabel { name: "tunnels".to_owned(), ..table });
        let rates = Rates::between(&snapshot, &snapshot, Duration::from_secs(1));
        insta::assert_snapshot!(policy(&snapshot, &rates, &sample::look()));
    }

    #[test]
    fn what_has_no_table_says_nothing_of_one() {
        let mut snapshot = sample::snapshot();
        let hook = snapshot.hooks.iter_mut().find(|hook| hook.table.is_some()).unwrap();
        hook.table = None;
        hook.began = hook.began.map(|began| Began { at: began.at + Duration::from_secs(9), protected: 1 });
        hook.outer = Some(TableLabel { name: "tunnels".to_owned(), ..sample::table() });
        let rates = Rates::between(&snapshot, &snapshot, Duration::from_secs(1));
        let text = policy(&snapshot, &rates, &sample::look());
        assert!(
            text.contains("counted since 21:00:03.\n")
                && text.contains("(1,204 protected)\n")
                && text.contains("protected since 21:00:03:"),
            "{text}"
        );
        assert!(!text.contains("came into force") && !text.contains("of an entry"), "{text}");
    }

    #[test]
    fn nothing_is_wider_than_a_hundred_columns() {
        let long = sample::long_names();
        let rates = Rates::between(&long, &long, Duration::from_secs(1));
        let text = policy(&long, &rates, &sample::look());
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
    }
}
