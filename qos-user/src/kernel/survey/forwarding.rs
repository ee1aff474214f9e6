//! Whether this host forwards what comes in by an interface.

use std::fs;

use crate::rules::UPDATE_PRIORITY;

/// The settings that are off, IPv4 and IPv6, as sysctl(8) takes them with slashes: a name may have dots. IPv4 asks the
/// interface, of which the general one sets all; IPv6 asks the general one.
#[must_use]
pub fn off(interface: &str) -> [Option<String>; 2] {
    let off =
        |setting: &String| fs::read_to_string(format!("/proc/sys/{setting}")).is_ok_and(|value| value.trim() == "0");
    let own = format!("net/ipv4/conf/{interface}/forwarding");
    let general = Some("net/ipv4/ip_forward".to_owned()).filter(off);
    let ipv4 = off(&own).then(|| general.unwrap_or(own));
    [ipv4, Some("net/ipv6/conf/all/forwarding".to_owned()).filter(off)]
}

/// Whether it gives IPv4 packets a priority by their TOS, whatever they had.
#[must_use]
pub fn updates_priority() -> bool {
    let path = format!("/proc/sys/{}", UPDATE_PRIORITY.replace('.', "/"));
    fs::read_to_string(path).map_or(true, |value| value.trim() != "0")
}
