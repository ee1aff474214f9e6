//! What a command has left behind.

use std::{fs, path::Path};

use anyhow::ensure;
use aya::programs::{SchedClassifier, TcAttachType};
use qosbpf::lab::namespace::Namespace;

use crate::router::{Router, run_in};

/// What the kernel itself shows in a bpf file system.
const KERNEL_S_OWN: [&str; 2] = ["maps.debug", "progs.debug"];

/// Pins, and programs and qdiscs of every interface; empty when all is as before.
///
/// # Errors
///
/// That it cannot be looked at.
pub fn leftovers(router: &Router) -> anyhow::Result<Vec<String>> {
    let mut left = pins(&router.bpffs)?;
    for interface in interfaces(router.edge())? {
        left.extend(programs(router.edge(), &interface)?);
    }
    Ok(left)
}

/// The names of all interfaces of a namespace.
fn interfaces(namespace: &Namespace) -> anyhow::Result<Vec<String>> {
    namespace.run(|| {
        let all = nix::net::if_::if_nameindex()?;
        Ok(all.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect())
    })
}

/// What is pinned below a folder.
///
/// # Errors
///
/// That it cannot be looked at.
pub fn pins(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut pins = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if !KERNEL_S_OWN.iter().any(|name| entry.file_name() == *name) {
            pins.push(path.display().to_string());
            if entry.file_type()?.is_dir() {
                pins.extend(self::pins(&path)?);
            }
        }
    }
    Ok(pins)
}

/// Programs and clsact qdiscs of an interface, of whoever made them.
///
/// # Errors
///
/// That it cannot be looked at.
pub fn programs(namespace: &Namespace, interface: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let link = run_in(namespace, &format!("ip link show dev {interface}"))?.stdout;
    if link.contains("xdp") {
        found.push(format!("{interface}: XDP: {link}"));
    }
    let qdiscs = run_in(namespace, &format!("tc qdisc show dev {interface}"))?.stdout;
    if qdiscs.contains("clsact") {
        found.push(format!("{interface}: {qdiscs}"));
    }
    for side in [TcAttachType::Ingress, TcAttachType::Egress] {
        let programs = tcx(namespace, interface, side)?;
        if !programs.is_empty() {
            found.push(format!("{interface}: TCX {side:?}: {programs:?}"));
        }
    }
    Ok(found)
}

/// The ids of the programs at a TCX hook, in their order.
///
/// # Errors
///
/// That it cannot be looked at.
pub fn tcx(namespace: &Namespace, interface: &str, side: TcAttachType) -> anyhow::Result<Vec<u32>> {
    namespace.run(|| {
        let (_, programs) = SchedClassifier::query_tcx(interface, side)?;
        Ok(programs.iter().map(aya::programs::ProgramInfo::id).collect())
    })
}

/// Asserts that nothing is left.
///
/// # Errors
///
/// What is.
pub fn assert_nothing(router: &Router, what: &str) -> anyhow::Result<()> {
    let left = leftovers(router)?;
    ensure!(left.is_empty(), "{what}: left is {left:#?}");
    Ok(())
}
