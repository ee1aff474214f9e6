//! A packet as rules see it: described, without bytes.

use std::net::IpAddr;

use qos_common::ds::{Dscp, Ecn};

use crate::policy::model::{Fragment, Origin};

/// What a hook can tell of a packet. A field that is `None` is one that the packet does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source address at the hook.
    pub src: IpAddr,
    /// The destination address at the hook, of the same family.
    pub dst: IpAddr,
    /// The codepoint as it came.
    pub dscp: Dscp,
    /// The other two bits of the DS field; no rule asks for them.
    pub ecn: Ecn,
    /// The transport protocol.
    pub proto: Option<u8>,
    /// The source port.
    pub src_port: Option<u16>,
    /// The destination port.
    pub dst_port: Option<u16>,
    /// The ICMP or ICMPv6 type.
    pub icmp_type: Option<u8>,
    /// What part of a datagram it is.
    pub fragment: Fragment,
    /// The outermost VLAN id.
    pub vlan: Option<u16>,
    /// The outermost priority code point.
    pub pcp: Option<u8>,
    /// The IP length in bytes.
    pub length: u16,
    /// The skb mark; at XDP there is none.
    pub mark: Option<u32>,
    /// Who made it; at ingress that is not asked.
    pub origin: Option<Origin>,
    /// The interface it came in by; at ingress that is not asked, and what this host made came in by none.
    pub from: Option<String>,
}
