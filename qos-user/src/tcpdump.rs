//! How tcpdump, and whatever else has libpcap's filters, is told to show a codepoint, whatever the ECN bits beside it.

use qos_common::ds::Dscp;

/// Untagged IPv4.
#[must_use]
pub fn v4(dscp: Dscp) -> String {
    format!("ip[1] & 0xfc == {:#04x}", dscp.value() << 2)
}

/// Untagged IPv6.
#[must_use]
pub fn v6(dscp: Dscp) -> String {
    format!("ip6[0:2] & 0xfc0 == {:#05x}", u16::from(dscp.value()) << 6)
}

/// Both families, any of these codepoints.
#[must_use]
pub fn any(dscps: &[Dscp]) -> String {
    let both = dscps.iter().flat_map(|dscp| [v4(*dscp), v6(*dscp)]);
    both.collect::<Vec<_>>().join(" or ")
}
