//! How many events rules that log have told of in a day: what they have written into the ring buffers of their hooks.

use std::collections::HashMap;

use jiff::civil::Date;

/// The ring buffer of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// What tells it from others: that of another attachment begins anew.
    pub id: u64,
    /// How many events were ever written into it; `None` if that could not be read.
    pub written: Option<u64>,
}

/// Fed now and then with what is in the ring buffers.
#[derive(Debug, Default)]
pub struct Told {
    day: Option<Date>,
    /// What had been written into each when it was last read.
    seen: HashMap<u64, u64>,
    sum: u64,
}

impl Told {
    /// Takes in how many events there were, on the day that it is. What was told before the first time is of no day.
    pub fn take(&mut self, rings: &[Ring], today: Date) {
        let first = self.day.is_none();
        if self.day.replace(today) != Some(today) {
            self.sum = 0;
        }
        // What cannot be read now is perhaps the next time.
        let now = |ring: &Ring| Some((ring.id, ring.written.or_else(|| self.seen.get(&ring.id).copied())?));
        let now: HashMap<u64, u64> = rings.iter().filter_map(now).collect();
        let grown =
            |(id, written): (&u64, &u64)| written.saturating_sub(self.seen.get(id).copied().unwrap_or_default());
        self.sum += if first { 0 } else { now.iter().map(grown).sum() };
        self.seen = now;
    }

    /// How many there were on the day of the last time.
    #[must_use]
    pub const fn today(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_day_has_what_was_told_on_it() {
        let (monday, tuesday) = (date(2026, 11, 30), date(2026, 12, 1));
        let mut told = Told::default();
        let mut after = |written: &[Option<u64>], day| {
            let rings: Vec<Ring> = (0..).zip(written).map(|(id, written)| Ring { id, written: *written }).collect();
            told.take(&rings, day);
            told.today()
        };
        assert_eq!(after(&[Some(60)], monday), 0, "of which day these were, nobody knows");
        assert_eq!(after(&[Some(65)], monday), 5);
        assert_eq!(after(&[Some(67)], tuesday), 2);
        assert_eq!(after(&[Some(67)], tuesday), 2);
        assert_eq!(after(&[None, Some(2)], tuesday), 4, "another one begins with nothing");
        assert_eq!(after(&[Some(68), Some(2)], tuesday), 5, "what could not be read is not new");
        assert_eq!(after(&[], tuesday), 5);
    }
}
