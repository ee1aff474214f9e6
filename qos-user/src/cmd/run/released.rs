//! Hooks that somebody has detached by hand, and that the service does not attach again.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::steps::Place;

/// How long a hook may run on after somebody has said that it is to be detached: whoever waits for the lock that long has
/// given up, and what runs by then was not detached, or is attached again.
const DETACHING: Duration = Duration::from_secs(60);

/// The hooks, each since when.
#[derive(Debug, Default)]
pub struct Released(HashMap<Place, Instant>);

impl Released {
    /// Somebody is about to detach this one.
    pub fn add(&mut self, place: Place, now: Instant) {
        self.0.insert(place, now);
    }

    /// Somebody has attached there again; whether it had been detached.
    pub fn remove(&mut self, place: Place) -> bool {
        self.0.remove(&place).is_some()
    }

    /// What has the number of an interface that is gone is another one.
    pub fn forget(&mut self, gone: &HashSet<u32>) {
        self.0.retain(|place, _| !gone.contains(&place.0));
    }

    /// All of them.
    pub fn places(&self) -> HashSet<Place> {
        self.0.keys().copied().collect()
    }

    /// Takes out those that run all the same, though there was time enough to detach them.
    pub fn end(&mut self, running: &HashSet<Place>, now: Instant) -> Vec<Place> {
        let runs_on = |place: &Place, since: &Instant| {
            running.contains(place) && now.saturating_duration_since(*since) >= DETACHING
        };
        self.0.extract_if(|place, since| runs_on(place, since)).map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Direction;

    const HOOK: Place = (2, Direction::Ingress);
    const OTHER: Place = (3, Direction::Egress);

    #[test]
    fn what_was_detached_stays_so_however_long() {
        let (mut released, start) = (Released::default(), Instant::now());
        released.add(HOOK, start);
        assert_eq!(released.end(&HashSet::new(), start + 100 * DETACHING), []);
        assert_eq!(released.places(), [HOOK].into());
    }

    #[test]
    fn what_runs_on_is_not_released_for_ever() {
        let (mut released, start) = (Released::default(), Instant::now());
        released.add(HOOK, start);
        released.add(OTHER, start);
        let running = [HOOK].into();
        assert_eq!(released.end(&running, start + DETACHING - Duration::from_millis(1)), []);
        assert_eq!(released.end(&running, start + DETACHING), [HOOK]);
        assert_eq!(released.places(), [OTHER].into());
    }

    /// An interface that is made again may have the number of the one before.
    #[test]
    fn what_is_gone_or_attached_is_not_released() {
        let (mut released, start) = (Released::default(), Instant::now());
        released.add(HOOK, start);
        released.add(OTHER, start);
        released.forget(&[OTHER.0].into());
        assert_eq!(released.places(), [HOOK].into());
        assert!(released.remove(HOOK) && !released.remove(OTHER));
        assert_eq!(released.places(), HashSet::new());
    }

    /// Who detaches once more has time once more.
    #[test]
    fn time_begins_anew_with_each_detach() {
        let (mut released, start) = (Released::default(), Instant::now());
        released.add(HOOK, start);
        released.add(HOOK, start + DETACHING / 2);
        assert_eq!(released.end(&[HOOK].into(), start + DETACHING), []);
        assert_eq!(released.end(&[HOOK].into(), start + DETACHING * 3 / 2), [HOOK]);
    }
}
