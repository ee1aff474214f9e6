//! The buckets of meters, which all CPUs share, and the two ways to change them in one step.

use core::{arch::asm, ptr};

use aya_ebpf::{bindings::bpf_spin_lock, btf_maps, helpers, macros::btf_map};
use qos_common::meter::{Algorithm, Arrival, Buckets, Color, METER_SLOTS, Meter, MeterRecord, Word};

/// The buckets of a meter. The kernel finds the lock by the name of its type, in the BTF of the map.
#[repr(C)]
struct LockedBuckets {
    lock: bpf_spin_lock,
    reserved: u32,
    buckets: Buckets,
}

#[btf_map]
static BUCKETS: btf_maps::Array<LockedBuckets, METER_SLOTS> = btf_maps::Array::new();

/// How often a packet tries to take its tokens. It fails where another one took some between its look and its step; it
/// looks again at once, with the word in this CPU's cache.
const ATTEMPTS: usize = 8;

/// The buckets of a meter's slot.
#[inline(always)]
pub fn of(meter: &MeterRecord) -> Option<Shared> {
    BUCKETS.get_ptr_mut(meter.slot).map(Shared)
}

/// Buckets in the map, which live as long as the program.
#[derive(Clone, Copy)]
pub struct Shared(*mut LockedBuckets);

impl Shared {
    /// Meters a packet by the lock of its buckets. Under it `arrival` is made, from what is in the map: made before, it would
    /// have to be kept over the call.
    #[inline(always)]
    pub fn color_by_lock(self, meter: &MeterRecord, arrival: impl Fn() -> Arrival) -> Color {
        // SAFETY: made of a map's value. A slot belongs to one meter, and whoever has that meter by lock holds it here; for the
        // one moment at which another program may swap in it, see decision 0005: words are whole, a packet's tokens may be
        // lost. Between taking the lock and giving it back nothing is called: the verifier sees to that.
        unsafe {
            helpers::bpf_spin_lock(&raw mut (*self.0).lock);
            let color = meter.meter.color(&mut (*self.0).buckets, &arrival());
            helpers::bpf_spin_unlock(&raw mut (*self.0).lock);
            color
        }
    }

    /// Meters a packet by compare-and-swap where the buckets do not depend on each other, and else by the lock. Programs
    /// with it need Linux 5.12.
    #[inline(always)]
    pub fn color_by_swap(self, meter: &MeterRecord, arrival: impl Fn() -> Arrival) -> Color {
        let numbers: &Meter = &meter.meter;
        let two_rates = match numbers.algorithm() {
            Algorithm::SrTcm => return self.color_by_lock(meter, arrival),
            Algorithm::TrTcm => true,
            Algorithm::Rfc4115 => false,
        };
        let arrival = &arrival();
        // SAFETY: made of a map's value; the words are only looked at and swapped.
        let (mut committed, mut other) =
            unsafe { (Swapped(&raw mut (*self.0).buckets.committed), Swapped(&raw mut (*self.0).buckets.other)) };
        match two_rates {
            true => numbers.two_rates(&mut committed, &mut other, arrival),
            false => numbers.rfc4115(&mut committed, &mut other, arrival),
        }
    }
}

/// A word in a map that is changed by compare-and-swap.
struct Swapped(*mut u64);

impl Word for Swapped {
    /// Gives up after [`ATTEMPTS`], since the verifier has to see an end: so many other packets have taken tokens
    /// meanwhile, and this one gets none, as if the bucket did not hold it. Nothing is taken that is not there.
    #[inline(always)]
    fn update(&mut self, next: impl Fn(u64) -> Option<u64>) -> bool {
        // SAFETY: made of a map's value, as long as the program; others may change it, hence volatile.
        let mut seen = unsafe { ptr::read_volatile(self.0) };
        for _ in 0..ATTEMPTS {
            let Some(value) = next(seen) else { return false };
            let found = self.swap(seen, value);
            if found == seen {
                return true;
            }
            seen = found;
        }
        false
    }
}

impl Swapped {
    /// Puts `new` in place of `old` if that is still there; what was there.
    #[inline(always)]
    fn swap(&self, old: u64, new: u64) -> u64 {
        let found: u64;
        // SAFETY: the pointer is that of an aligned word in a map's value. The instruction compares with r0, and leaves there
        // what it found.
        unsafe {
            asm!("r0 = cmpxchg_64({word} + 0, r0, {new})", word = in(reg) self.0, new = in(reg) new,
                inout("r0") old => found, options(nostack));
        }
        found
    }
}
