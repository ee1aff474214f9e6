//! `stats --watch`: one block, printed again and again. It moves no cursor; that is the terminal's business.

use std::time::{Duration, SystemTime};

use qos_common::ds::Dscp;

use super::{class::classes, hook_name, row::sum, state, table_name};
use crate::{
    render::{
        Look,
        screen::{Columns, Screen},
        text::{local, rate, span},
    },
    snapshot::{
        Counts, Hook, Snapshot,
        history::History,
        named::named,
        rates::{HookRates, total},
        trend::Trend,
    },
};

/// How many characters the bar has, and how it grows.
const BAR: usize = 20;
const ASCII: [char; 3] = ['.', ':', '|'];
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The block of one hook. `rates` are the newest, and already in `history`.
#[must_use]
pub fn watch(snapshot: &Snapshot, hook: &Hook, rates: Option<&HookRates>, history: &History, look: &Look) -> String {
    let mut screen = Screen::default();
    screen.heading(&heading(snapshot, hook, rates, look));
    state(&mut screen, hook);
    match (&hook.counts, rates) {
        (Err(why), _) => screen.alert(&format!("the counters cannot be read: {why}")),
        (Ok(_), None) => screen.line("no rates yet"),
        (Ok(counts), Some(rates)) => {
            screen.table(&table(snapshot, hook, counts, rates, history, look));
            screen.line(&foot(rates));
            if groups(snapshot, hook, counts).iter().any(|(_, dscps)| is_only_marked(rates, dscps)) {
                screen.line("from bit/s on: as it came; what leaves with another mark stands under after/s");
            }
        }
    }
    screen.finish(look)
}

fn heading(snapshot: &Snapshot, hook: &Hook, rates: Option<&HookRates>, look: &Look) -> String {
    let name = hook_name(&hook.interface, hook.direction);
    let time = local(snapshot.time, snapshot.time, &look.zone);
    let every = rates.map(|rates| format!("   every {} s", rate(rates.seconds))).unwrap_or_default();
    format!("{name}  {}   {time}{every}", table_name(hook))
}

fn table(
    snapshot: &Snapshot,
    hook: &Hook,
    counts: &Counts,
    rates: &HookRates,
    history: &History,
    look: &Look,
) -> Columns {
    let remembered = hook.trend.as_ref().filter(|trend| trend.since == hook.since);
    let means: &[_] = if remembered.is_some() { &[">1 m", ">5 m", ">peak"] } else { &[">1 m bit/s"] };
    let headings = [&["class", ">before/s", ">after/s", ">bit/s"], means, &["last moved", "history"]].concat();
    let mut columns = Columns::new(&headings);
    let kept = remembered.map(|trend| Kept::of(trend, hook, snapshot.time));
    for (name, dscps) in groups(snapshot, hook, counts) {
        let (before, after) = (sum(&dscps, &rates.before), sum(&dscps, &rates.after));
        let mut cells = vec![
            if history.stopped(&dscps) { format!("! {name}") } else { name },
            rate(before.packets),
            rate(after.packets),
            rate(before.bits),
        ];
        cells.extend(match &kept {
            Some(kept) => kept.cells(&dscps),
            None => vec![rate(history.mean(&dscps, 60.0).bits), last_moved(history.quiet(&dscps))],
        });
        cells.push(bar(&history.bits(&dscps), if look.ascii { &ASCII } else { &BLOCKS }));
        columns.row(cells);
    }
    columns
}

/// What the service remembers of a hook.
struct Kept<'a> {
    trend: &'a Trend,
    hook: &'a Hook,
    time: SystemTime,
    minute: Option<HookRates>,
    five_minutes: Option<HookRates>,
}

impl<'a> Kept<'a> {
    fn of(trend: &'a Trend, hook: &'a Hook, time: SystemTime) -> Self {
        Self { trend, hook, time, minute: trend.minute(hook), five_minutes: trend.five_minutes(hook) }
    }

    /// Bits a second over a minute, over five, and at most; when it last moved.
    fn cells(&self, dscps: &[Dscp]) -> Vec<String> {
        let none = || "-".to_owned();
        let mean =
            |rates: &Option<HookRates>| rates.as_ref().map_or_else(none, |rates| rate(sum(dscps, &rates.before).bits));
        let peak = self.trend.peak(dscps).map_or_else(none, |peak| rate(peak.bits));
        let quiet = self.trend.quiet(self.hook, dscps, self.time).map(|quiet| quiet.as_secs_f64());
        vec![mean(&self.minute), mean(&self.five_minutes), peak, last_moved(quiet)]
    }
}

/// The classes of the policy; without any, the codepoints that it names and that came.
fn groups(snapshot: &Snapshot, hook: &Hook, counts: &Counts) -> Vec<(String, Vec<Dscp>)> {
    let policy = snapshot.policy.as_ref();
    if policy.is_some_and(|policy| !policy.classes.is_empty()) {
        return classes(policy).into_iter().map(|class| (class.name(), class.dscps)).collect();
    }
    let named = named(policy, hook);
    let shown = Dscp::all().filter(|dscp| named.contains(dscp) || counts.before(*dscp).packets > 0);
    shown.map(|dscp| (dscp.to_string(), vec![dscp])).collect()
}

/// Whether packets leave so, and none come so.
fn is_only_marked(rates: &HookRates, dscps: &[Dscp]) -> bool {
    sum(dscps, &rates.before).packets == 0.0 && sum(dscps, &rates.after).packets > 0.0
}

fn last_moved(quiet: Option<f64>) -> String {
    match quiet {
        None => "-".to_owned(),
        Some(seconds) if seconds < 1.0 => "now".to_owned(),
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_or_else(|_| "-".to_owned(), span),
    }
}

fn foot(rates: &HookRates) -> String {
    let remarked = rates.remarked.iter().map(|(from, to, now)| format!("{from}->{to} {}", rate(now.packets)));
    let remarked = remarked.collect::<Vec<_>>().join("   ");
    let remarked = if remarked.is_empty() { "0" } else { &remarked };
    let mut foot = format!("remarked/s: {remarked}   dropped/s {}", rate(total(rates.dropped).packets));
    if let Some(drops) = rates.qdisc_drops {
        foot.push_str(&format!("   qdisc drops/s {}", rate(drops)));
    }
    foot
}

/// The newest is at the right. Each character is the mean of its samples, relative to the highest one; what moved at
/// all is higher than what did not.
fn bar(bits: &[f64], steps: &[char]) -> String {
    let missing = History::LENGTH.saturating_sub(bits.len()) / (History::LENGTH / BAR);
    let means: Vec<f64> = bits
        .rchunks(History::LENGTH / BAR)
        .rev()
        .map(|samples| samples.iter().sum::<f64>() / samples.len() as f64)
        .collect();
    let highest = means.iter().copied().fold(0.0, f64::max);
    let rows = steps.len() - 1;
    let drawn = means.iter().map(|mean| {
        let row = if highest > 0.0 { (mean / highest * rows as f64).ceil() as usize } else { 0 };
        steps[row.min(rows)]
    });
    std::iter::repeat_n(' ', missing).chain(drawn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        render::{sample, screen::WIDTH, text::width},
        snapshot::rates::Rates,
    };

    /// A minute and a half: EF has stopped, AF41 goes on.
    fn history(later: &Snapshot) -> (Rates, History) {
        let rates = Rates::between(&sample::snapshot(), later, Duration::from_secs(2));
        let mut history = History::new();
        let mut newest = rates.of(&later.hooks[1]).unwrap().clone();
        (0..30).for_each(|_| history.push(&newest));
        newest.before[46] = crate::snapshot::rates::Rate::default();
        (0..16).for_each(|_| history.push(&newest));
        (rates, history)
    }

    #[test]
    fn the_block() {
        let later = sample::later();
        let (rates, history) = history(&later);
        let wan = &later.hooks[1];
        insta::assert_snapshot!(watch(&later, wan, rates.of(wan), &history, &sample::look()));
    }

    #[test]
    fn the_block_with_what_the_service_remembers() {
        let later = sample::with_trend();
        let (rates, history) = history(&later);
        let wan = &later.hooks[1];
        let text = watch(&later, wan, rates.of(wan), &history, &sample::look());
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_block_without_a_policy_in_unicode() {
        let mut later = sample::later();
        later.policy = None;
        let (rates, history) = history(&later);
        let wan = &later.hooks[1];
        let look = Look { ascii: false, ..sample::look() };
        let text = watch(&later, wan, rates.of(wan), &history, &look);
        assert!(text.contains('█') && text.contains("AF41"), "{text}");
        assert!(text.contains("\nfrom bit/s on: as it came; "), "nothing comes as AF42: {text}");
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
    }

    #[test]
    fn the_first_block_has_no_rates() {
        let snapshot = sample::snapshot();
        let text = watch(&snapshot, &snapshot.hooks[1], None, &History::new(), &sample::look());
        assert!(text.ends_with("no rates yet\n"), "{text}");
    }

    #[test]
    fn bars_are_as_long_as_their_history() {
        assert_eq!(bar(&[], &ASCII), " ".repeat(20));
        assert_eq!(bar(&[0.0; 60], &ASCII), ".".repeat(20));
        assert_eq!(bar(&[1.0; 3], &ASCII), format!("{}|", " ".repeat(19)));
        let falling: Vec<f64> = (0..60).map(|sample| f64::from(60 - sample)).collect();
        assert_eq!(bar(&falling, &ASCII), "||||||||||::::::::::");
    }
}
