//! Pins in other places than the one that is looked at. Those of this network namespace in another bpf file system: whoever
//! attached there named it by `--bpffs`, and whoever looks has forgotten to, or something is mounted over it. And those of
//! another network namespace, of which a device was moved here: it takes its programs with it.

use std::{collections::HashSet, fs, path::Path};

use super::{
    bpffs, datapath, mounts, netns,
    pins::{HookPins, Pin, Store},
};
use crate::diagnosis::facts::Neighbour;

/// The hooks of other network namespaces in the bpf file system at `own` that run one of these programs.
#[must_use]
pub fn neighbours(own: &Path, programs: &[u32]) -> Vec<Neighbour> {
    let Ok(store) = Store::open(own) else { return Vec::new() };
    let trusted = store.others().into_iter().filter(|other| bpffs::check_folder(&other.namespace).is_ok());
    trusted.flat_map(|other| running(&other, programs)).collect()
}

fn running(store: &Store, programs: &[u32]) -> Vec<Neighbour> {
    let program = |pins: &HookPins| Some(datapath::remembered(pins, Pin::State).ok()??.program_id);
    let hooks = store.hooks().unwrap_or_default().into_iter();
    let with_programs = hooks.filter_map(|pins| Some((program(&pins)?, pins)));
    let hooks: Vec<_> = with_programs.filter(|(program, _)| programs.contains(program)).collect();
    let number = store.namespace.file_name().and_then(|name| name.to_str()?.strip_prefix("netns-")?.parse().ok());
    let netns = if hooks.is_empty() { None } else { number.and_then(netns::called) };
    let found = hooks.into_iter().map(|(program, pins)| Neighbour {
        program,
        hook: format!("if-{}:{}", pins.ifindex, pins.direction),
        netns: netns.clone(),
    });
    found.collect()
}

/// The bpf file systems within reach, but the one at `own`, in which qosbpf has pins of this network namespace; each by one
/// of its places.
#[must_use]
pub fn pinned(own: &Path) -> Vec<String> {
    let Ok(namespace) = netns::id() else { return Vec::new() };
    let mut known: HashSet<u64> = device(own).into_iter().collect();
    let mounts = mounts::all().unwrap_or_default().into_iter().filter(|mount| mount.is_bpf);
    let others = mounts.filter_map(|mount| Some((device(&mount.place)?, mount.place)));
    let with_pins = others.filter(|(device, place)| !known.contains(device) && has_pins(place, namespace));
    let mut places: Vec<_> = with_pins.collect();
    places.retain(|(device, _)| known.insert(*device));
    places.into_iter().map(|(_, place)| place.display().to_string()).collect()
}

/// Of what is uppermost there.
fn device(path: &Path) -> Option<u64> {
    bpffs::identity(path).map(|(device, _)| device)
}

/// Pins of whatever layout.
fn has_pins(bpffs: &Path, namespace: u64) -> bool {
    let layouts = fs::read_dir(bpffs.join("qosbpf")).into_iter().flatten().flatten();
    layouts.map(|layout| layout.path().join(format!("netns-{namespace}"))).any(|folder| folder.is_dir())
}
