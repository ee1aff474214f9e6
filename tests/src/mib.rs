//! What a namespace's IP layer has counted (RFC 4293), in which a super-packet is one.

use anyhow::Context as _;
use qosbpf::lab::namespace::Namespace;

/// A counter of IPv4 by its name in `/proc/net/snmp`, such as `OutRequests`.
///
/// # Errors
///
/// That the kernel has no such counter.
pub fn ipv4(namespace: &Namespace, name: &str) -> anyhow::Result<usize> {
    let table = namespace.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/snmp")?))?;
    let mut lines = table.lines().filter(|line| line.starts_with("Ip:"));
    let (names, values) = (lines.next().context("names")?, lines.next().context("values")?);
    let at = names.split(' ').position(|there| there == name).with_context(|| name.to_owned())?;
    Ok(values.split(' ').nth(at).with_context(|| name.to_owned())?.parse()?)
}

/// The same of IPv6, such as `Ip6OutForwDatagrams` in `/proc/net/snmp6`.
///
/// # Errors
///
/// That the kernel has no such counter.
pub fn ipv6(namespace: &Namespace, name: &str) -> anyhow::Result<usize> {
    let table = namespace.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/snmp6")?))?;
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.with_context(|| name.to_owned())
}
