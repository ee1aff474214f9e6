//! How many events rules that log have told of in a day: what they matched and did not suppress.

use std::{collections::HashMap, time::SystemTime};

use jiff::civil::Date;

use super::Hook;
use crate::hook::Direction;

/// An attachment of a hook.
type Attachment = (u32, Direction, SystemTime);

/// Fed now and then with what hooks have counted.
#[derive(Debug, Default)]
pub struct Told {
    day: Option<Date>,
    /// What each attachment had told in all when it was last looked at.
    seen: HashMap<Attachment, u64>,
    sum: u64,
}

impl Told {
    /// Takes in what hooks have counted, on the day that it is. What was told before the first time is of no day.
    pub fn take(&mut self, hooks: &[Hook], today: Date) {
        let first = self.day.is_none();
        if self.day.replace(today) != Some(today) {
            self.sum = 0;
        }
        let seen: HashMap<_, _> =
            hooks.iter().map(|hook| ((hook.ifindex, hook.direction, hook.since), told(hook))).collect();
        let grown = |(attachment, now): (&Attachment, &u64)| {
            now.saturating_sub(self.seen.get(attachment).copied().unwrap_or_default())
        };
        self.sum += if first { 0 } else { seen.iter().map(grown).sum() };
        self.seen = seen;
    }

    /// How many there were on the day of the last time.
    #[must_use]
    pub const fn today(&self) -> u64 {
        self.sum
    }
}

fn told(hook: &Hook) -> u64 {
    let logging = hook.rules.iter().filter(|rule| rule.rule.log.is_some());
    logging.map(|rule| rule.counted.packets.saturating_sub(rule.suppressed)).sum()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use qos_common::abi::Counter;

    use super::*;
    use crate::{
        rules::model::{Action, LogRate, Rule},
        snapshot::{RuleCount, sample},
    };

    /// A hook of which one rule that logs has matched so many packets, and not told of some of them.
    fn logging(packets: u64, suppressed: u64) -> Vec<Hook> {
        let mut hook = sample::snapshot().hooks.remove(0);
        let rule = Rule {
            name: "seen".to_owned(),
            line: 1,
            on: Vec::new(),
            conditions: Vec::new(),
            action: Action::None,
            count: false,
            log: Some(LogRate { events: core::num::NonZero::<u32>::MIN, seconds: 1 }),
            priority: None,
            mark: None,
        };
        let counted = Counter { packets, bytes: 0 };
        hook.rules = vec![RuleCount { rule, counted, since: None, last: None, suppressed, colors: None }];
        vec![hook]
    }

    #[test]
    fn a_day_has_what_was_told_on_it() {
        let (monday, tuesday) = (date(2026, 11, 30), date(2026, 12, 1));
        let mut told = Told::default();
        let mut after = |hooks: &[Hook], day| {
            told.take(hooks, day);
            told.today()
        };
        assert_eq!(after(&logging(100, 40), monday), 0, "of which day these were, nobody knows");
        assert_eq!(after(&logging(110, 45), monday), 5);
        assert_eq!(after(&logging(112, 45), tuesday), 2);
        assert_eq!(after(&logging(112, 45), tuesday), 2);
        let mut anew = logging(3, 1);
        anew[0].since += std::time::Duration::from_secs(1);
        assert_eq!(after(&anew, tuesday), 4, "attached anew, it counts from zero");
        assert_eq!(after(&[], tuesday), 4);
        let mut silent = logging(500, 0);
        silent[0].rules[0].rule.log = None;
        assert_eq!(after(&silent, tuesday), 4);
    }
}
