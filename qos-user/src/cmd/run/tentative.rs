//! What is attached while a policy waits to be confirmed is attached for that policy, and goes with it if nobody confirms it.

use std::time::SystemTime;

use super::steps::Place;
use crate::{
    cmd::{
        attaching::{self, Asked},
        site::{self, Site},
    },
    kernel::{datapath::Hook, network::Interface, pending::Pending},
    policy::Policy,
};

/// A policy that waits to be confirmed.
#[derive(Debug)]
pub struct Trial {
    change: Pending,
    /// The policy of before.
    back: Option<Policy>,
}

impl Trial {
    /// The one that waits, if one does. Needs the lock.
    pub fn of(site: &Site) -> Option<Self> {
        // Whoever keeps deadlines says why it cannot be read.
        let change = Pending::read(&site.store).unwrap_or_default()?;
        let back = change.back.as_ref().and_then(site::parse);
        Some(Self { change, back })
    }

    /// The change for which a hook is attached now, by its beginning. What ran before, and what the policy of before binds as
    /// well, stays whatever becomes of it.
    fn attaches(&self, interface: &Interface, place: Place) -> Option<SystemTime> {
        let is_bound = self.back.as_ref().is_some_and(|back| back.names(&interface.name, place.1).is_some());
        let ran = self.change.before(place).is_some();
        (!is_bound && !ran).then_some(self.change.since)
    }
}

/// How a hook is attached where nothing was.
pub fn anew(trial: Option<&Trial>, interface: &Interface, place: Place) -> Asked {
    let attached_for = trial.and_then(|trial| trial.attaches(interface, place));
    Asked { attached_for, ..Asked::nothing() }
}

/// The same where somebody has removed the program: what was attached for a policy is so again, and what is another device's by
/// now is attached anew.
pub fn again(trial: Option<&Trial>, hook: &Hook, interface: &Interface) -> Asked {
    match attaching::begins_anew(hook, interface) {
        Some(_) => anew(trial, interface, hook.pins.place()),
        None => Asked { attached_for: hook.state.attached_for, ..Asked::nothing() },
    }
}
