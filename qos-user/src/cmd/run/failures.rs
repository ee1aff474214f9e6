//! What could not be done at a hook: said once, and then left alone for a while.
//!
//! An attempt by clsact makes a qdisc and removes it again. The kernel takes the device out of service for that, some
//! milliseconds each time, and tells of it as of any change: an attempt at each event would be the cause of the next.

use std::collections::HashMap;

use super::steps::Place;
use crate::error::Failure;

/// What could not be done, by hook.
#[derive(Debug, Default)]
pub struct Failures(HashMap<Place, Failed>);

#[derive(Debug)]
struct Failed {
    message: String,
    /// The policy of which it was a part; another one may be possible.
    policy: Option<String>,
    /// Whether it is left alone until all is tried again.
    rests: bool,
}

impl Failures {
    /// What was said of a hook.
    pub fn message(&self, place: Place) -> Option<&str> {
        self.0.get(&place).map(|failed| failed.message.as_str())
    }

    /// Whether it is not yet to be tried again, as this policy wants it.
    pub fn rests(&self, place: Place, policy: Option<&str>) -> bool {
        self.0.get(&place).is_some_and(|failed| failed.rests && failed.policy.as_deref() == policy)
    }

    /// Everything may be tried again.
    pub fn wake(&mut self) {
        self.wake_where(|_| true);
    }

    /// What concerns an interface may be tried again: it is not what it was.
    pub fn wake_at(&mut self, ifindex: u32) {
        self.wake_where(|place| place.0 == ifindex);
    }

    fn wake_where(&mut self, is_meant: impl Fn(Place) -> bool) {
        let meant = self.0.iter_mut().filter(|(place, _)| is_meant(**place));
        meant.for_each(|(_, failed)| failed.rests = false);
    }

    /// Notes a failure; whether it has not just been said. What was refused before the device was touched costs nothing to
    /// ask again.
    pub fn note(&mut self, place: Place, policy: Option<&str>, error: &anyhow::Error) -> bool {
        let message = format!("{error:#}");
        let refused = error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == "hidden-pins");
        let failed = Failed { message, policy: policy.map(str::to_owned), rests: !refused };
        let is_new = self.message(place) != Some(&failed.message);
        self.0.insert(place, failed);
        is_new
    }

    /// Forgets what was done, or needs not be done any more.
    pub fn keep(&mut self, is_left: impl Fn(Place) -> bool) {
        self.0.retain(|place, _| is_left(*place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Direction;

    const LAN: Place = (2, Direction::Ingress);
    const WAN: Place = (3, Direction::Egress);

    #[test]
    fn what_failed_rests_until_something_may_be_otherwise() {
        let mut failures = Failures::default();
        let error = anyhow::anyhow!("no memory");
        assert!(failures.note(LAN, Some("a"), &error) && failures.note(WAN, Some("a"), &error));
        assert!(failures.rests(LAN, Some("a")) && !failures.rests(LAN, Some("b")), "another policy");
        failures.wake_at(2);
        assert!(!failures.rests(LAN, Some("a")) && failures.rests(WAN, Some("a")));
        assert!(!failures.note(LAN, Some("a"), &error), "said already");
        failures.wake();
        assert!(!failures.rests(WAN, Some("a")));
        failures.keep(|place| place == LAN);
        assert_eq!((failures.message(LAN), failures.message(WAN)), (Some("no memory"), None));
    }

    #[test]
    fn what_was_refused_beforehand_does_not_rest() {
        let mut failures = Failures::default();
        failures.note(LAN, None, &Failure::new("hidden-pins", "below another mount").into());
        assert!(!failures.rests(LAN, None));
    }
}
