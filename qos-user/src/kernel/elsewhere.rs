//! Pins of this network namespace in other bpf file systems than the one that is looked at: whoever attached there named it by
//! `--bpffs`, and whoever looks has forgotten to.

use std::{collections::HashSet, fs, path::Path};

use super::{bpffs, mounts, netns};

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
