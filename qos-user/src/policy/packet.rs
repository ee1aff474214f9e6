//! A packet as rules see it: described, without bytes.

use core::net::IpAddr;
use std::ops::Range;

use qos_common::ds::{Dscp, Ecn};

use crate::{
    hook::Direction,
    policy::{
        model::{Fragment, Origin},
        notation,
    },
};

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

/// Why words are not a packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PacketError {
    /// The word that is wrong, in bytes from the start of the text.
    pub at: Range<usize>,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Packet {
    /// Reads `tcp 203.0.113.1:179 > 203.0.113.2:33000 dscp CS6 origin local`: a protocol, two endpoints, then in any
    /// order `dscp`, `ecn`, `length`, `fragment`, `icmp-type`, `vlan`, `pcp` and `mark`, and at egress `origin` and
    /// `from`, each with its value.
    ///
    /// What is not said is as in the plainest packet: DF, Not-ECT, unfragmented, untagged, no longer than its headers,
    /// an echo request in ICMP, skb mark 0, and at egress forwarded.
    ///
    /// # Errors
    ///
    /// [`PacketError`] names the first word that is wrong. `direction` is that of the hook to which the packet comes;
    /// without one, what is for egress only is taken.
    pub fn parse(text: &str, direction: Option<Direction>) -> Result<Self, PacketError> {
        notation::read(text, direction)
    }

    /// The IP version, 4 or 6.
    #[must_use]
    pub const fn version(&self) -> u8 {
        if self.src.is_ipv4() { 4 } else { 6 }
    }
}
