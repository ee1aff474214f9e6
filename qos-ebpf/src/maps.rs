//! The maps and the read-only constants of a program, as [`Tables`].
//!
//! Userspace finds them by these names. `COUNTERS`, `REMARKED`, `RULES`, `COLORS` and, in [`buckets`], `BUCKETS` are
//! pinned and outlive every program that counts into them, and so are `EVENTS` and `LOGGED` where a rule logs. The tables
//! of rules and meters belong to one program, which never writes them; so do the constants, which are frozen when it is
//! loaded.

use core::{arch::asm, borrow::Borrow, ptr};

use aya_ebpf::{
    Global,
    helpers::{bpf_jiffies64, bpf_ktime_get_ns},
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use qos_common::{
    abi::{Counters, RemarkedHalf, Settings},
    classify::{Report, Rules},
    ds::{DsField, Dscp},
    event::Event,
    inside::Inside,
    locate::Link,
    meter::{Charge, Color, MeterCounters, MeterRecord},
    policy::{Entry, Local, Table},
    process::{Constants, Tables},
    rules::{Constant, Page, Plan, Record, Row, RuleCounters},
};

use crate::buckets;

#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

#[map]
static REMARKED: PerCpuArray<RemarkedHalf> = PerCpuArray::with_max_entries(2, 0);

/// What each rule has matched; two values, for which see [`RuleCounters::of`].
#[map]
static RULES: PerCpuArray<RuleCounters> = PerCpuArray::with_max_entries(2, 0);

/// The loader says how many there are, in this and in the next two.
#[map]
static PAGES: Array<Page> = Array::with_max_entries(1, 0);

#[map]
static ROWS: Array<Row> = Array::with_max_entries(1, 0);

#[map]
static RECORDS: Array<Record> = Array::with_max_entries(1, 0);

/// The meters of the rules; the loader says how many there are.
#[map]
static METERS: Array<MeterRecord> = Array::with_max_entries(1, 0);

/// What each meter has given.
#[map]
static COLORS: PerCpuArray<MeterCounters> = PerCpuArray::with_max_entries(1, 0);

/// When each rule that logs tells of the next packet, by slot; one entry where none does.
#[map]
static LOGGED: Array<u64> = Array::with_max_entries(1, 0);

/// What they tell.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

#[unsafe(no_mangle)]
static PLAN: Global<[u16; Plan::LENGTH]> = Global::new(Plan::NONE.0);

#[unsafe(no_mangle)]
static SETTINGS: Global<Settings> = Global::new(Settings::NONE);

#[unsafe(no_mangle)]
static TABLE: Global<[u8; Dscp::COUNT]> = Global::new(*Table::IDENTITY.bytes());

/// What an outer header becomes, by the codepoint of the inner one.
#[unsafe(no_mangle)]
static OUTER_TABLE: Global<[u8; Dscp::COUNT]> = Global::new(*Table::IDENTITY.bytes());

/// The same value, of which the compiler knows nothing.
#[inline(always)]
pub fn opaque(value: u64) -> u64 {
    let same: u64;
    // SAFETY: copies a register.
    unsafe { asm!("{0} = {1}", out(reg) same, in(reg) value, options(pure, nomem, nostack, preserves_flags)) };
    same
}

/// Keeps two branches apart that begin in the same way: else the compiler puts the beginning before them, and what decides
/// between them has to be kept until then.
#[inline(always)]
pub fn apart() {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nomem, nostack, preserves_flags)) };
}

/// The same context, by another register on each way: what is alike at the beginning of two ways the compiler puts before the
/// choice between them, and keeps what the choice hangs on until then. An instruction, since the kernel refuses a program in
/// which two lines of the source have the same one, as an empty piece of assembler and what follows may.
#[inline(always)]
pub fn on_way<const WAY: u8, C>(context: *mut C) -> *mut C {
    let same: u64;
    // SAFETY: copies a register.
    unsafe {
        asm!("/* way {2} */", "{0} = {1}", out(reg) same, in(reg) context as u64, const WAY,
            options(pure, nomem, nostack, preserves_flags));
    }
    same as *mut C
}

/// What was looked up, with a way of its own for what is not there: else the compiler puts into memory, before each lookup,
/// what would be the result if it failed.
#[inline(always)]
fn there<T>(found: Option<T>) -> Option<T> {
    if found.is_none() {
        apart();
    }
    found
}

/// One field of a constant, read so that the compiler cannot assume the value it was built with.
macro_rules! constant {
    ($global:ident $(. $field:ident)? $([$index:expr])? as $type:ty) => {
        // SAFETY: `Global` is a transparent wrapper of the type named, initialised and never written.
        unsafe { ptr::read_volatile(&raw const (*(&raw const $global).cast::<$type>())$(.$field)?$([$index])?) }
    };
}

/// [`Settings::mode`].
#[inline(always)]
pub fn mode() -> u8 {
    constant!(SETTINGS.mode as Settings)
}

/// Whether decisions are logged.
#[inline(always)]
pub fn logs() -> bool {
    constant!(SETTINGS.log as Settings) != 0
}

/// Jiffies between two fillings of the log budget.
#[inline(always)]
pub fn log_interval() -> u64 {
    u64::from(constant!(SETTINGS.log_interval as Settings))
}

/// What precedes the IP header on the device.
#[inline(always)]
pub fn link() -> Link {
    if constant!(SETTINGS.layer3 as Settings) == 0 { Link::Ethernet } else { Link::Layer3 }
}

/// What the rules of the program ask for.
#[inline(always)]
fn plan(constant: Constant) -> u16 {
    constant!(PLAN[constant as usize] as [u16; Plan::LENGTH])
}

/// The maps of a program: whether it has MF rules, whether their meters change buckets by compare-and-swap, whether it
/// looks inside other headers, and whether it marks outer headers by what is inside.
pub struct Maps<const MF: bool, const SWAPS: bool, const INSIDE: bool, const OUTER: bool>;

/// The constants of a program: whether it may have MF rules, look inside other headers, and mark outer ones by them.
#[derive(Clone, Copy)]
pub struct ReadOnly<const MF: bool, const INSIDE: bool, const OUTER: bool>;

impl<const MF: bool, const INSIDE: bool, const OUTER: bool> Constants for ReadOnly<MF, INSIDE, OUTER> {
    #[inline(always)]
    fn link(self) -> Link {
        link()
    }

    #[inline(always)]
    fn inside(self) -> Inside {
        if INSIDE { Inside::from_bits(constant!(SETTINGS.inside as Settings)) } else { Inside::NOTHING }
    }

    #[inline(always)]
    fn remarks(self) -> bool {
        constant!(SETTINGS.remark as Settings) != 0
    }

    #[inline(always)]
    fn has_rules(self) -> bool {
        MF && plan(Constant::Words) != 0
    }

    #[inline(always)]
    fn entry(self, dscp: Dscp) -> Entry {
        Entry::new(constant!(TABLE[dscp.index()] as [u8; Dscp::COUNT]))
    }

    #[inline(always)]
    fn local(self) -> Local {
        match constant!(SETTINGS.local as Settings) {
            0 => Local::Policy,
            1 => Local::KeepControl,
            _ => Local::Keep,
        }
    }

    /// Whether the object has a program of its own for it, which contains no more.
    #[inline(always)]
    fn is_table_alone(self) -> bool {
        !MF && !INSIDE && !OUTER
    }

    #[inline(always)]
    fn marks_outer(self) -> bool {
        OUTER
    }

    #[inline(always)]
    fn outer(self, inner: Dscp) -> Dscp {
        DsField::new(constant!(OUTER_TABLE[inner.index()] as [u8; Dscp::COUNT]) << 2).dscp()
    }
}

impl<const MF: bool, const SWAPS: bool, const INSIDE: bool, const OUTER: bool> Tables
    for Maps<MF, SWAPS, INSIDE, OUTER>
{
    type Constants = ReadOnly<MF, INSIDE, OUTER>;

    #[inline(always)]
    fn constants(&self) -> ReadOnly<MF, INSIDE, OUTER> {
        ReadOnly
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments; the JIT replaces it by one load.
        unsafe { bpf_jiffies64() }
    }

    #[inline(always)]
    fn counters(&mut self) -> Option<&mut Counters> {
        // SAFETY: the value is this CPU's own, each hook has a map of its own, and a hook runs with bottom halves off, so
        // that no second run of it begins on this CPU before the first ends. Not so with PREEMPT_RT from Linux 6.18 on, if
        // PREEMPT_RT_NEEDS_BH_LOCK is unset: then it only stays on its CPU, and another run may come in between. These are
        // words that are read, added to and written, wherever they are: what came in between may be lost, and is all that
        // is. Within a run a packet is handled with one value of this type, and what is logged of it comes after. Userspace
        // only reads copies.
        there(COUNTERS.get_ptr_mut(0)).map(|counters| unsafe { &mut *counters })
    }

    #[inline(always)]
    fn remarked(&mut self, from: Dscp) -> Option<&mut RemarkedHalf> {
        // SAFETY: as in `counters`.
        there(REMARKED.get_ptr_mut(RemarkedHalf::of(from))).map(|half| unsafe { &mut *half })
    }
}

impl<const MF: bool, const SWAPS: bool, const INSIDE: bool, const OUTER: bool> Rules
    for Maps<MF, SWAPS, INSIDE, OUTER>
{
    #[inline(always)]
    fn constant(&self, constant: Constant) -> u16 {
        if MF { plan(constant) } else { 0 }
    }

    #[inline(always)]
    fn settle<const N: usize>(&self, values: [u32; N]) -> [u32; N] {
        let unknown = self.now();
        values.map(|value| (opaque(u64::from(value) ^ unknown) ^ unknown) as u32)
    }

    #[inline(always)]
    fn opaque(&self, value: u32) -> u32 {
        opaque(value.into()) as u32
    }

    #[inline(always)]
    fn page(&self, number: u32) -> Option<&Page> {
        there(PAGES.get(number))
    }

    #[inline(always)]
    fn row(&self, number: u32) -> Option<&Row> {
        there(ROWS.get(number))
    }

    #[inline(always)]
    fn record(&self, bit: u32) -> Option<impl Borrow<Record> + Copy + use<MF, SWAPS, INSIDE, OUTER>> {
        there(RECORDS.get(bit))
    }

    #[inline(always)]
    fn rule_counters(&mut self, slot: u16) -> Option<&mut RuleCounters> {
        // SAFETY: as in `counters`.
        RULES.get_ptr_mut(RuleCounters::of(slot)).map(|counters| unsafe { &mut *counters })
    }

    #[inline(always)]
    fn meter(&self, number: u32) -> Option<&MeterRecord> {
        there(METERS.get(number))
    }

    #[inline(always)]
    fn clock(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn color(&self, meter: &MeterRecord, dscp: Dscp, charge: Charge) -> Option<Color> {
        // Looked up first: nothing has to be kept for the packet over that call.
        let shared = there(buckets::of(meter))?;
        let now = self.clock();
        let arrival = || meter.arrival(dscp, charge, now);
        Some(if SWAPS { shared.color_by_swap(meter, arrival) } else { shared.color_by_lock(meter, arrival) })
    }

    #[inline(always)]
    fn next_event(&self, slot: u16) -> Option<u64> {
        // SAFETY: the value lives as long as the program; other CPUs may write it, hence volatile.
        LOGGED.get_ptr(slot.into()).map(|next| unsafe { ptr::read_volatile(next) })
    }

    #[inline(always)]
    fn set_next_event(&mut self, slot: u16, next: u64) {
        if let Some(place) = LOGGED.get_ptr_mut(slot.into()) {
            // SAFETY: as above.
            unsafe { ptr::write_volatile(place, next) };
        }
    }

    #[inline(always)]
    fn report(&mut self, report: &impl Report) -> bool {
        let Some(mut entry) = EVENTS.reserve::<Event>(0) else { return false };
        report.fill(entry.write(Event::NONE));
        entry.submit(0);
        true
    }

    #[inline(always)]
    fn meter_counters(&mut self) -> Option<&mut MeterCounters> {
        // SAFETY: as in `counters`.
        COLORS.get_ptr_mut(0).map(|counters| unsafe { &mut *counters })
    }
}
