//! What is remembered of a hook's counters: what they were up to five minutes ago, and for each row when it last moved and
//! how fast it was at most. Whoever has newer counters works out the rates.

use std::time::{Duration, SystemTime};

use qos_common::{
    abi::Counter,
    ds::{DsField, Dscp},
};
use serde::{Deserialize, Serialize};

use super::{
    Counts, Hook, State,
    cells::Cells,
    rates::{HookRates, Rate},
};
use crate::hook::Direction;

/// The counters of a hook at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// All but those of rules.
    pub cells: Cells,
    /// By rule: packets and bytes; of those not in force, too. One that is not there had counted nothing.
    pub rules: Vec<(String, u64, u64)>,
    /// By meter of those in force: packets and bytes of IP by color.
    #[serde(default)]
    pub colors: Vec<(String, [(u64, u64); 3])>,
    /// The root qdisc: its kind, and its drops.
    pub qdisc: Option<(String, u64)>,
}

/// A row of a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// As it came: family (0: IPv4, 1: IPv6) and DS byte.
    Before(usize, u8),
    /// As it left: codepoint.
    After(u8),
    /// From one codepoint to another.
    Remarked(u8, u8),
    /// Dropped: codepoint.
    Dropped(u8),
    /// What a rule has matched.
    Rule(String),
    /// What the table was asked for: codepoint.
    Tabled(u8),
    /// What the meter of a rule has given, in packets and bytes of IP: its number among the colors.
    Color(String, usize),
}

/// When a row last moved, and how fast it was at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// When it was last seen to have moved.
    pub last: SystemTime,
    /// The most bits a second between two samples.
    pub peak: Rate,
    /// When that was.
    pub peak_at: SystemTime,
}

/// What the service remembers of one hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Which hook: its interface's index.
    pub ifindex: u32,
    /// And its direction.
    pub direction: Direction,
    /// Since when it counts; another attachment has another past.
    pub since: SystemTime,
    /// The newest counters, and how many seconds ago they were read.
    pub newest: (f64, Moment),
    /// Those of a minute ago, or the oldest there are.
    pub minute: (f64, Moment),
    /// Those of five minutes ago, or the oldest there are.
    pub five_minutes: (f64, Moment),
    /// The rows that have moved since the service looks.
    pub rows: Vec<(Row, Moved)>,
}

/// What a row is told of beside its counter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowTrend {
    /// Its rate over the last minute, or over what is remembered of it.
    pub minute: Option<Rate>,
    /// Over the last five minutes.
    pub five_minutes: Option<Rate>,
    /// When it last moved; `None`: not since the service looks.
    pub last_moved: Option<SystemTime>,
    /// How fast it was at most, and when.
    pub peak: Option<(Rate, SystemTime)>,
}

/// A trend beside the counters of now.
#[derive(Debug)]
pub struct Beside<'a> {
    trend: &'a Trend,
    hook: &'a Hook,
    now: SystemTime,
    newest: Counts,
    minute: (Counts, f64),
    five_minutes: (Counts, f64),
}

/// Shorter, and a rate would be mostly chance.
const SHORTEST: f64 = 0.5;

impl Moment {
    /// The counters of a hook, if they could be read.
    #[must_use]
    pub fn of(hook: &Hook) -> Option<Self> {
        let counts = hook.counts.as_ref().ok()?;
        let rules = hook.ruled().map(|(name, counted)| (name.to_owned(), counted.packets, counted.bytes));
        Some(Self {
            cells: counts.cells(),
            rules: rules.collect(),
            colors: hook.colored().map(|(name, colors)| (name.to_owned(), colors.map(words))).collect(),
            qdisc: hook.qdisc.as_ref().map(|qdisc| (qdisc.kind.clone(), qdisc.drops)),
        })
    }

    /// What a rule had counted, of which the place among the rules of now is `at`: mostly it was the same then, and a thousand
    /// rules are not searched a thousand times.
    fn rule(&self, name: &str, at: usize) -> Option<Counter> {
        let is_it = |(rule, ..): &&(String, u64, u64)| rule == name;
        let (_, packets, bytes) = self.rules.get(at).filter(is_it).or_else(|| self.rules.iter().find(is_it))?;
        Some(Counter { packets: *packets, bytes: *bytes })
    }

    /// What that rule has counted since, which has counted `now` in all. A counter that has gone back was another rule's
    /// meanwhile, and began anew.
    #[must_use]
    pub fn since(&self, name: &str, at: usize, now: Counter) -> Counter {
        less(now, self.rule(name, at).unwrap_or_default())
    }

    /// The same of a color of its meter, which is the one at `at` among the meters of now. What the meter of a rule that was not
    /// in force had given nobody knows: that of its first sample is of then.
    #[must_use]
    pub fn since_color(&self, name: &str, at: usize, color: usize, now: Counter) -> Counter {
        let is_it = |(rule, _): &&(String, [(u64, u64); 3])| rule == name;
        match self.colors.get(at).filter(is_it).or_else(|| self.colors.iter().find(is_it)) {
            Some((_, then)) => {
                let (packets, bytes) = then.get(color).copied().unwrap_or_default();
                less(now, Counter { packets, bytes })
            }
            None if self.rule(name, at).is_some() => Counter::default(),
            None => now,
        }
    }
}

/// A counter that has gone back began anew.
fn less(now: Counter, then: Counter) -> Counter {
    let less = now.packets.checked_sub(then.packets).zip(now.bytes.checked_sub(then.bytes));
    less.map_or(now, |(packets, bytes)| Counter { packets, bytes })
}

const fn words(counter: Counter) -> (u64, u64) {
    (counter.packets, counter.bytes)
}

impl Row {
    /// What a row has counted; rules and their meters are counted elsewhere.
    #[must_use]
    pub fn of(&self, counts: &Counts) -> Counter {
        let dscp = |value: u8| Dscp::new(value).unwrap_or(Dscp::DF);
        match self {
            Self::Before(family, ds) => {
                let [kept, changed] = [&counts.sums.kept, &counts.sums.changed]
                    .map(|sums| sums.get(*family).map(|bytes| bytes[usize::from(*ds)]).unwrap_or_default());
                super::total([kept, changed])
            }
            Self::After(value) => counts.after(dscp(*value)),
            Self::Remarked(from, to) => counts.remarked[dscp(*from).index()][dscp(*to).index()],
            Self::Dropped(value) => counts.dropped(dscp(*value)),
            Self::Tabled(value) => counts.tabled(dscp(*value)),
            Self::Rule(_) | Self::Color(..) => Counter::default(),
        }
    }

    /// Whether it cannot move at a hook as it is: packets pass a table by that is out of the path.
    #[must_use]
    pub fn rests(&self, hook: &Hook) -> bool {
        matches!(self, Self::Tabled(_)) && hook.state == State::Bypassed
    }

    /// The rows that have counted anything.
    #[must_use]
    pub fn moved(counts: &Counts) -> Vec<(Self, Counter)> {
        let bytes = (0..=u8::MAX).map(DsField::new).map(DsField::bits);
        let before = bytes.flat_map(|ds| [Self::Before(0, ds), Self::Before(1, ds)]);
        let values = Dscp::all().map(Dscp::value);
        let after = values.clone().flat_map(|dscp| [Self::After(dscp), Self::Dropped(dscp), Self::Tabled(dscp)]);
        let changes = counts.changes().map(|(from, to, _)| Self::Remarked(from.value(), to.value()));
        let rows = before.chain(after).chain(changes);
        rows.map(|row| (row.of(counts), row))
            .filter(|(moved, _)| moved.packets > 0)
            .map(|(moved, row)| (row, moved))
            .collect()
    }
}

impl Trend {
    /// The rates of the last minute, or of what is remembered of it.
    #[must_use]
    pub fn minute(&self, hook: &Hook) -> Option<HookRates> {
        rates(&self.minute, hook)
    }

    /// The rates of the last five minutes.
    #[must_use]
    pub fn five_minutes(&self, hook: &Hook) -> Option<HookRates> {
        rates(&self.five_minutes, hook)
    }

    /// How long ago one of these codepoints last came, as of `now`; `None`: not since the service looks.
    #[must_use]
    pub fn quiet(&self, hook: &Hook, dscps: &[Dscp], now: SystemTime) -> Option<Duration> {
        let beside = self.beside(hook, now)?;
        let rows = dscps.iter().flat_map(|dscp| {
            let first = dscp.value() << 2;
            (first..=first + 3).flat_map(|ds| [Row::Before(0, ds), Row::Before(1, ds)])
        });
        beside.quiet(rows)
    }

    /// The same of what the table was asked for.
    #[must_use]
    pub fn table_quiet(&self, hook: &Hook, dscps: &[Dscp], now: SystemTime) -> Option<Duration> {
        self.beside(hook, now)?.quiet(dscps.iter().map(|dscp| Row::Tabled(dscp.value())))
    }

    /// The most bits a second of one of these codepoints as it came, between two samples.
    #[must_use]
    pub fn peak(&self, dscps: &[Dscp]) -> Option<Rate> {
        let of_these =
            |row: &Row| matches!(row, Row::Before(_, ds) if dscps.iter().any(|dscp| dscp.value() == ds >> 2));
        let peaks = self.rows.iter().filter(|(row, _)| of_these(row)).map(|(_, moved)| moved.peak);
        peaks.max_by(|one, other| one.bits.total_cmp(&other.bits))
    }

    /// The trend beside newer counters of the same attachment.
    #[must_use]
    pub fn beside<'a>(&'a self, hook: &'a Hook, now: SystemTime) -> Option<Beside<'a>> {
        let counts = hook.counts.as_ref().ok().filter(|_| hook.since == self.since)?;
        Some(Beside {
            trend: self,
            hook,
            now,
            newest: counts.less(&self.newest.1.cells)?,
            minute: (counts.less(&self.minute.1.cells)?, self.minute.0),
            five_minutes: (counts.less(&self.five_minutes.1.cells)?, self.five_minutes.0),
        })
    }
}

fn rates((seconds, then): &(f64, Moment), hook: &Hook) -> Option<HookRates> {
    if *seconds < SHORTEST { None } else { HookRates::since(then, hook, *seconds) }
}

impl Beside<'_> {
    /// How long ago the last of these rows moved.
    fn quiet(&self, rows: impl Iterator<Item = Row>) -> Option<Duration> {
        let last = rows.filter_map(|row| self.row(&row).last_moved).max()?;
        Some(self.now.duration_since(last).unwrap_or_default())
    }

    /// What there is to say of a row.
    #[must_use]
    pub fn row(&self, row: &Row) -> RowTrend {
        let remembered = self.trend.rows.iter().find(|(known, _)| known == row).map(|(_, moved)| moved);
        let just_now = (self.since(row, &self.newest, &self.trend.newest.1).packets > 0).then_some(self.now);
        RowTrend {
            minute: self.rate(row, &self.minute, &self.trend.minute.1),
            five_minutes: self.rate(row, &self.five_minutes, &self.trend.five_minutes.1),
            last_moved: just_now.or(remembered.map(|moved| moved.last)),
            peak: remembered.map(|moved| (moved.peak, moved.peak_at)),
        }
    }

    fn rate(&self, row: &Row, (moved, seconds): &(Counts, f64), then: &Moment) -> Option<Rate> {
        (*seconds >= SHORTEST).then(|| Rate::of(self.since(row, moved, then), *seconds))
    }

    /// What a row has counted since `then`; `moved` is the same for all but rules and meters.
    fn since(&self, row: &Row, moved: &Counts, then: &Moment) -> Counter {
        if row.rests(self.hook) {
            return Counter::default();
        }
        let since = match row {
            Row::Rule(name) => {
                let mut rules = self.hook.rules.iter().enumerate();
                let found = rules.find(|(_, count)| count.rule.name == *name);
                found.map(|(at, count)| then.since(name, at, count.counted))
            }
            Row::Color(name, color) => {
                let found = self.hook.colored().enumerate().find(|(_, (rule, _))| rule == name);
                found.and_then(|(at, (_, colors))| Some(then.since_color(name, at, *color, *colors.get(*color)?)))
            }
            _ => Some(row.of(moved)),
        };
        since.unwrap_or_default()
    }
}
