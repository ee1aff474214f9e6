//! Two-rate meters whose buckets are atomic words give away what the buckets have and no more, whoever comes when.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

use qos_common::meter::{Algorithm, Arrival, Charge, Color, Meter, Word};

const THREADS: usize = 4;
const PACKETS: usize = 100_000;

struct Shared<'a>(&'a AtomicU64);

impl Word for Shared<'_> {
    fn update(&mut self, next: impl Fn(u64) -> Option<u64>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// Each thread offers its packets, one every microsecond of the same clock.
fn offer(meter: &Meter) -> [usize; 3] {
    let (committed, other) = (AtomicU64::new(0), AtomicU64::new(0));
    let counts = [const { AtomicUsize::new(0) }; 3];
    let run = || {
        for number in 0..PACKETS {
            let now = 1_000_000_000 + number as u64 * 1_000;
            let arrival = Arrival { color: Color::Green, charge: Charge::single(1_000), now };
            let (mut committed, mut other) = (Shared(&committed), Shared(&other));
            let color = match meter.algorithm() {
                Algorithm::Rfc4115 => meter.rfc4115(&mut committed, &mut other, &arrival),
                Algorithm::TrTcm | Algorithm::SrTcm => meter.two_rates(&mut committed, &mut other, &arrival),
            };
            counts[color as usize].fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(run))));
    counts.map(AtomicUsize::into_inner)
}

#[test]
fn no_thread_gets_what_another_has_taken() {
    // In 0.1 s: 10 and 20 MB, and a burst; 400 MB are offered.
    let exact = |got: usize, expected: usize| assert!(got.abs_diff(expected) <= 2, "{got}, not {expected}");
    let [green, yellow, _] = offer(&Meter::new(Algorithm::TrTcm, (100_000_000, 1_000_000), (200_000_000, 1_000_000)));
    exact(green, 11_000);
    exact(green + yellow, 21_000);
    // As long as C has its burst, E is full and loses what comes in: so the burst is a small one.
    let [green, yellow, _] = offer(&Meter::new(Algorithm::Rfc4115, (100_000_000, 5_000), (200_000_000, 1_000_000)));
    exact(green, 10_005);
    exact(yellow, 21_000);
}
