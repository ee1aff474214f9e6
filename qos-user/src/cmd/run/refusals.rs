//! Who was refused a change, and how often: anybody may ask for one as often as they like, and neither the log nor the
//! directory is to suffer from it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long nothing more is said of somebody who was refused.
pub const QUIET: Duration = Duration::from_secs(60);

/// How long somebody who is no member is taken for none without asking the directory again: nobody notices, and who asks
/// without end has it asked once.
const KNOWN: Duration = Duration::from_secs(1);

/// How many users are told apart; all others are together.
const MOST: usize = 64;

/// Those who were refused of late; `None` are all for whom there was no room.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<HashMap<Option<u32>, Refused>>);

#[derive(Debug)]
struct Refused {
    said: Instant,
    left_out: u64,
    /// When the directory last had them in no list of the group of this name.
    stranger: Option<(String, Instant)>,
}

/// What is to become of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is said.
    Now,
    /// It is left out, as the first since one was said: how many were is to be said at that time.
    First {
        /// Of whom.
        whose: Option<u32>,
        /// When.
        until: Instant,
    },
    /// It is left out, as others before it.
    More,
}

impl Refusals {
    /// Notes that a user was refused at that time, perhaps since the directory has them in no list of a group.
    pub fn note(&self, uid: u32, stranger_to: Option<&str>, now: Instant) -> Told {
        let mut refused = self.refused();
        refused.retain(|_, one| one.left_out > 0 || now < one.said + QUIET);
        let whose = (refused.len() < MOST || refused.contains_key(&Some(uid))).then_some(uid);
        let told = match refused.entry(whose) {
            Entry::Vacant(vacant) => {
                vacant.insert(Refused { said: now, left_out: 0, stranger: None });
                Told::Now
            }
            Entry::Occupied(mut one) => one.get_mut().leave_out(whose),
        };
        let one = whose.and_then(|_| refused.get_mut(&whose));
        if let Some((one, group)) = one.zip(stranger_to).filter(|(one, group)| !one.is_stranger(group, now)) {
            one.stranger = Some((group.to_owned(), now));
        }
        told
    }

    /// How many were left out of somebody, of whom the next is said again.
    pub fn settle(&self, whose: Option<u32>) -> u64 {
        self.refused().remove(&whose).map_or(0, |one| one.left_out)
    }

    /// Whether the directory has just said that a user is in no list of that group.
    pub fn has_stranger(&self, uid: u32, group: &str, now: Instant) -> bool {
        self.refused().get(&Some(uid)).is_some_and(|one| one.is_stranger(group, now))
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<Option<u32>, Refused>> {
        // What a panic left is whole: each change is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refused {
    fn leave_out(&mut self, whose: Option<u32>) -> Told {
        self.left_out += 1;
        if self.left_out == 1 { Told::First { whose, until: self.said + QUIET } } else { Told::More }
    }

    fn is_stranger(&self, group: &str, now: Instant) -> bool {
        self.stranger.as_ref().is_some_and(|(of, at)| of == group && now < *at + KNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn one_in_a_minute_is_said_of_each_and_how_many_were_left_out() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        assert_eq!([1, 2].map(|uid| refusals.note(uid, None, start)), [Told::Now; 2]);
        assert_eq!(refusals.note(1, None, at(start, 5)), Told::First { whose: Some(1), until: start + QUIET });
        (6..59).for_each(|second| assert_eq!(refusals.note(1, None, at(start, second)), Told::More));
        assert_eq!(refusals.settle(Some(1)), 54);
        assert_eq!(refusals.note(1, None, at(start, 61)), Told::Now);
        assert_eq!(refusals.note(2, None, at(start, 61)), Told::Now, "nothing was left out");
    }

    #[test]
    fn memory_is_bounded_however_many_there_are() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let said = (0..10_000).filter(|uid| refusals.note(*uid, Some("netops"), start) == Told::Now).count();
        assert_eq!((said, refusals.refused().len()), (MOST + 1, MOST + 1));
        assert_eq!(refusals.settle(None), 10_000 - MOST as u64 - 1);
        assert_eq!(refusals.note(3, None, at(start, 61)), Told::Now, "there is room again");
        assert_eq!(refusals.refused().len(), 1);
    }

    #[test]
    fn a_stranger_is_one_for_a_moment_and_for_that_group() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let half = KNOWN / 2;
        // Who goes on asking is none for no longer than that.
        for now in [start, start + half] {
            refusals.note(1, Some("netops"), now);
        }
        refusals.note(2, None, start);
        assert!(refusals.has_stranger(1, "netops", start + half));
        assert!(!refusals.has_stranger(2, "netops", start) && !refusals.has_stranger(1, "staff", start));
        assert!(!refusals.has_stranger(1, "netops", start + KNOWN));
    }
}
