//! The counter maps: checked before anything trusts them, and read.

use std::{borrow::Borrow, fmt};

use anyhow::Context as _;
use aya::maps::{Array, Map, MapData, MapType, PerCpuArray};
use qos_common::{
    abi::{Counter, Counters, LAYOUT, RemarkedHalf},
    meter::{Buckets, METER_SLOTS, MeterCounters},
    rules::{RULE_SLOTS, RuleCounter, RuleCounters},
};

use super::{
    device_ref::WORD,
    object,
    pins::{HookPins, Pin},
    sys,
};
use crate::{error::Failure, snapshot::Counts};

/// 64-bit words of the buckets of a meter with their lock.
pub(super) const LOCKED_BUCKETS: usize = 1 + size_of::<Buckets>() / 8;

/// What a map that programs share must be.
#[derive(Debug, PartialEq)]
struct Layout {
    kind: MapType,
    key: u32,
    value: u32,
    entries: u32,
}

impl Layout {
    const fn expected(pin: Pin) -> Self {
        let (kind, words, entries) = match pin {
            Pin::Remarked => (MapType::PerCpuArray, RemarkedHalf::WORDS, 2),
            Pin::Rules => (MapType::PerCpuArray, RuleCounters::WORDS, 2),
            Pin::Colors => (MapType::PerCpuArray, MeterCounters::WORDS, 1),
            Pin::Events => return Self { kind: MapType::RingBuf, key: 0, value: 0, entries: object::EVENTS },
            Pin::Device => return Self { kind: MapType::DevMap, key: WORD, value: WORD, entries: 1 },
            Pin::Logged => (MapType::Array, 1, RULE_SLOTS as u32),
            Pin::Buckets => (MapType::Array, LOCKED_BUCKETS, METER_SLOTS as u32),
            _ => (MapType::PerCpuArray, Counters::WORDS, 1),
        };
        Self { kind, key: 4, value: words as u32 * 8, entries }
    }

    fn of(map: &MapData) -> anyhow::Result<Self> {
        let info = map.info()?;
        Ok(Self { kind: info.map_type()?, key: info.key_size(), value: info.value_size(), entries: info.max_entries() })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, value, entries, .. } = self;
        match kind {
            MapType::RingBuf => write!(f, "a ring buffer of {entries} bytes"),
            MapType::Array => write!(f, "an array of {entries} x {value} bytes"),
            MapType::PerCpuArray => write!(f, "an array of {entries} x {value} bytes for each CPU"),
            MapType::DevMap => write!(f, "a map of {entries} device"),
            _ => write!(f, "a map of another type, of {entries} x {value} bytes"),
        }
    }
}

/// Refuses a pinned counter map that is not what this version would have made; one that is not there is no fault.
///
/// aya takes a pinned map as it is: one with larger values would be read into memory that is too small.
///
/// # Errors
///
/// `foreign-pin`, `layout`.
pub fn check(pins: &HookPins, pin: Pin) -> anyhow::Result<()> {
    open(pins, pin, true).map(drop)
}

/// The same, and opens it.
pub(super) fn open(pins: &HookPins, pin: Pin, read_only: bool) -> anyhow::Result<Option<MapData>> {
    let Some(path) = pins.trusted(pin)? else { return Ok(None) };
    let context = || format!("pin {}", path.display());
    let map = MapData::from_fd(sys::open_pin(&path, read_only).with_context(context)?).with_context(context)?;
    let (found, expected) = (Layout::of(&map).with_context(context)?, Layout::expected(pin));
    if found != expected {
        return Err(Failure::new(
            "layout",
            format!(
                "{} is not a counter map of layout {LAYOUT}: it is {found}, and has to be {expected}",
                path.display()
            ),
        )
        .hint(pins.anew())
        .into());
    }
    Ok(Some(map))
}

/// Reads the counters of a hook: the remark matrix and the drops first, `before` last.
///
/// # Errors
///
/// Those of [`check`], or that the maps are not there or not readable.
pub fn read(pins: &HookPins) -> anyhow::Result<Counts> {
    let remarked = typed::<{ RemarkedHalf::WORDS }>(pins, Pin::Remarked)?;
    let halves = [remarked.get(&0, 0)?, remarked.get(&1, 0)?];
    let counters = typed::<{ Counters::WORDS }>(pins, Pin::Counters)?;
    let cpus = counters.get(&0, 0)?;
    Ok(Counts::sum(&cpus, halves.each_ref().map(|half| &half[..])))
}

/// Reads the counters of a program that has its own maps.
///
/// # Errors
///
/// That the maps are not what they should be.
pub fn read_maps(ebpf: &aya::Ebpf) -> anyhow::Result<Counts> {
    let remarked: PerCpuArray<_, [u64; RemarkedHalf::WORDS]> = ebpf.map("REMARKED").context("REMARKED")?.try_into()?;
    let halves = [remarked.get(&0, 0)?, remarked.get(&1, 0)?];
    let counters: PerCpuArray<_, [u64; Counters::WORDS]> = ebpf.map("COUNTERS").context("COUNTERS")?.try_into()?;
    Ok(Counts::sum(&counters.get(&0, 0)?, halves.each_ref().map(|half| &half[..])))
}

fn typed<const WORDS: usize>(pins: &HookPins, pin: Pin) -> anyhow::Result<PerCpuArray<MapData, [u64; WORDS]>> {
    let map = open(pins, pin, true)?.with_context(|| format!("{} is not there", pins.path(pin).display()))?;
    Ok(PerCpuArray::try_from(Map::from_map_data(map)?)?)
}

/// Reads the counters of all rules of a hook, by slot: packets and bytes are sums over the CPUs, `last` the latest. A
/// hook that never had rules may have none.
///
/// # Errors
///
/// Those of [`check`], or that the map is not readable.
pub fn rules(pins: &HookPins) -> anyhow::Result<Vec<RuleCounter>> {
    if pins.trusted(Pin::Rules)?.is_none() {
        return Ok(Vec::new());
    }
    sum_rules(&typed::<{ RuleCounters::WORDS }>(pins, Pin::Rules)?)
}

/// The same of a program that has its own maps.
///
/// # Errors
///
/// That the map is not what it should be.
pub fn read_rule_map(ebpf: &aya::Ebpf) -> anyhow::Result<Vec<RuleCounter>> {
    sum_rules(&PerCpuArray::try_from(ebpf.map("RULES").context("RULES")?)?)
}

fn sum_rules<T: Borrow<MapData>>(map: &PerCpuArray<T, [u64; RuleCounters::WORDS]>) -> anyhow::Result<Vec<RuleCounter>> {
    let mut sums = vec![RuleCounter::default(); RULE_SLOTS];
    for (index, sums) in (0..).zip(sums.chunks_mut(RuleCounters::SLOTS)) {
        for cpu in map.get(&index, 0)?.iter() {
            sums.iter_mut().zip(cpu.as_chunks().0).for_each(|(sum, words)| sum.merge(*words));
        }
    }
    Ok(sums)
}

/// What is counted for the rule of a slot, as [`super::slots::Slots`] asks for it: packets, then events suppressed.
pub fn of_rule(counted: &[RuleCounter]) -> impl Fn(u16) -> Vec<Counter> {
    |slot| {
        let counter = counted.get(usize::from(slot)).copied().unwrap_or_default();
        let suppressed = Counter { packets: counter.suppressed, bytes: 0 };
        vec![Counter { packets: counter.packets, bytes: counter.bytes }, suppressed]
    }
}

/// The same for its meter: IP bytes by color.
pub fn of_meter(counted: &MeterCounters) -> impl Fn(u16) -> Vec<Counter> {
    |slot| {
        let colors = counted.0.get(usize::from(slot)).copied().unwrap_or_default();
        colors.iter().map(|color| Counter { packets: color.packets, bytes: color.ip_bytes }).collect()
    }
}

/// Reads the counters of all meters of a hook, summed over the CPUs, by slot. A hook that never had meters may have none.
///
/// # Errors
///
/// Those of [`check`], or that the map is not readable.
pub fn meters(pins: &HookPins) -> anyhow::Result<Box<MeterCounters>> {
    if pins.trusted(Pin::Colors)?.is_none() {
        return Ok(Box::new(MeterCounters::ZERO));
    }
    sum_meters(&typed::<{ MeterCounters::WORDS }>(pins, Pin::Colors)?)
}

/// The same of a program that has its own maps.
///
/// # Errors
///
/// That the map is not what it should be.
pub fn read_meter_map(ebpf: &aya::Ebpf) -> anyhow::Result<Box<MeterCounters>> {
    sum_meters(&PerCpuArray::try_from(ebpf.map("COLORS").context("COLORS")?)?)
}

fn sum_meters<T: Borrow<MapData>>(
    map: &PerCpuArray<T, [u64; MeterCounters::WORDS]>,
) -> anyhow::Result<Box<MeterCounters>> {
    let mut sums = Box::new(MeterCounters::ZERO);
    map.get(&0, 0)?.iter().for_each(|cpu| sums.merge(cpu));
    Ok(sums)
}

/// Fills the buckets of a slot: for a meter with other numbers than the one that had it.
///
/// # Errors
///
/// Those of [`check`], or that the map is not there or cannot be written.
pub fn refill(pins: &HookPins, slot: u32) -> anyhow::Result<()> {
    // Of a hook that never had any, they are full.
    let Some(map) = open(pins, Pin::Buckets, false)? else { return Ok(()) };
    let mut buckets: Array<MapData, [u64; LOCKED_BUCKETS]> = Array::try_from(Map::from_map_data(map)?)?;
    Ok(buckets.set(slot, [0; LOCKED_BUCKETS], 0)?)
}

/// Lets the rule of a slot log at once, whatever another one or another rate had said.
///
/// # Errors
///
/// Those of [`check`], or that the map cannot be written.
pub fn allow_events(pins: &HookPins, slot: u32) -> anyhow::Result<()> {
    let Some(map) = open(pins, Pin::Logged, false)? else { return Ok(()) };
    let mut next: Array<MapData, u64> = Array::try_from(Map::from_map_data(map)?)?;
    Ok(next.set(slot, 0, 0)?)
}

/// Lets everybody read the counters.
///
/// # Errors
///
/// That a mode cannot be changed.
pub fn publish(pins: &HookPins) -> anyhow::Result<()> {
    [Pin::Counters, Pin::Remarked, Pin::Rules, Pin::Colors]
        .into_iter()
        .try_for_each(|pin| super::pins::readable_by_all(&pins.path(pin)))
}
