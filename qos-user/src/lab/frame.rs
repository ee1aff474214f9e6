//! What a captured frame says, if it is a probe's.

use etherparse::{Ipv4Slice, Ipv6Slice, NetSlice, SlicedPacket, TransportSlice, UdpSlice};
use qos_common::{ds::DsField, locate::Family};

use super::probe::Label;

/// A probe's datagram as it was on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Which of whose.
    pub label: Label,
    /// The family.
    pub family: Family,
    /// The DS field.
    pub ds: DsField,
    /// Whether the IPv4 header checksum is right (RFC 791); IPv6 has none.
    pub header_checksum: Option<bool>,
    /// Whether a UDP checksum is there and right (RFC 768, RFC 8200 section 8.1).
    pub udp_checksum: bool,
    /// Bytes of the frame, link-layer header included.
    pub bytes: usize,
}

impl Arrival {
    /// Reads an Ethernet frame; none if it is not a probe's.
    ///
    /// Its checksums are judged as they lie in the frame; [`send`](super::probe::send) makes them whole.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let Some(TransportSlice::Udp(udp)) = packet.transport else { return None };
        let label = Label::read(udp.payload())?;
        match packet.net? {
            NetSlice::Ipv4(ip) => Some(Self::v4(label, &ip, &udp, frame.len())),
            NetSlice::Ipv6(ip) => Some(Self::v6(label, &ip, &udp, frame.len())),
            NetSlice::Arp(_) => None,
        }
    }

    fn v4(label: Label, ip: &Ipv4Slice<'_>, udp: &UdpSlice<'_>, bytes: usize) -> Self {
        let header = ip.header().to_header();
        let udp_checksum = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
        Self {
            label,
            family: Family::V4,
            ds: DsField::new(header.dscp.value() << 2 | header.ecn.value()),
            header_checksum: Some(header.calc_header_checksum() == header.header_checksum),
            udp_checksum: udp_checksum.is_ok_and(|checksum| checksum == udp.checksum()),
            bytes,
        }
    }

    fn v6(label: Label, ip: &Ipv6Slice<'_>, udp: &UdpSlice<'_>, bytes: usize) -> Self {
        let header = ip.header().to_header();
        let udp_checksum = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
        Self {
            label,
            family: Family::V6,
            ds: DsField::new(header.traffic_class),
            header_checksum: None,
            udp_checksum: udp_checksum.is_ok_and(|checksum| checksum == udp.checksum()),
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    const LABEL: Label = Label { id: 7, sequence: 3 };
    const DS: DsField = DsField::new(0xbb);

    /// A probe's frame with every checksum right.
    fn frame(family: Family) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 1, 2], [2, 0, 0, 0, 1, 1]);
        let ip = match family {
            Family::V4 => link.ip(etherparse::IpHeaders::Ipv4(
                etherparse::Ipv4Header {
                    dscp: DS.dscp().value().try_into().unwrap(),
                    ecn: 3.try_into().unwrap(),
                    time_to_live: 9,
                    source: [192, 0, 2, 2],
                    destination: [198, 51, 100, 2],
                    ..Default::default()
                },
                Default::default(),
            )),
            Family::V6 => link.ip(etherparse::IpHeaders::Ipv6(
                etherparse::Ipv6Header { traffic_class: DS.bits(), hop_limit: 9, ..Default::default() },
                Default::default(),
            )),
        };
        let mut frame = Vec::new();
        ip.udp(1000, 2000).write(&mut frame, &LABEL.payload()).unwrap();
        frame
    }

    #[test]
    fn a_right_frame_is_read_whole() {
        for family in [Family::V4, Family::V6] {
            let frame = frame(family);
            let header_checksum = (family == Family::V4).then_some(true);
            let whole =
                Arrival { label: LABEL, family, ds: DS, header_checksum, udp_checksum: true, bytes: frame.len() };
            assert_eq!(Arrival::read(&frame), Some(whole));
        }
    }

    #[test]
    fn a_changed_mark_breaks_the_header_checksum_and_no_other() {
        let mut frame = frame(Family::V4);
        frame[15] = 0;
        let arrival = Arrival::read(&frame).unwrap();
        assert_eq!((arrival.header_checksum, arrival.udp_checksum), (Some(false), true));
    }

    #[test]
    fn a_changed_sequence_breaks_the_udp_checksum() {
        for family in [Family::V4, Family::V6] {
            let mut frame = frame(family);
            *frame.last_mut().unwrap() ^= 1;
            assert!(!Arrival::read(&frame).unwrap().udp_checksum);
        }
    }

    #[test]
    fn whatever_else_is_on_the_wire_is_no_arrival() {
        let mut other = frame(Family::V4);
        let magic = other.len() - super::super::probe::PAYLOAD;
        other[magic] = b'Q';
        assert_eq!(Arrival::read(&other), None);
        assert_eq!(Arrival::read(&[]), None);
    }
}
