//! What the kernel holds for a hook.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::Path,
};

use anyhow::Context as _;
use aya::{maps::MapInfo, programs::ProgramInfo};
use qosbpf::kernel::pins::{Pin, Store};

use super::{A, Desk, once};
use crate::report::Fact;

/// What is too small to have a row of its own, in KiB.
const SMALL: f64 = 16.0;

/// Measures a hook with a table.
pub(super) fn measure(desk: &Desk<'_>) -> anyhow::Result<Vec<Fact>> {
    desk.time(&["attach", "lan0", "--ingress", "--policy", &desk.file("a.toml", A)?])?;
    let bpffs = desk.lab.bpffs();
    let held = desk.lab.edge().run(|| {
        let hooks = Store::open(&bpffs)?.hooks()?;
        held(&hooks.first().context("no hook")?.path(Pin::Program))
    })?;
    desk.time(&["detach", "--all"])?;
    let total = held.iter().map(|(_, kib)| kib).sum();
    let mut facts = vec![once("memory: the kernel's, for one hook with a table, on all CPUs", "KiB", total)];
    let large = held.into_iter().filter(|(_, kib)| *kib >= SMALL);
    facts.extend(large.map(|(name, kib)| once(format!("memory: of that, {name}"), "KiB", kib)));
    Ok(facts)
}

/// The program and its maps, in KiB.
fn held(program: &Path) -> anyhow::Result<Vec<(String, f64)>> {
    let info = ProgramInfo::from_pin(program)?;
    let mut held = vec![("the program".to_owned(), f64::from(info.memory_locked()?) / 1024.0)];
    for id in info.map_ids()?.unwrap_or_default() {
        let map = MapInfo::from_id(id)?;
        let name = map.name_as_str().unwrap_or_default().to_owned();
        held.push((format!("map {name}"), locked(&map)? / 1024.0));
    }
    Ok(held)
}

/// Bytes that the kernel holds for a map.
fn locked(map: &MapInfo) -> anyhow::Result<f64> {
    let fd = map.fd()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd()))?;
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:")).context("no memlock")?;
    Ok(line.trim().parse()?)
}
