//! What the service manager is told: ready, reloading, stopping, alive. Without one, nobody is.

use std::time::Duration;

use sd_notify::NotifyState;

use super::pace::Pace;

/// Serves; `status` says what in a few words.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reads its files again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("no clock for the service manager: {error}"),
    }
}

/// Works, at the start as well as at the end, and may go on for this long before it says so again.
pub fn working(longest: Duration) {
    let longest = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(longest)]);
}

/// Is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager does not listen: {error}");
    }
}

/// Says that it is alive, twice as often as it is asked to, unless work has been under way for too long.
pub async fn watchdog(pace: &Pace) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit >= Duration::from_millis(2)) else {
        return std::future::pending().await;
    };
    let mut beat = tokio::time::interval(limit / 2);
    loop {
        beat.tick().await;
        if pace.is_stuck() {
            tracing::error!("work at the hooks does not end; the service manager is not told that all is well");
        } else {
            tell(&[NotifyState::Watchdog]);
        }
    }
}
