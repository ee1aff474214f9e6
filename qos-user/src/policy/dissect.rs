//! A frame to what rules know of it, by the reader of the data path itself; and a packet in words.

use core::net::IpAddr;
use std::fmt;

use qos_common::{
    ds::Ecn,
    flow::{self, Flow, Ports, Reach, flow},
    gso::Length,
    inside::{self, Inside},
    locate::{Family, Header, Link, Located},
    rules::index,
};

use super::{
    model::{Fragment, Origin},
    packet::Packet,
    protocols,
};

/// Destination, source and EtherType, where a tag begins.
const UNTAGGED: usize = 14;

/// The EtherTypes of tags (802.1Q).
const C_TAG: &[u8] = &[0x81, 0];
const S_TAG: &[u8] = &[0x88, 0xa8];

impl Packet {
    /// What a hook can tell of a frame; `None` if it is not IP, or malformed. Mark, origin and `from` are not in it.
    #[must_use]
    pub fn of_frame(frame: &[u8], link: Link, inside: Inside) -> Option<Self> {
        let Located::Ip(header) = inside::locate(frame, link, inside, 0) else { return None };
        let flow = flow(frame, &header);
        let (src, dst) = addresses(frame, &header)?;
        let ports = flow.ports(frame, header.family).unwrap_or(Ports::NONE);
        let tagged = link == Link::Ethernet && matches!(frame.get(UNTAGGED - 2..UNTAGGED), Some(C_TAG | S_TAG));
        let tag = tagged.then(|| frame.get(UNTAGGED..UNTAGGED + 2)).flatten();
        let tag = tag.map(|tag| u16::from(tag[0]) << 8 | u16::from(tag[1]));
        let bytes = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        Some(Self {
            src,
            dst,
            dscp: header.ds.dscp(),
            ecn: header.ds.ecn(),
            proto: protocol(&flow),
            src_port: port(ports.source),
            dst_port: port(ports.destination),
            icmp_type: icmp_type(ports),
            fragment: match flow.fragment {
                flow::Fragment::No => Fragment::No,
                flow::Fragment::First => Fragment::First,
                flow::Fragment::Later => Fragment::Later,
            },
            vlan: tag.map(|tag| tag & 0xfff),
            pcp: tag.map(|tag| (tag >> 13) as u8),
            length: Length::single(bytes).of_ip(frame, &header, &flow),
            mark: Some(0),
            origin: None,
            from: None,
        })
    }
}

fn addresses(frame: &[u8], header: &Header) -> Option<(IpAddr, IpAddr)> {
    let ip = frame.get(header.offset..)?;
    Some(match header.family {
        Family::V4 => (address::<4>(ip, 12)?.into(), address::<4>(ip, 16)?.into()),
        Family::V6 => (address::<16>(ip, 8)?.into(), address::<16>(ip, 24)?.into()),
    })
}

fn address<const N: usize>(ip: &[u8], at: usize) -> Option<[u8; N]> {
    ip.get(at..at + N)?.try_into().ok()
}

fn protocol(flow: &Flow) -> Option<u8> {
    // Behind a chain that is too long there is a protocol that no rule sees.
    if flow.reach == Reach::TooLong { None } else { u8::try_from(flow.protocol).ok() }
}

fn port(number: u32) -> Option<u16> {
    u16::try_from(number).ok()
}

fn icmp_type(ports: Ports) -> Option<u8> {
    ports.source.checked_sub(index::ICMP).and_then(|kind| u8::try_from(kind).ok())
}

/// The words that [`Packet::parse`] reads, with what is not as in the plainest packet.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.proto {
            Some(proto) => f.write_str(&protocols::name(proto))?,
            None => f.write_str("ip")?,
        }
        write!(f, " {} > {}", end(self.src, self.src_port), end(self.dst, self.dst_port))?;
        write!(f, " dscp {}", self.dscp)?;
        if self.ecn != Ecn::NotEct {
            write!(f, " ecn {}", self.ecn as u8)?;
        }
        match self.origin {
            Some(Origin::Local) => f.write_str(" origin local")?,
            Some(Origin::Forwarded) if self.from.is_none() => f.write_str(" origin forwarded")?,
            _ => {}
        }
        if let Some(from) = &self.from {
            write!(f, " from {from}")?;
        }
        if let (Some(vlan), Some(pcp)) = (self.vlan, self.pcp) {
            write!(f, " vlan {vlan} pcp {pcp}")?;
        }
        write!(f, " length {}", self.length)?;
        match self.fragment {
            Fragment::No => {}
            Fragment::First => f.write_str(" fragment first")?,
            Fragment::Later => f.write_str(" fragment later")?,
        }
        if let Some(kind) = self.icmp_type {
            write!(f, " icmp-type {kind}")?;
        }
        match self.mark {
            Some(mark) if mark != 0 => write!(f, " mark {mark:#x}"),
            _ => Ok(()),
        }
    }
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
        (address, Some(port)) => format!("{address}:{port}"),
        (address, None) => address.to_string(),
    }
}
