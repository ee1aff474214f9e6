//! A host that does not forward at all: nobody else needs to be suspected.

use qos_common::ds::Dscp;

use super::{Scene, family, hook_name};
use crate::{
    diagnosis::{Command, Cure, Finding, Level, facts::Port},
    snapshot::Hook,
};

/// The first hook of `from` at which packets came that this host does not forward, and the setting that says so. `fault` if
/// they were to go through; else they may be for this host.
pub(super) fn off(scene: &Scene<'_>, from: &[&Hook], dscps: &[Dscp], fault: bool) -> Option<Finding> {
    let (hook, family, setting) = from.iter().find_map(|hook| {
        let port = scene.ground.port(&hook.interface).filter(|port| !is_bridged(scene, port))?;
        let families = family::NAMES.iter().zip(&port.forwards_not).zip(came(hook, dscps));
        let mut off = families.filter(|((_, off), came)| off.is_some() && *came);
        let ((family, setting), _) = off.next()?;
        Some((hook, *family, setting.clone()?))
    })?;
    let text = format!("this host does not forward {family} that comes in by {}: {setting} is 0", hook_name(hook));
    let level = if fault { Level::Fail } else { Level::Unknown };
    let cure = Cure::There(Command::new("sysctl -w").word(format_args!("{setting}=1")));
    Some(Finding::new(level, &scene.name(), "not-forwarded", text).cure(cure))
}

/// A bridge passes on what comes in by its ports, whether the host forwards or not.
fn is_bridged(scene: &Scene<'_>, port: &Port) -> bool {
    let devices = || scene.ground.ports.iter().map(|port| &port.device);
    let master = port.device.master.and_then(|master| devices().find(|device| device.ifindex == master));
    master.is_some_and(|master| master.kind.as_deref() == Some("bridge"))
}

/// Whether packets with these codepoints came, IPv4 and IPv6.
fn came(hook: &Hook, dscps: &[Dscp]) -> [bool; 2] {
    [0, 1].map(|family| family::before(hook, dscps, family::only(family)) > 0)
}
