//! A packet in words to its bytes, so that a program can be run on it.

use core::net::IpAddr;

use etherparse::{
    EtherType, Ethernet2Header, IpDscp, IpEcn, IpFragOffset, IpNumber, Ipv4Header, Ipv6FragmentHeader, Ipv6Header,
    SingleVlanHeader, VlanId, VlanPcp,
};
use qos_common::locate::Link;

use super::{
    model::Fragment,
    packet::Packet,
    protocols::{self, TCP},
};

/// Where a later fragment begins, in units of 8 bytes: behind a first one that fills an Ethernet frame.
const LATER: u16 = 185;
/// The most bytes of a packet that a test run takes with room to spare; the length in the header is the whole one all the
/// same.
pub const MOST_BYTES: usize = 3_400;
const ADDRESSES: ([u8; 6], [u8; 6]) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);

impl Packet {
    /// Its bytes as they come to a hook of a device with this link layer; what is not said is zero. A tag is in the
    /// frame, and on a layer-3 device nowhere. Of a packet of more than 3,400 bytes the rest is left out.
    #[must_use]
    pub fn frame(&self, link: Link) -> Vec<u8> {
        let mut frame = match link {
            Link::Ethernet => self.link_header(),
            Link::Layer3 => Vec::new(),
        };
        let start = frame.len();
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => frame.extend(self.ipv4(src.octets(), dst.octets())),
            (IpAddr::V6(src), IpAddr::V6(dst)) => frame.extend(self.ipv6(src.octets(), dst.octets())),
            // The language refuses ends of two families.
            _ => return Vec::new(),
        }
        frame.extend(self.transport());
        frame.resize(start + usize::from(self.length).min(MOST_BYTES), 0);
        frame
    }

    fn link_header(&self) -> Vec<u8> {
        let ip = if self.src.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        let tag = self.vlan.map(|vlan| SingleVlanHeader {
            pcp: self.pcp.and_then(|pcp| VlanPcp::try_new(pcp).ok()).unwrap_or(VlanPcp::ZERO),
            drop_eligible_indicator: false,
            vlan_id: VlanId::try_new(vlan).unwrap_or(VlanId::ZERO),
            ether_type: ip,
        });
        let ether_type = if tag.is_some() { EtherType::VLAN_TAGGED_FRAME } else { ip };
        let (source, destination) = ADDRESSES;
        let mut bytes = Ethernet2Header { source, destination, ether_type }.to_bytes().to_vec();
        bytes.extend(tag.iter().flat_map(SingleVlanHeader::to_bytes));
        bytes
    }

    fn ipv4(&self, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
        let mut header = Ipv4Header {
            dscp: IpDscp::try_new(self.dscp.value()).unwrap_or_default(),
            ecn: IpEcn::try_new(self.ecn as u8).unwrap_or_default(),
            total_len: self.length,
            more_fragments: self.fragment == Fragment::First,
            fragment_offset: self.offset(),
            time_to_live: 64,
            protocol: IpNumber(self.proto.unwrap_or_default()),
            source,
            destination,
            ..Ipv4Header::default()
        };
        header.header_checksum = header.calc_header_checksum();
        header.to_bytes().to_vec()
    }

    fn ipv6(&self, source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
        let proto = IpNumber(self.proto.unwrap_or_default());
        let fragment = (self.fragment != Fragment::No)
            .then(|| Ipv6FragmentHeader::new(proto, self.offset(), self.fragment == Fragment::First, 1));
        let header = Ipv6Header {
            traffic_class: self.dscp.value() << 2 | self.ecn as u8,
            payload_length: self.length.saturating_sub(Ipv6Header::LEN as u16),
            next_header: if fragment.is_some() { IpNumber::IPV6_FRAGMENTATION_HEADER } else { proto },
            hop_limit: 64,
            source,
            destination,
            ..Ipv6Header::default()
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(fragment.iter().flat_map(Ipv6FragmentHeader::to_bytes));
        bytes
    }

    fn offset(&self) -> IpFragOffset {
        match self.fragment {
            Fragment::Later => IpFragOffset::try_new(LATER).unwrap_or(IpFragOffset::ZERO),
            Fragment::No | Fragment::First => IpFragOffset::ZERO,
        }
    }

    /// The beginning of its transport header: what rules ask for.
    fn transport(&self) -> Vec<u8> {
        const DATA_OFFSET: usize = 12;
        let (Some(proto), true) = (self.proto, self.fragment != Fragment::Later) else { return Vec::new() };
        let mut bytes = vec![0; protocols::header_length(proto).into()];
        if let (Some(source), Some(destination)) = (self.src_port, self.dst_port) {
            bytes[..2].copy_from_slice(&source.to_be_bytes());
            bytes[2..4].copy_from_slice(&destination.to_be_bytes());
        }
        if let Some(kind) = self.icmp_type {
            bytes[0] = kind;
        }
        if proto == TCP {
            bytes[DATA_OFFSET] = 5 << 4;
        }
        bytes
    }
}
