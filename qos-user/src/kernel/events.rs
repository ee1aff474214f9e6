//! The ring buffers in which rules that log leave their events.

use std::{
    os::fd::AsFd as _,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use aya::maps::{Map, MapData, RingBuf};
use nix::time::{ClockId, clock_gettime};
use qos_common::event::Event;

use super::{
    bpffs, counters,
    lock::Lock,
    object,
    pins::{HookPins, Pin},
    sys,
};
use crate::error::Failure;

/// The events of one hook. Each event is read once, by one reader.
#[expect(missing_debug_implementations, reason = "aya's ring buffer has none")]
pub struct Events {
    ring: RingBuf<MapData>,
    #[expect(dead_code, reason = "held, not read")]
    lock: Lock,
}

impl Events {
    /// Opens the ring buffer of a hook; `None` if no rule ever logged there.
    ///
    /// # Errors
    ///
    /// `busy` if somebody else reads it; pins that are foreign or not accessible. Needs root, as its lock does: what
    /// anybody can open anybody can lock.
    pub fn open(pins: &HookPins) -> anyhow::Result<Option<Self>> {
        counters::check(pins, Pin::Events)?;
        let Some(path) = pins.trusted(Pin::Events)? else { return Ok(None) };
        let context = || format!("pin {}", path.display());
        bpffs::make_private_folder(&pins.reader())?;
        let lock = Lock::attempt(&pins.reader())?.ok_or_else(|| {
            Failure::new("busy", "another process reads the events of this hook")
                .hint("each event is given to one reader; end the other one, such as a second `qosbpf events`")
        })?;
        let map = MapData::from_fd(sys::open_pin(&path, false).with_context(context)?).with_context(context)?;
        let ring = RingBuf::try_from(Map::from_map_data(map)?).with_context(context)?;
        Ok(Some(Self { ring, lock }))
    }
}

/// What was in the ring buffer.
#[derive(Debug)]
pub struct Drained {
    /// The events that waited; there may be more after the last one.
    pub events: Vec<Event>,
    /// Whether there was no room for one more, so that some may be lost.
    pub was_full: bool,
}

/// Of an entry, beside its bytes, which are rounded up to as many.
const HEADER: usize = 8;

/// Bytes of an event in the ring buffer, with its header.
const ENTRY: usize = HEADER + Event::BYTES.next_multiple_of(HEADER);

/// How many events the rules of a hook have told of, whoever has read them; `None` if no rule ever logged there.
///
/// # Errors
///
/// Pins that are foreign or not accessible.
pub fn written(pins: &HookPins) -> anyhow::Result<Option<u64>> {
    let Some(map) = counters::open(pins, Pin::Events, false)? else { return Ok(None) };
    Ok(Some((sys::written(map.fd().as_fd())? / ENTRY) as u64))
}

impl Events {
    /// Takes what waits.
    pub fn drain(&mut self) -> Drained {
        let (mut events, mut used) = (Vec::new(), 0);
        while let Some(item) = self.ring.next() {
            used += HEADER + item.len().next_multiple_of(HEADER);
            // Of another size are those of another version, which its own reader understands.
            events.extend(Event::from_ne_bytes(&item));
        }
        let was_full = used + ENTRY > object::EVENTS as usize;
        Drained { events, was_full }
    }
}

/// When a packet came, by the clock on the wall.
#[must_use]
pub fn wall_clock(event: &Event) -> SystemTime {
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    let ago = since_boot.saturating_sub(Duration::from_nanos(event.time));
    SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
}
