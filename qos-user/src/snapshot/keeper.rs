//! Keeps the past of every hook, in bounded memory: each sample of the last minute, one in fifteen seconds of the last five
//! minutes, and one line for each row that ever moved. Time is an argument.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, SystemTime},
};

use super::{
    Hook,
    rates::Rate,
    trend::{Moment, Moved, Row, Trend},
};
use crate::hook::Direction;

const MINUTE: Duration = Duration::from_secs(60);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// How far apart the samples of the last five minutes are at least.
const COARSE: Duration = Duration::from_secs(15);

/// The past of every hook.
#[derive(Debug, Default)]
pub struct Keeper(HashMap<(u32, Direction), Kept>);

/// When a sample was taken: by a clock that nobody sets, and by the wall.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    /// Since some moment.
    pub steady: Duration,
    /// The time of day.
    pub wall: SystemTime,
}

#[derive(Debug)]
struct Kept {
    since: SystemTime,
    fine: VecDeque<(Duration, Moment)>,
    coarse: VecDeque<(Duration, Moment)>,
    rows: HashMap<Row, Moved>,
}

impl Keeper {
    /// Takes in what hooks have counted, and forgets those that are not among them.
    pub fn take(&mut self, hooks: &[Hook], now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for hook in hooks {
            let place = (hook.ifindex, hook.direction);
            let same = before.remove(&place).filter(|kept| kept.since == hook.since);
            // What cannot be read now is perhaps the next time.
            let Some(moment) = Moment::of(hook) else {
                self.0.extend(same.map(|kept| (place, kept)));
                continue;
            };
            let mut kept = same.unwrap_or_else(|| Kept::new(hook.since));
            if !kept.take(hook, &moment, now) {
                kept = Kept::new(hook.since);
                kept.take(hook, &moment, now);
            }
            self.0.insert(place, kept);
        }
    }

    /// What is remembered of all hooks.
    #[must_use]
    pub fn trends(&self, now: Duration) -> Vec<Trend> {
        self.0.iter().filter_map(|(place, kept)| kept.trend(*place, now)).collect()
    }
}

impl Kept {
    fn new(since: SystemTime) -> Self {
        Self { since, fine: VecDeque::new(), coarse: VecDeque::new(), rows: HashMap::new() }
    }

    /// Takes in a sample; whether it can be of the same attachment.
    fn take(&mut self, hook: &Hook, moment: &Moment, now: Instant) -> bool {
        if let Some((then, newest)) = self.fine.back() {
            let seconds = now.steady.saturating_sub(*then).as_secs_f64();
            let Some(moved) = moved(hook, newest) else { return false };
            for (row, counter) in moved {
                let rate = Rate::of(counter, seconds.max(0.001));
                let fresh = Moved { last: now.wall, peak: rate, peak_at: now.wall };
                let kept = self.rows.entry(row).or_insert(fresh);
                kept.last = now.wall;
                if rate.bits > kept.peak.bits {
                    (kept.peak, kept.peak_at) = (rate, now.wall);
                }
            }
        }
        self.forget_rules(hook);
        if self.coarse.back().is_none_or(|(then, _)| now.steady.saturating_sub(*then) >= COARSE) {
            self.coarse.push_back((now.steady, moment.clone()));
        }
        self.fine.push_back((now.steady, moment.clone()));
        forget(&mut self.fine, MINUTE, now.steady);
        forget(&mut self.coarse, FIVE_MINUTES, now.steady);
        true
    }

    /// Rules that have no counter at the hook any more are forgotten: policies come and go without end.
    fn forget_rules(&mut self, hook: &Hook) {
        let names: HashSet<&str> = hook.ruled().map(|(name, _)| name).collect();
        self.rows.retain(|row, _| match row {
            Row::Rule(name) | Row::Color(name, _) => names.contains(name.as_str()),
            _ => true,
        });
    }

    fn trend(&self, (ifindex, direction): (u32, Direction), now: Duration) -> Option<Trend> {
        let aged = |(then, moment): &(Duration, Moment)| (now.saturating_sub(*then).as_secs_f64(), moment.clone());
        Some(Trend {
            ifindex,
            direction,
            since: self.since,
            newest: aged(self.fine.back()?),
            minute: aged(self.fine.front()?),
            five_minutes: aged(self.coarse.front()?),
            rows: self.rows.iter().map(|(row, moved)| (row.clone(), *moved)).collect(),
        })
    }
}

/// The newest sample that is as old as that stays, and with it all that are newer.
fn forget(samples: &mut VecDeque<(Duration, Moment)>, age: Duration, now: Duration) {
    while samples.get(1).is_some_and(|(then, _)| now.saturating_sub(*then) >= age) {
        samples.pop_front();
    }
}

/// What has moved since; `None` if a counter has gone back.
fn moved(hook: &Hook, then: &Moment) -> Option<Vec<(Row, qos_common::abi::Counter)>> {
    let counts = hook.counts.as_ref().ok()?;
    let mut rows = Row::moved(&counts.less(&then.cells)?);
    rows.retain(|(row, _)| !row.rests(hook));
    for (at, (name, now)) in hook.ruled().enumerate() {
        let moved = then.since(name, at, now);
        if moved.packets > 0 {
            rows.push((Row::Rule(name.to_owned()), moved));
        }
    }
    for (at, (name, colors)) in hook.colored().enumerate() {
        let moved = colors.into_iter().enumerate().map(|(color, now)| (color, then.since_color(name, at, color, now)));
        let moved = moved.filter(|(_, moved)| moved.packets > 0);
        rows.extend(moved.map(|(color, moved)| (Row::Color(name.to_owned(), color), moved)));
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use qos_common::{abi::Counter, ds::Dscp};

    use super::*;
    use crate::snapshot::{RuleCount, State, sample};

    fn at(seconds: u64) -> Instant {
        Instant { steady: Duration::from_secs(seconds), wall: sample::now() + Duration::from_secs(seconds) }
    }

    /// The hook after so many packets of EF, a hundred bytes each.
    fn hook(packets: u64) -> Hook {
        let mut hook = sample::snapshot().hooks.swap_remove(1);
        let counts = hook.counts.as_mut().unwrap();
        counts.sums.kept[0][184].add(Counter { packets, bytes: packets * 100 });
        hook
    }

    fn trend(keeper: &Keeper, seconds: u64) -> Trend {
        keeper.trends(Duration::from_secs(seconds)).swap_remove(0)
    }

    #[test]
    fn a_minute_and_five_are_told_apart() {
        let mut keeper = Keeper::default();
        // Ten packets a second for five minutes, then twenty for one.
        let total = |second: u64| if second <= 300 { second * 10 } else { 3_000 + (second - 300) * 20 };
        (0..=360).step_by(5).for_each(|second| keeper.take(&[hook(total(second))], at(second)));
        let now = hook(total(360));
        let trend = trend(&keeper, 360);
        assert_eq!(trend.minute(&now).unwrap().before[46].packets, 20.0);
        let five = trend.five_minutes(&now).unwrap();
        assert!((five.before[46].packets - 12.0).abs() < 0.1, "{}", five.before[46].packets);
        assert!((300.0..=320.0).contains(&five.seconds), "{}", five.seconds);
    }

    #[test]
    fn memory_is_bounded_however_often_it_is_fed() {
        let mut keeper = Keeper::default();
        (0..2_000).for_each(|second| keeper.take(&[hook(second)], at(second)));
        let kept = keeper.0.values().next().unwrap();
        assert!(kept.fine.len() <= 62 && kept.coarse.len() <= 22, "{} {}", kept.fine.len(), kept.coarse.len());
        keeper.take(&[], at(2_001));
        assert!(keeper.0.is_empty(), "a hook that is gone is forgotten");
    }

    /// What they had counted before is not of now.
    #[test]
    fn rules_that_come_back_into_force_have_the_past_that_they_had() {
        let mut keeper = Keeper::default();
        let of = |packets| Counter { packets, bytes: packets * 100 };
        let by_it = |packets| Hook { rules: vec![sample::rule("EF from phones", of(packets))], ..hook(0) };
        let without = |packets| Hook { resting: vec![("EF from phones".to_owned(), of(packets))], ..hook(0) };
        keeper.take(&[without(312)], at(0));
        keeper.take(&[by_it(312)], at(5));
        let row = |keeper: &Keeper, now: &Hook, seconds| {
            trend(keeper, seconds).beside(now, at(seconds).wall).unwrap().row(&Row::Rule("EF from phones".to_owned()))
        };
        let never = row(&keeper, &by_it(312), 5);
        assert_eq!((never.last_moved, never.peak, never.minute.unwrap().packets), (None, None, 0.0));
        keeper.take(&[by_it(362)], at(10));
        keeper.take(&[without(372)], at(15));
        (20..90).step_by(5).for_each(|second| keeper.take(&[without(372)], at(second)));
        keeper.take(&[by_it(372)], at(90));
        let back = row(&keeper, &by_it(372), 90);
        assert_eq!((back.last_moved, back.minute.unwrap().packets), (Some(at(15).wall), 0.0));
        assert_eq!(back.peak, Some((Rate { packets: 10.0, bits: 8_000.0 }, at(10).wall)));
    }

    /// Whether it is new, or its counter had been given away.
    #[test]
    fn what_a_rule_counts_from_its_first_sample_on_is_of_now() {
        let of = |packets| Counter { packets, bytes: packets * 100 };
        for before in [None, Some(312)] {
            let mut keeper = Keeper::default();
            let earlier = before.map(|packets| ("new".to_owned(), of(packets)));
            keeper.take(&[Hook { resting: earlier.into_iter().collect(), ..hook(0) }], at(0));
            let now = Hook { rules: vec![sample::rule("new", of(50))], ..hook(0) };
            keeper.take(std::slice::from_ref(&now), at(5));
            let row = trend(&keeper, 5).beside(&now, at(5).wall).unwrap().row(&Row::Rule("new".to_owned()));
            assert_eq!((row.last_moved, row.minute.unwrap().packets), (Some(at(5).wall), 10.0), "{before:?}");
        }
    }

    #[test]
    fn rules_that_a_hook_does_not_have_any_more_are_forgotten() {
        let mut keeper = Keeper::default();
        let named = |policy: u64, packets: u64| {
            let counted = Counter { packets, bytes: packets * 100 };
            let rules = vec![sample::rule(&format!("rule of policy {policy}"), counted)];
            Hook { rules, ..hook(policy) }
        };
        let rules = |keeper: &Keeper| {
            let rows = keeper.0.values().flat_map(|kept| kept.rows.keys().cloned());
            rows.filter(|row| matches!(row, Row::Rule(_))).collect::<Vec<_>>()
        };
        for policy in 0..500 {
            keeper.take(&[named(policy, 1)], at(policy * 10));
            keeper.take(&[named(policy, 5)], at(policy * 10 + 5));
            assert_eq!(rules(&keeper), [Row::Rule(format!("rule of policy {policy}"))]);
        }
    }

    #[test]
    fn a_row_that_has_stopped_says_when_and_how_fast_it_was() {
        let mut keeper = Keeper::default();
        for (second, packets) in [(0, 0), (5, 50), (10, 550), (15, 600), (20, 600), (25, 600)] {
            keeper.take(&[hook(packets)], at(second));
        }
        let (trend, now) = (trend(&keeper, 25), hook(600));
        let row = trend.beside(&now, at(25).wall).unwrap().row(&Row::After(46));
        assert_eq!(row.last_moved, Some(at(15).wall));
        assert_eq!(row.peak, Some((Rate { packets: 100.0, bits: 80_000.0 }, at(10).wall)));
        assert_eq!(row.minute.unwrap().packets, 24.0);
        assert_eq!(trend.quiet(&now, &[Dscp::EF], at(25).wall), Some(Duration::from_secs(10)));
        let never = trend.beside(&now, at(25).wall).unwrap().row(&Row::After(1));
        assert_eq!((never.last_moved, never.peak), (None, None));
    }

    #[test]
    fn the_colors_of_a_meter_have_a_past_each_and_go_with_their_rule() {
        let of = |packets| Counter { packets, bytes: packets * 84 };
        let metered = |colors: [u64; 3]| {
            let rule = sample::rule("video", of(colors.iter().sum()));
            Hook { rules: vec![RuleCount { colors: Some(colors.map(of)), ..rule }], ..hook(0) }
        };
        let mut keeper = Keeper::default();
        for (seconds, red) in [(0, 0), (5, 50), (10, 50)] {
            keeper.take(&[metered([7 * seconds, 0, red])], at(seconds));
        }
        let (trend, now) = (trend(&keeper, 10), metered([70, 0, 50]));
        let beside = trend.beside(&now, at(10).wall).unwrap();
        let [green, yellow, red] = [0, 1, 2].map(|color| beside.row(&Row::Color("video".to_owned(), color)));
        assert_eq!((green.minute.unwrap(), green.last_moved), (Rate::of(of(70), 10.0), Some(at(10).wall)));
        assert_eq!((yellow.minute.unwrap().packets, yellow.last_moved, yellow.peak), (0.0, None, None));
        assert_eq!((red.minute.unwrap().packets, red.last_moved), (5.0, Some(at(5).wall)));
        assert_eq!(red.peak, Some((Rate::of(of(50), 5.0), at(5).wall)));
        // Back from a rest: of what it had given before nothing is of now.
        keeper.take(&[Hook { resting: vec![("video".to_owned(), of(120))], ..hook(0) }], at(15));
        keeper.take(&[metered([70, 0, 50])], at(90));
        assert_eq!(
            keeper.trends(at(90).steady)[0].rows.iter().filter(|(_, moved)| moved.last == at(90).wall).count(),
            0
        );
        keeper.take(&[hook(0)], at(95));
        let rows = keeper.0.values().flat_map(|kept| kept.rows.keys());
        assert_eq!(rows.filter(|row| matches!(row, Row::Color(..))).count(), 0, "its rule is gone");
    }

    #[test]
    fn a_table_that_is_out_of_the_path_is_not_asked() {
        let mut keeper = Keeper::default();
        let bypassed = |packets| Hook { state: State::Bypassed, ..hook(packets) };
        let quiet = |keeper: &Keeper, now: &Hook, seconds| {
            trend(keeper, seconds).table_quiet(now, &[Dscp::EF], at(seconds).wall)
        };
        keeper.take(&[hook(0)], at(0));
        assert_eq!(quiet(&keeper, &bypassed(5), 3), None);
        keeper.take(&[hook(5)], at(5));
        keeper.take(&[bypassed(10)], at(10));
        assert_eq!(quiet(&keeper, &bypassed(12), 12), Some(Duration::from_secs(7)));
        assert_eq!(quiet(&keeper, &hook(12), 12), Some(Duration::ZERO));
    }

    #[test]
    fn what_moved_since_the_last_sample_moved_now() {
        let mut keeper = Keeper::default();
        keeper.take(&[hook(0)], at(0));
        let (trend, now) = (trend(&keeper, 4), hook(8));
        let row = trend.beside(&now, at(4).wall).unwrap().row(&Row::Before(0, 184));
        assert_eq!((row.last_moved, row.minute.unwrap().packets), (Some(at(4).wall), 2.0));
    }

    #[test]
    fn another_attachment_has_no_past() {
        let mut keeper = Keeper::default();
        keeper.take(&[hook(500)], at(0));
        keeper.take(&[hook(600)], at(5));
        let mut anew = hook(0);
        assert!(trend(&keeper, 5).beside(&Hook { since: sample::now(), ..anew.clone() }, at(5).wall).is_none());
        // The clock was set back, and the counters began anew.
        keeper.take(&[anew.clone()], at(10));
        assert!(trend(&keeper, 10).rows.is_empty());
        anew.since = sample::now();
        keeper.take(&[anew], at(15));
        assert_eq!(trend(&keeper, 15).minute.0, 0.0);
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut keeper = Keeper::default();
        keeper.take(&[hook(0)], at(0));
        keeper.take(&[hook(5)], at(5));
        let trend = trend(&keeper, 6);
        let text = serde_json::to_string(&trend).unwrap();
        assert_eq!(serde_json::from_str::<Trend>(&text).unwrap(), trend);
    }
}
