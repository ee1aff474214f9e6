//! The kernel's tick, in which a program notes when the last packet came: reading it costs a load, a clock 30 ns.

use std::{fs, time::Duration};

use nix::time::{ClockId, clock_getres, clock_gettime};

/// Ticks a second (`CONFIG_HZ`): the coarse clocks advance by one.
#[must_use]
pub fn per_second() -> u32 {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map_or(4_000_000, |resolution| resolution.tv_nsec());
    u32::try_from(1_000_000_000 / tick.max(1)).unwrap_or(250)
}

/// The tick that it is: as the kernel prints it for root, else reckoned from the time since boot.
#[must_use]
pub fn now() -> u64 {
    printed().unwrap_or_else(reckoned)
}

/// How long before the tick `now` another one was; `None` for 0, which no packet has.
#[must_use]
pub fn since(tick: u64, now: u64) -> Option<Duration> {
    let ticks = (tick != 0).then(|| now.saturating_sub(tick))?;
    Some(Duration::from_secs(ticks) / per_second())
}

fn printed() -> Option<u64> {
    let list = fs::read_to_string("/proc/timer_list").ok()?;
    list.lines().find_map(|line| line.trim().strip_prefix("jiffies: ")?.trim().parse().ok())
}

/// Linux begins five minutes before the 32-bit counter would wrap, so that drivers meet the wrap early.
fn reckoned() -> u64 {
    let rate = u64::from(per_second());
    let first = (1_u64 << 32) - 300 * rate;
    let uptime = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    first + uptime.as_millis() as u64 * rate / 1000
}
