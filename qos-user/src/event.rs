//! What rules that log tell of packets.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::SystemTime,
};

use qos_common::{
    ds::DsField,
    event::Event,
    flow::{self, NO_PROTOCOL, Ports},
    locate::{Family, Header},
};

/// A packet that a rule logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPacket {
    /// When it came.
    pub time: SystemTime,
    /// The hook, such as `wan0:egress`.
    pub hook: String,
    /// The rule's name; its counter's number if no rule has that any more.
    pub rule: String,
    /// The DS field as it came.
    pub before: DsField,
    /// The DS field as it left; `None` if it was dropped.
    pub after: Option<DsField>,
    /// Bytes of the frame; of a super-packet those of all segments.
    pub bytes: u32,
    /// Where from and where to, with ports if it has any that are in what was captured.
    pub ends: Option<[End; 2]>,
    /// The transport protocol; `None` for a packet that is cut before it.
    pub protocol: Option<u8>,
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The address at the hook: before DNAT at ingress, after SNAT at egress.
    pub address: IpAddr,
    /// The port.
    pub port: Option<u16>,
}

impl LoggedPacket {
    /// What an event says.
    #[must_use]
    pub fn new(event: &Event, hook: &str, rule: &str, time: SystemTime) -> Self {
        let family = if event.family == Family::V6 as u8 { Family::V6 } else { Family::V4 };
        let packet = event.headers.get(..usize::from(event.captured)).unwrap_or(&event.headers);
        let before = DsField::new(event.before);
        let header = Header { family, offset: 0, ds: before };
        let flow = flow::flow(packet, &header);
        let protocol = (flow.protocol != NO_PROTOCOL).then_some(flow.protocol as u8);
        Self {
            time,
            hook: hook.to_owned(),
            rule: rule.to_owned(),
            before,
            after: (event.dropped == 0).then_some(DsField::new(event.after)),
            bytes: event.bytes,
            ends: ends(packet, family, flow.ports(packet, family).unwrap_or(Ports::NONE)),
            protocol,
        }
    }
}

fn ends(packet: &[u8], family: Family, ports: Ports) -> Option<[End; 2]> {
    let [source, destination] = match family {
        Family::V4 => {
            let addresses: &[[u8; 4]; 2] = packet.get(12..20)?.as_chunks().0.try_into().ok()?;
            addresses.map(|address| IpAddr::V4(Ipv4Addr::from(address)))
        }
        Family::V6 => {
            let addresses: &[[u8; 16]; 2] = packet.get(8..40)?.as_chunks().0.try_into().ok()?;
            addresses.map(|address| IpAddr::V6(Ipv6Addr::from(address)))
        }
    };
    let port = |port: u32| u16::try_from(port).ok();
    Some([
        End { address: source, port: port(ports.source) },
        End { address: destination, port: port(ports.destination) },
    ])
}

#[cfg(test)]
mod tests {
    use qos_vectors::frame::{self, Ipv4, Ipv6, protocol};

    use super::*;

    fn logged(family: Family, packet: &[u8]) -> LoggedPacket {
        let mut event = Event { family: family as u8, before: 0xb8, after: 0x02, bytes: 90, ..Event::NONE };
        event.captured = packet.len().min(event.headers.len()) as u8;
        event.headers[..packet.len()].copy_from_slice(packet);
        LoggedPacket::new(&event, "lan0:ingress", "who", SystemTime::UNIX_EPOCH)
    }

    fn ports(packet: &LoggedPacket) -> [Option<u16>; 2] {
        packet.ends.unwrap().map(|end| end.port)
    }

    #[test]
    fn ports_are_read_behind_options_and_extension_headers() {
        let mut udp = frame::udp(&[]);
        udp[..4].copy_from_slice(&[0x13, 0xc4, 0x1b, 0x58]);
        let v4 = Ipv4 { options: vec![1; 8], ..Ipv4::default() }.packet(&udp);
        let packet = logged(Family::V4, &v4);
        assert_eq!((packet.protocol, ports(&packet)), (Some(17), [Some(5060), Some(7000)]));
        assert_eq!((packet.before.bits(), packet.after.map(DsField::bits)), (0xb8, Some(0x02)));
        let chain = [frame::extension(protocol::UDP, 0), udp].concat();
        let v6 = Ipv6 { next: protocol::DESTINATION, ..Ipv6::default() }.packet(&chain);
        let packet = logged(Family::V6, &v6);
        assert_eq!((packet.protocol, ports(&packet)), (Some(17), [Some(5060), Some(7000)]));
    }

    #[test]
    fn what_was_not_captured_is_not_made_up() {
        let icmp = logged(Family::V4, &Ipv4 { protocol: protocol::ICMP, ..Ipv4::default() }.packet(&[8, 0, 0, 0]));
        assert_eq!((icmp.protocol, ports(&icmp)), (Some(1), [None, None]));
        let cut = logged(Family::V4, &[0x45, 0xb8, 0, 40]);
        assert_eq!((cut.ends, cut.protocol), (None, None));
    }
}
