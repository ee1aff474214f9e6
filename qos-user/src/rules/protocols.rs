//! Transport protocols by name (IANA "Assigned Internet Protocol Numbers").

/// TCP.
pub(crate) const TCP: u8 = 6;
/// UDP.
pub(crate) const UDP: u8 = 17;
/// ICMP for IPv4.
pub(crate) const ICMP: u8 = 1;
/// ICMP for IPv6.
pub(crate) const ICMPV6: u8 = 58;
/// DCCP (RFC 4340).
pub(crate) const DCCP: u8 = 33;
/// SCTP (RFC 9260).
pub(crate) const SCTP: u8 = 132;
/// UDP-Lite (RFC 3828).
pub(crate) const UDP_LITE: u8 = 136;

/// One name a protocol first, then other names in use.
pub(crate) const NAMES: &[(&str, u8)] = &[
    ("icmp", ICMP),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", TCP),
    ("egp", 8),
    ("udp", UDP),
    ("dccp", DCCP),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", ICMPV6),
    ("eigrp", 88),
    ("ospf", 89),
    ("etherip", 97),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", SCTP),
    ("udplite", UDP_LITE),
    ("icmp6", ICMPV6),
    ("ipv6-icmp", ICMPV6),
    ("udp-lite", UDP_LITE),
    ("carp", 112),
];

/// Whether its header begins with a source and a destination port.
pub(crate) const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE)
}

/// Whether its header begins with a type.
pub(crate) const fn has_icmp_type(protocol: u8) -> bool {
    matches!(protocol, ICMP | ICMPV6)
}

/// The shortest header of a transport protocol in bytes.
pub(crate) const fn header_length(protocol: u8) -> u16 {
    match protocol {
        TCP => 20,
        SCTP | DCCP => 12,
        UDP | UDP_LITE | ICMP | ICMPV6 => 8,
        _ => 0,
    }
}

/// Its name, or its number where it has none.
pub(crate) fn name(protocol: u8) -> String {
    let known = NAMES.iter().find(|(_, number)| *number == protocol);
    known.map_or_else(|| protocol.to_string(), |(name, _)| (*name).to_owned())
}
