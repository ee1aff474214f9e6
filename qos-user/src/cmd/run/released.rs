//! Hooks that somebody has detached by hand, and that the service does not attach again.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::steps::Place;
use crate::kernel::device_ref::DeviceRef;

/// How long a hook may run on after somebody has said that it is to be detached: whoever waits for the lock that long has
/// given up, and what runs by then was not detached, or is attached again.
const DETACHING: Duration = Duration::from_secs(60);

/// The hooks.
#[derive(Debug, Default)]
pub struct Released(HashMap<Place, Since>);

/// Since when one is, and at which device, if that is known.
#[derive(Debug)]
struct Since(Instant, Option<DeviceRef>);

impl Released {
    /// Somebody is about to detach this one.
    pub fn add(&mut self, place: Place, device: Option<DeviceRef>, now: Instant) {
        self.0.insert(place, Since(now, device));
    }

    /// Somebody has attached there again; whether it had been detached.
    pub fn remove(&mut self, place: Place) -> bool {
        self.0.remove(&place).is_some()
    }

    /// Takes out those of devices that are gone: nobody has detached what has such a number by now. No event of the kernel's has
    /// to be heard for that.
    pub fn forget_gone(&mut self, is_listed: impl Fn(u32) -> bool) {
        self.0.retain(|place, Since(_, device)| match device.as_ref().map(DeviceRef::is_there) {
            Some(Ok(is_there)) => is_there,
            Some(Err(_)) | None => is_listed(place.0),
        });
    }

    /// All of them.
    pub fn places(&self) -> HashSet<Place> {
        self.0.keys().copied().collect()
    }

    /// Takes out those that run all the same, though there was time enough to detach them.
    pub fn end(&mut self, running: &HashSet<Place>, now: Instant) -> Vec<Place> {
        let runs_on = |place: &Place, Since(since, _): &Since| {
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
        released.add(HOOK, None, start);
        assert_eq!(released.end(&HashSet::new(), start + 100 * DETACHING), []);
        assert_eq!(released.places(), [HOOK].into());
    }

    #[test]
    fn what_runs_on_is_not_released_for_ever() {
        let (mut released, start) = (Released::default(), Instant::now());
        released.add(HOOK, None, start);
        released.add(OTHER, None, start);
        let running = [HOOK].into();
        assert_eq!(released.end(&running, start + DETACHING - Duration::from_millis(1)), []);
        assert_eq!(released.end(&running, start + DETACHING), [HOOK]);
        assert_eq!(released.places(), [OTHER].into());
    }

    #[test]
    fn what_is_gone_or_attached_is_not_released() {
        let (mut released, start) = (Released::default(), Instant::now());
        released.add(HOOK, None, start);
        released.add(OTHER, None, start);
        released.forget_gone(|number| number != OTHER.0);
        assert_eq!(released.places(), [HOOK].into());
        assert!(released.remove(HOOK) && !released.remove(OTHER));
        assert_eq!(released.places(), HashSet::new());
    }

    /// Who detaches once more has time once more.
    #[test]
    fn time_begins_anew_with_each_detach() {
        let (mut released, start) = (Released::default(), Instant::now());
        released.add(HOOK, None, start);
        released.add(HOOK, None, start + DETACHING / 2);
        assert_eq!(released.end(&[HOOK].into(), start + DETACHING), []);
        assert_eq!(released.end(&[HOOK].into(), start + DETACHING * 3 / 2), [HOOK]);
    }
}
