//! A table for outer headers at the tunnel's own device is never asked: packets get their outer header behind it.

use super::site::Site;
use crate::kernel::state::Binding;

/// What is to be said of hooks, by interface, with what a policy says of them. Devices are asked only if there is such a
/// table.
///
/// # Errors
///
/// What netlink reports.
pub fn warnings<'a>(site: &Site, bound: impl Iterator<Item = (u32, &'a Binding)>) -> anyhow::Result<Vec<String>> {
    let asked: Vec<_> = bound.filter_map(|(ifindex, binding)| Some((ifindex, binding.outer_name()?))).collect();
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let devices = site.net.devices()?;
    let warning = |(ifindex, table): &(u32, &str)| {
        let device = devices.iter().find(|device| device.ifindex == *ifindex && device.encapsulates())?;
        let (name, kind) = (&device.name, device.kind.as_deref().unwrap_or_default());
        Some(format!(
            "{name} is a {kind} device: what leaves by it has no outer header yet, and outer = \"{table}\" belongs to the \
             device below"
        ))
    };
    Ok(asked.iter().filter_map(warning).collect())
}
