//! The clock of deadlines: CLOCK_BOOTTIME goes on while the host sleeps, and nobody sets it.

use std::{fmt, time::Duration};

use nix::{
    errno::Errno,
    sys::time::TimeSpec,
    time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep},
};
use serde::{Deserialize, Serialize};

/// A moment since this host was booted. Pins end with the boot too, so one that is kept in a pin stays meaningful.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BootTime {
    /// Nanoseconds since boot.
    nanoseconds: u64,
}

impl BootTime {
    /// Now.
    ///
    /// # Errors
    ///
    /// That the kernel has no such clock, which every one since 2.6.39 has.
    pub fn now() -> nix::Result<Self> {
        let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?);
        Ok(Self { nanoseconds: u64::try_from(now.as_nanos()).map_err(|_in_584_years| Errno::EOVERFLOW)? })
    }

    /// Later by `time`.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { nanoseconds: self.nanoseconds.saturating_add(time) }
    }

    /// How long from `now` until then; nothing if it is past.
    #[must_use]
    pub const fn left(self, now: Self) -> Duration {
        Duration::from_nanos(self.nanoseconds.saturating_sub(now.nanoseconds))
    }

    /// Sleeps until then; a signal may end it early.
    pub fn sleep_until(self) {
        let until = TimeSpec::from(Duration::from_nanos(self.nanoseconds));
        let _woken = clock_nanosleep(ClockId::CLOCK_BOOTTIME, ClockNanosleepFlags::TIMER_ABSTIME, &until);
    }
}

impl fmt::Debug for BootTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after boot", Duration::from_nanos(self.nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_ahead_is_reached_by_sleeping() {
        let now = BootTime::now().unwrap();
        let then = now.plus(Duration::from_millis(20));
        assert_eq!(then.left(now), Duration::from_millis(20));
        then.sleep_until();
        let later = BootTime::now().unwrap();
        assert!(later >= then, "{later:?} {then:?}");
        assert_eq!(then.left(later), Duration::ZERO);
    }

    #[test]
    fn the_end_of_time_is_far_and_no_panic() {
        let end = BootTime::now().unwrap().plus(Duration::MAX);
        assert!(end.left(BootTime::now().unwrap()) > Duration::from_secs(1 << 30));
    }
}
