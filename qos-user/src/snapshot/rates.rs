//! How fast it goes: the difference of two snapshots, per second.

use std::time::Duration;

use qos_common::{abi::Counter, ds::Dscp};

use super::{Counts, Hook, RuleCount, Snapshot, trend::Moment};
use crate::hook::Direction;

/// How fast something is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Rate {
    /// Packets a second.
    pub packets: f64,
    /// Bits a second, of frames on the wire without FCS.
    pub bits: f64,
}

impl Rate {
    /// That of so much in so many seconds.
    #[must_use]
    pub fn of(counter: Counter, seconds: f64) -> Self {
        Self { packets: counter.packets as f64 / seconds, bits: counter.bytes as f64 * 8.0 / seconds }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bits: self.bits + other.bits }
    }
}

/// The rates of one hook.
#[derive(Clone, Debug, PartialEq)]
pub struct HookRates {
    /// Which hook: its interface's index.
    pub ifindex: u32,
    /// And its direction.
    pub direction: Direction,
    /// Over how many seconds, more than none.
    pub seconds: f64,
    /// By codepoint, as it came.
    pub before: [Rate; Dscp::COUNT],
    /// By codepoint, as it left.
    pub after: [Rate; Dscp::COUNT],
    /// By codepoint, what a policy dropped.
    pub dropped: [Rate; Dscp::COUNT],
    /// By rule, in the order of the later snapshot.
    pub rules: Vec<Rate>,
    /// By codepoint, what the table was asked for.
    pub tabled: [Rate; Dscp::COUNT],
    /// From, to; only what moved.
    pub remarked: Vec<(Dscp, Dscp, Rate)>,
    /// Packets a second that the root qdisc dropped; `None` where there is none to ask.
    pub qdisc_drops: Option<f64>,
}

/// The rates of all hooks that two snapshots have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates(Vec<HookRates>);

impl Rates {
    /// What moved between two snapshots taken `elapsed` apart.
    ///
    /// `elapsed` comes from a clock that nobody sets; the times within the snapshots may have jumped. A hook that
    /// was attached anew in between has no rates.
    #[must_use]
    pub fn between(earlier: &Snapshot, later: &Snapshot, elapsed: Duration) -> Self {
        if elapsed.is_zero() {
            return Self::default();
        }
        let hooks = later.hooks.iter().filter_map(|now| {
            let same = |then: &&Hook| then.ifindex == now.ifindex && then.direction == now.direction;
            HookRates::between(earlier.hooks.iter().find(same)?, now, elapsed.as_secs_f64())
        });
        Self(hooks.collect())
    }

    /// Those of the last minute, where the service remembers it.
    #[must_use]
    pub fn of_the_minute(snapshot: &Snapshot) -> Self {
        let rates = snapshot.hooks.iter().filter_map(|hook| hook.trend.as_ref()?.minute(hook));
        Self(rates.collect())
    }

    /// The same, if it remembers those of every hook that can be read.
    #[must_use]
    pub fn remembered(snapshot: &Snapshot) -> Option<Self> {
        let rates = Self::of_the_minute(snapshot);
        let known = snapshot.hooks.iter().all(|hook| hook.counts.is_err() || rates.of(hook).is_some());
        (known && !snapshot.hooks.is_empty()).then_some(rates)
    }

    /// The rates of a hook, if it has any.
    #[must_use]
    pub fn of(&self, hook: &Hook) -> Option<&HookRates> {
        self.0.iter().find(|rates| rates.ifindex == hook.ifindex && rates.direction == hook.direction)
    }
}

impl HookRates {
    fn between(earlier: &Hook, later: &Hook, seconds: f64) -> Option<Self> {
        if earlier.since != later.since {
            return None;
        }
        Self::since(&Moment::of(earlier)?, later, seconds)
    }

    /// What moved since an earlier moment of the same attachment, so many seconds ago.
    #[must_use]
    pub fn since(then: &Moment, later: &Hook, seconds: f64) -> Option<Self> {
        let moved = later.counts.as_ref().ok()?.less(&then.cells)?;
        let qdisc = then.qdisc.as_ref().zip(later.qdisc.as_ref()).filter(|((kind, _), now)| *kind == now.kind);
        Some(Self {
            ifindex: later.ifindex,
            direction: later.direction,
            seconds,
            before: by_dscp(&moved, seconds, Counts::before),
            after: by_dscp(&moved, seconds, Counts::after),
            dropped: by_dscp(&moved, seconds, Counts::dropped),
            rules: later.rules.iter().enumerate().map(|(at, now)| rule(then, now, at, seconds)).collect(),
            tabled: by_dscp(&moved, seconds, Counts::tabled),
            remarked: moved.changes().map(|(from, to, counter)| (from, to, Rate::of(counter, seconds))).collect(),
            qdisc_drops: qdisc.map(|((_, then), now)| now.drops.saturating_sub(*then) as f64 / seconds),
        })
    }
}

fn rule(then: &Moment, now: &RuleCount, at: usize, seconds: f64) -> Rate {
    Rate::of(then.since(&now.rule.name, at, now.counted), seconds)
}

fn by_dscp(moved: &Counts, seconds: f64, what: fn(&Counts, Dscp) -> Counter) -> [Rate; Dscp::COUNT] {
    let mut rates = [Rate::default(); Dscp::COUNT];
    for (rate, dscp) in rates.iter_mut().zip(Dscp::all()) {
        *rate = Rate::of(what(moved, dscp), seconds);
    }
    rates
}

/// The sum of some rates.
pub fn total(rates: impl IntoIterator<Item = Rate>) -> Rate {
    rates.into_iter().fold(Rate::default(), Rate::plus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::sample;

    #[test]
    fn rates_are_the_difference_over_the_time() {
        let earlier = sample::snapshot();
        let mut later = earlier.clone();
        let counts = later.hooks[1].counts.as_mut().unwrap();
        counts.sums.kept[0][184].add(Counter { packets: 60, bytes: 6_000 });
        counts.sums.changed[0][184].add(Counter { packets: 40, bytes: 4_000 });
        counts.remarked[46][0].add(Counter { packets: 40, bytes: 4_000 });
        let rates = Rates::between(&earlier, &later, Duration::from_secs(2));
        let hook = rates.of(&later.hooks[1]).unwrap();
        assert_eq!(hook.before[46], Rate { packets: 50.0, bits: 40_000.0 });
        assert_eq!(hook.after[46], Rate { packets: 30.0, bits: 24_000.0 });
        assert_eq!(hook.after[0], Rate { packets: 20.0, bits: 16_000.0 });
        assert_eq!(hook.remarked, [(Dscp::EF, Dscp::DF, Rate { packets: 20.0, bits: 16_000.0 })]);
        assert_eq!(rates.of(&later.hooks[0]).unwrap().before, [Rate::default(); 64]);
    }

    #[test]
    fn a_rule_has_its_rate_wherever_it_stands_by_now() {
        let mut hook = sample::snapshot().hooks.remove(0);
        let named = |name: &str, packets: u64| sample::rule(name, Counter { packets, bytes: packets * 100 });
        hook.rules = vec![named("one", 1), named("two", 20)];
        hook.resting = vec![("back".to_owned(), Counter { packets: 300, bytes: 0 })];
        let then = Moment::of(&hook).unwrap();
        hook.rules = vec![named("new", 30), named("one", 3), named("back", 304), named("two", 26)];
        let rates = HookRates::since(&then, &hook, 2.0).unwrap().rules;
        assert_eq!(rates.iter().map(|rate| rate.packets).collect::<Vec<_>>(), [15.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_hook_attached_anew_or_unreadable_has_no_rates() {
        let earlier = sample::snapshot();
        let mut later = earlier.clone();
        later.hooks[0].since += Duration::from_secs(1);
        later.hooks[1].counts = Err("gone".to_owned());
        let rates = Rates::between(&earlier, &later, Duration::from_secs(1));
        assert_eq!(rates, Rates::default());
        assert_eq!(Rates::between(&earlier, &earlier, Duration::ZERO), Rates::default());
    }
}
