//! How each tool is told to match a codepoint, whatever the ECN bits beside it, or to send it.

use qos_common::ds::{Dscp, Ecn};
use serde::Serialize;

use super::facts::tos;
use crate::tcpdump;

/// The text for each tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filters {
    /// iputils: sends echo requests in it.
    pub ping: String,
    /// The same on Windows, which often ignores it.
    pub ping_windows: String,
    /// tcpdump, untagged IPv4.
    pub tcpdump: String,
    /// tcpdump, untagged IPv6.
    pub tcpdump_ipv6: String,
    /// A Wireshark display filter, IPv4.
    pub wireshark: String,
    /// The same, IPv6.
    pub wireshark_ipv6: String,
    /// nftables, IPv4.
    pub nft: String,
    /// nftables, IPv6.
    pub nft_ipv6: String,
    /// iptables and ip6tables.
    pub iptables: String,
    /// tc filter u32, IPv4.
    pub tc_u32: String,
    /// tc filter u32, IPv6.
    pub tc_u32_ipv6: String,
    /// tc filter flower, both families.
    pub tc_flower: String,
    /// A Cisco class-map.
    pub cisco: String,
    /// The ToS that Cisco's extended ping asks for.
    pub cisco_ping: String,
    /// The ToS byte as Cisco's verbose NetFlow cache prints it.
    pub cisco_netflow: String,
    /// A Junos classifier.
    pub junos: String,
}

/// The texts for a codepoint.
#[must_use]
pub fn filters(dscp: Dscp) -> Filters {
    let (value, tos) = (dscp.value(), tos(dscp, Ecn::NotEct));
    let nft = nft_word(dscp);
    Filters {
        ping: format!("ping -Q {tos} HOST"),
        ping_windows: format!("ping -v {tos} HOST"),
        tcpdump: tcpdump::v4(dscp),
        tcpdump_ipv6: tcpdump::v6(dscp),
        wireshark: format!("ip.dsfield.dscp == {value}"),
        wireshark_ipv6: format!("ipv6.tclass.dscp == {value}"),
        nft: format!("ip dscp {nft}"),
        nft_ipv6: format!("ip6 dscp {nft}"),
        iptables: iptables(dscp),
        tc_u32: format!("match ip tos {tos:#04x} 0xfc"),
        tc_u32_ipv6: format!("match ip6 priority {tos:#04x} 0xfc"),
        tc_flower: format!("ip_tos {tos:#04x}/0xfc"),
        cisco: format!("match dscp {}", cisco_word(dscp)),
        cisco_ping: tos.to_string(),
        cisco_netflow: format!("{tos:02X}"),
        junos: format!("code-points {value:06b}"),
    }
}

/// The name if it has been in such tools from the beginning: EF, AF and the class selectors.
fn old_name(dscp: Dscp) -> Option<&'static str> {
    dscp.name().filter(|name| !matches!(*name, "DF" | "LE" | "VA" | "NQB"))
}

/// `lephb` since `le` is an operator in nft; numbers for what only newer versions name.
fn nft_word(dscp: Dscp) -> String {
    match dscp {
        Dscp::DF => "cs0".to_owned(),
        Dscp::LE => "lephb".to_owned(),
        dscp => old_name(dscp).map_or_else(|| dscp.value().to_string(), str::to_lowercase),
    }
}

fn iptables(dscp: Dscp) -> String {
    let name = if dscp == Dscp::DF { Some("CS0") } else { old_name(dscp) };
    match name {
        Some(name) => format!("-m dscp --dscp-class {name}"),
        None => format!("-m dscp --dscp {}", dscp.value()),
    }
}

fn cisco_word(dscp: Dscp) -> String {
    match dscp {
        Dscp::DF => "default".to_owned(),
        dscp => old_name(dscp).map_or_else(|| dscp.value().to_string(), str::to_lowercase),
    }
}
