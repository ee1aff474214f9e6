//! How work at the hooks goes on: whoever watches sees each program and each hook, and it ends between two of them when the
//! service ends.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::notify;
use crate::progress::Watch;

/// How long work at one hook may take before something must be wrong.
pub const STUCK: Duration = Duration::from_secs(120);

/// How often the service manager hears that it goes on.
const TOLD: Duration = Duration::from_secs(1);

/// What is known of the work under way.
#[derive(Debug, Default)]
pub struct Pace {
    moments: Mutex<Moments>,
    ending: AtomicBool,
}

#[derive(Debug, Default)]
struct Moments {
    /// When work last came on, while there is some.
    moved: Option<Instant>,
    told: Option<Instant>,
}

impl Pace {
    /// Work begins, or has ended.
    pub fn works(&self, begins: bool) {
        self.moments().moved = begins.then(Instant::now);
    }

    /// It comes to the next hook: whether it is to.
    pub fn goes_on(&self) -> bool {
        self.step();
        !self.is_to_end()
    }

    fn is_to_be_told(&self, now: Instant) -> bool {
        let mut moments = self.moments();
        moments.moved = moments.moved.map(|_| now);
        let is_time = moments.told.is_none_or(|told| now.duration_since(told) >= TOLD);
        if is_time {
            moments.told = Some(now);
        }
        is_time
    }

    /// The program or the hook at hand is the last.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether it does not go on.
    pub fn is_stuck(&self, now: Instant) -> bool {
        self.moments().moved.is_some_and(|moved| now.duration_since(moved) > STUCK)
    }

    fn moments(&self) -> MutexGuard<'_, Moments> {
        // What a panic left is whole: each change is one assignment.
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Pace {
    fn step(&self) {
        // Nobody who looks at the pace waits until that is told.
        if self.is_to_be_told(Instant::now()) {
            notify::working(STUCK);
        }
    }

    fn is_to_end(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}
