//! Whether a device is still the one that it was: its number, its name and its address may be another one's by now. The kernel
//! says so by a map of those to which XDP programs redirect: a device is in it until it goes, be it to another network
//! namespace, and none is that comes after it, however much it is like it.

use std::{io, os::fd::AsFd as _};

use aya::maps::MapData;
use aya_obj::generated::bpf_map_type;

use super::{
    counters,
    pins::{self, HookPins, Pin},
    shortage, sys,
};

/// Bytes of a number of a device, and of an index.
pub(super) const WORD: u32 = 4;

/// A device that is meant, and not held.
#[derive(Debug)]
pub struct DeviceRef(MapData);

impl DeviceRef {
    /// The one that has this number now, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// That there is none, or what the kernel says to the map.
    pub fn to(ifindex: u32) -> anyhow::Result<Self> {
        let map = aya_obj::Map::new_from_params(bpf_map_type::BPF_MAP_TYPE_DEVMAP as u32, WORD, WORD, 1, 0);
        let map = MapData::create(map, "device", None)?;
        sys::write_first(map.fd().as_fd(), ifindex)?;
        Ok(Self(map))
    }

    /// Whether it has been where it was all the time.
    ///
    /// # Errors
    ///
    /// What bpf(2) reports.
    pub fn is_there(&self) -> io::Result<bool> {
        sys::has_first(self.0.fd().as_fd())
    }
}

/// Whether the device of a hook is the one at which it was attached; `None` if that is not known, as of hooks of earlier
/// versions.
#[must_use]
pub fn is_same(pins: &HookPins) -> Option<bool> {
    let ask = || Ok(counters::open(pins, Pin::Device, true)?.map(|map| DeviceRef(map).is_there()).transpose()?);
    ask().unwrap_or_else(|error: anyhow::Error| {
        tracing::debug!("whether interface {} is the one that it was: {error:#}", pins.ifindex);
        None
    })
}

/// Notes that the device which has the number of a hook now is the hook's.
///
/// # Errors
///
/// Foreign pins, that there is none, or what the kernel says to map and pin.
pub(super) fn note(hook: &HookPins) -> anyhow::Result<()> {
    if let Some(map) = counters::open(hook, Pin::Device, false)? {
        return Ok(sys::write_first(map.fd().as_fd(), hook.ifindex)?);
    }
    let path = hook.path(Pin::Device);
    let pinned = || anyhow::Ok(DeviceRef::to(hook.ifindex)?.0.pin(&path)?);
    pinned().map_err(|error| shortage::named(format_args!("the pin {}", path.display()), error))?;
    pins::readable_by_all(&path)
}

/// The same where it is not known to be so.
pub(super) fn note_anew(hook: &HookPins) {
    if is_same(hook) != Some(true)
        && let Err(error) = note(hook)
    {
        tracing::debug!("which device interface {} is cannot be noted: {error:#}", hook.ifindex);
    }
}
