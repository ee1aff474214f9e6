//! What a device and its qdisc have counted since a hook was attached.

use crate::{
    kernel::state::QdiscBaseline,
    snapshot::{Device, Qdisc},
};

/// A driver that was reset began at zero, with all of its counters.
#[must_use]
pub fn since(now: Device, then: Device) -> Device {
    let less = |now: u64, then: u64| now.checked_sub(then);
    less(now.packets, then.packets)
        .zip(less(now.bytes, then.bytes))
        .zip(less(now.drops, then.drops))
        .map_or(now, |((packets, bytes), drops)| Device { packets, bytes, drops })
}

/// A qdisc that is another one began at zero.
#[must_use]
pub fn qdisc_since(now: QdiscBaseline, then: &QdiscBaseline) -> Qdisc {
    let earlier = if is_another(&now, then) { 0 } else { then.drops };
    Qdisc { kind: now.kind, drops: now.drops.wrapping_sub(earlier) & u64::from(u32::MAX) }
}

/// A qdisc with another handle or kind was made since. Drops are 32 bits wide: far below what they were they have wrapped, a
/// little below the qdisc was made again under its handle.
#[must_use]
pub fn is_another(now: &QdiscBaseline, then: &QdiscBaseline) -> bool {
    const HALF: u64 = 1 << 31;
    let same = (&now.kind, now.handle) == (&then.kind, then.handle);
    let made_again = now.drops < then.drops && then.drops - now.drops < HALF;
    !same || made_again
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(then: u64, now: u64) -> u64 {
        let qdisc = |drops| QdiscBaseline { kind: "fq_codel".to_owned(), handle: 1, drops };
        qdisc_since(qdisc(now), &qdisc(then)).drops
    }

    #[test]
    fn a_qdisc_made_again_began_at_zero_and_one_that_wrapped_did_not() {
        assert_eq!(drops(7, 9), 2);
        assert_eq!(drops(7, 0), 0);
        assert_eq!(drops(7, 3), 3);
        assert_eq!(drops(u64::from(u32::MAX), 4), 5);
    }

    #[test]
    fn a_driver_that_was_reset_counts_from_there() {
        let device = |packets, drops| Device { packets, bytes: 100 * packets, drops };
        assert_eq!(since(device(9, 3), device(7, 1)), device(2, 2));
        assert_eq!(since(device(2, 0), device(7, 1)), device(2, 0));
    }
}
