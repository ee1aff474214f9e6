//! Whether this host forwards what comes in by an interface.

use std::fs;

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
