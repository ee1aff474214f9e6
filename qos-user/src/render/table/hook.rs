//! `stats HOOK`: one hook in full.

use qos_common::ds::Dscp;

use super::{
    beginning,
    class::classes,
    foot, hook_name, hook_policy,
    row::{Row, headings, label, numbers},
    since, state, table_name,
};
use crate::{
    render::{
        Look,
        screen::{Columns, Screen},
        text::{count, seconds},
    },
    snapshot::{Counts, Hook, Snapshot, named::named, rates, rates::HookRates},
};

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// A codepoint.
    Dscp,
    /// A class of the policy; `other` is what no class has.
    Class,
}

/// The screen of one hook. Without rates, the columns for them are left out.
#[must_use]
pub fn hook(snapshot: &Snapshot, hook: &Hook, rates: Option<&HookRates>, rows: Rows, look: &Look) -> String {
    let mut screen = Screen::default();
    screen.heading(&heading(snapshot, hook, rates, look));
    state(&mut screen, hook);
    screen.blank();
    match &hook.counts {
        Ok(counts) => {
            screen.table(&table(snapshot, hook, counts, rates, rows, look));
            screen.blank();
            foot::foot(&mut screen, hook, counts, look);
        }
        Err(why) => screen.alert(&format!("the counters cannot be read: {why}")),
    }
    screen.finish(look)
}

fn heading(snapshot: &Snapshot, hook: &Hook, rates: Option<&HookRates>, look: &Look) -> String {
    let mut parts = vec![hook_name(&hook.interface, hook.direction)];
    if hook.is_known() {
        parts.extend([hook.via.to_string(), table_name(hook), hook_policy(hook), since(snapshot, hook, look)]);
    }
    parts.extend(rates.map(|rates| format!("rates: {}", seconds(rates.seconds))));
    parts.join("  ")
}

fn table(
    snapshot: &Snapshot,
    hook: &Hook,
    counts: &Counts,
    rates: Option<&HookRates>,
    rows: Rows,
    look: &Look,
) -> Columns {
    let since = beginning(snapshot, hook, look);
    let (first, rows): (&[_], _) = match rows {
        Rows::Dscp => (&["DSCP", ">"], by_dscp(snapshot, hook, counts)),
        Rows::Class => (&["CLASS", "DSCP"], by_class(snapshot)),
    };
    let mut columns = Columns::new(&headings(first, rates.is_some()));
    for row in rows {
        columns.row(row.cells(hook, counts, rates, &since));
    }
    columns.row(totals(counts, rates));
    columns
}

/// What the policy names, in its order, then what else was seen.
fn by_dscp(snapshot: &Snapshot, hook: &Hook, counts: &Counts) -> Vec<Row> {
    let mut dscps = named(snapshot.policy.as_ref(), hook);
    let seen = |dscp: &Dscp| counts.before(*dscp).packets > 0 || counts.after(*dscp).packets > 0;
    let others: Vec<_> = Dscp::all().filter(|dscp| seen(dscp) && !dscps.contains(dscp)).collect();
    dscps.extend(others);
    dscps.into_iter().map(|dscp| Row { label: label(dscp), dscps: vec![dscp] }).collect()
}

fn by_class(snapshot: &Snapshot) -> Vec<Row> {
    let classes = classes(snapshot.policy.as_ref()).into_iter();
    classes.map(|class| Row { label: vec![class.name(), class.members()], dscps: class.dscps }).collect()
}

fn totals(counts: &Counts, rates: Option<&HookRates>) -> Vec<String> {
    let totals = counts.totals();
    let mut cells = vec!["total".to_owned(), String::new()];
    cells.extend(numbers(totals.before, rates.map(|rates| rates::total(rates.before))));
    cells.extend(numbers(totals.after, rates.map(|rates| rates::total(rates.after))));
    let (remarked, dropped) = (count(totals.remarked.packets), count(totals.dropped.packets));
    cells.push(format!("remarked {remarked}   dropped {dropped}"));
    cells
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        render::{sample, screen::WIDTH, text::width},
        snapshot::{State, rates::Rates},
    };

    fn rates() -> (Snapshot, Rates) {
        let later = sample::later();
        let rates = Rates::between(&sample::snapshot(), &later, Duration::from_secs(1));
        (later, rates)
    }

    fn screen(rows: Rows) -> String {
        let (snapshot, rates) = rates();
        let wan = &snapshot.hooks[1];
        hook(&snapshot, wan, rates.of(wan), rows, &sample::look())
    }

    #[test]
    fn a_hook_with_a_table() {
        insta::assert_snapshot!(screen(Rows::Dscp));
    }

    #[test]
    fn a_hook_by_class() {
        insta::assert_snapshot!(screen(Rows::Class));
    }

    #[test]
    fn a_hook_that_only_counts_without_rates_and_notes() {
        let mut snapshot = sample::snapshot();
        snapshot.policy = None;
        let look = Look { quiet: true, ..sample::look() };
        insta::assert_snapshot!(hook(&snapshot, &snapshot.hooks[0], None, Rows::Dscp, &look));
    }

    #[test]
    fn a_bypassed_hook() {
        let mut snapshot = sample::snapshot();
        snapshot.hooks[1].state = State::Bypassed;
        let text = hook(&snapshot, &snapshot.hooks[1], None, Rows::Class, &sample::look());
        assert!(text.lines().nth(1).unwrap().starts_with("! BYPASSED"), "{text}");
        assert!(text.contains("qosbpf policy resume wan0:egress"), "{text}");
    }

    #[test]
    fn a_hook_that_cannot_be_read() {
        let mut snapshot = sample::snapshot();
        snapshot.hooks[1].state = State::Error;
        snapshot.hooks[1].counts = Err("map counters: Permission denied".to_owned());
        insta::assert_snapshot!(hook(&snapshot, &snapshot.hooks[1], None, Rows::Dscp, &sample::look()));
    }

    #[test]
    fn what_an_earlier_policy_did_is_not_put_on_this_one() {
        let mut snapshot = sample::snapshot();
        snapshot.hooks[1].table = None;
        let text = hook(&snapshot, &snapshot.hooks[1], None, Rows::Dscp, &sample::look());
        assert!(text.contains("13,220 -> DF  (by an earlier policy)"), "{text}");
    }

    #[test]
    fn nothing_is_wider_than_a_hundred_columns() {
        let long = sample::long_names();
        let rates = Rates::between(&long, &long, Duration::from_secs(1));
        for (rows, ascii) in [(Rows::Dscp, true), (Rows::Class, false)] {
            for wan in &long.hooks {
                let look = Look { ascii, ..sample::look() };
                let text = hook(&long, wan, rates.of(wan), rows, &look);
                let longest = text.lines().max_by_key(|line| width(line)).unwrap();
                assert!(width(longest) <= WIDTH, "{longest}");
            }
        }
    }
}
