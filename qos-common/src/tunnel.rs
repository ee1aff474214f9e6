//! What is inside a packet that this host has put into another one: the DSCP of the inner IP header, from which a policy
//! may make the outer one (RFC 2983).
//!
//! ```text
//! IP in IP   | outer IP | inner IP                                                        RFC 2003, 2473, 4213
//! GRE        | outer IP | flags 2, type 2, checksum 4?, key 4?, sequence 4? | inner       RFC 2784, 2890
//! VXLAN      | outer IP | UDP 8 | flags, network 8 | Ethernet | inner IP                  RFC 7348
//! Geneve     | outer IP | UDP 8 | options, type, network 8 | options | Ethernet or inner  RFC 8926
//! ```
//!
//! What is encrypted (ESP, WireGuard) shows nothing, and nothing is made of it.

use network_types::{eth::EthHdr, ip::IpProto, udp::UdpHdr, vlan::VlanHdr};

use crate::{
    ds::Dscp,
    flow,
    locate::{self, Header, Located, ipv4, ipv6},
    packet::Packet,
};

/// The ports of VXLAN: IANA's, and the one that Linux takes if it is told none.
const VXLAN: [u16; 2] = [4789, 8472];

const GENEVE: u16 = 6081;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ETHERNET: u16 = 0x6558;

/// The DSCP of the IP header inside, where there is one to be seen.
#[inline(always)]
pub fn inner<P: Packet + ?Sized>(packet: &P, outer: &Header) -> Option<Dscp> {
    const IN_IP: u8 = IpProto::Ipv4 as u8;
    const IPV6_IN_IP: u8 = IpProto::Ipv6 as u8;
    const GRE: u8 = IpProto::Gre as u8;
    const UDP: u8 = IpProto::Udp as u8;
    let transport = flow::transport(packet, outer)?;
    match transport.protocol {
        IN_IP => dscp(ipv4(packet, transport.offset)),
        IPV6_IN_IP => dscp(ipv6(packet, transport.offset)),
        GRE => in_gre(packet, transport.offset),
        UDP => in_udp(packet, transport.offset),
        _ => None,
    }
}

#[inline(always)]
fn dscp(located: Located) -> Option<Dscp> {
    match located {
        Located::Ip(header) => Some(header.ds.dscp()),
        Located::NotIp | Located::Malformed => None,
    }
}

/// Version 0, of which routing was taken out (RFC 2784); each of three flags stands for four bytes more.
#[inline(always)]
fn in_gre<P: Packet + ?Sized>(packet: &P, offset: usize) -> Option<Dscp> {
    let [flags, version, a, b] = packet.read::<4>(offset)?;
    if flags & 0x4f != 0 || version != 0 {
        return None;
    }
    let optional = usize::from((flags >> 7) + (flags >> 5 & 1) + (flags >> 4 & 1));
    of_type(packet, u16::from_be_bytes([a, b]), offset + 4 + 4 * optional)
}

#[inline(always)]
fn in_udp<P: Packet + ?Sized>(packet: &P, offset: usize) -> Option<Dscp> {
    let [_, _, a, b] = packet.read::<4>(offset)?;
    let (port, offset) = (u16::from_be_bytes([a, b]), offset + UdpHdr::LEN);
    let [first, _, a, b] = packet.read::<4>(offset)?;
    if port == GENEVE && first >> 6 == 0 {
        return of_type(packet, u16::from_be_bytes([a, b]), offset + 8 + 4 * usize::from(first & 0x3f));
    }
    let names_network = first & 0x08 != 0;
    if VXLAN.contains(&port) && names_network { in_ethernet(packet, offset + 8) } else { None }
}

#[inline(always)]
fn of_type<P: Packet + ?Sized>(packet: &P, kind: u16, offset: usize) -> Option<Dscp> {
    if kind == ETHERNET { in_ethernet(packet, offset) } else { ip(packet, kind, offset) }
}

/// Behind an Ethernet header, and a tag if there is one.
#[inline(always)]
fn in_ethernet<P: Packet + ?Sized>(packet: &P, offset: usize) -> Option<Dscp> {
    let [a, b] = packet.read::<2>(offset + EthHdr::LEN - 2)?;
    let offset = offset + EthHdr::LEN;
    if !locate::is_tag(u16::from_ne_bytes([a, b])) {
        return ip(packet, u16::from_be_bytes([a, b]), offset);
    }
    let [_, _, a, b] = packet.read::<{ VlanHdr::LEN }>(offset)?;
    ip(packet, u16::from_be_bytes([a, b]), offset + VlanHdr::LEN)
}

#[inline(always)]
fn ip<P: Packet + ?Sized>(packet: &P, kind: u16, offset: usize) -> Option<Dscp> {
    match kind {
        IPV4 => dscp(ipv4(packet, offset)),
        IPV6 => dscp(ipv6(packet, offset)),
        _ => None,
    }
}
