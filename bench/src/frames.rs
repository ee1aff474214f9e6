//! The frames of program measurements.

use qos_vectors::frame::{Ipv4, Ipv6, ether_type, ethernet, extension, fragment, protocol, tcp, udp};

/// A frame, and what the kernel knows of it beside its bytes.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is, for tables.
    pub name: &'static str,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// Whether it is a super-packet, which only TC has.
    pub gso: Option<Gso>,
    /// The interface that it came in by; 0 for what this host made. At TC alone.
    pub ingress: u32,
}

/// A super-packet.
#[derive(Clone, Copy, Debug)]
pub struct Gso {
    /// Bytes of payload in each segment.
    pub size: u32,
    /// Segments.
    pub segments: u32,
    /// Bytes of all segments on the wire.
    pub wire: u32,
}

/// Bytes of `struct __sk_buff`, and where a test run takes fields from.
const SK_BUFF: usize = 192;
const INGRESS_IFINDEX: usize = 36;
const WIRE_LEN: usize = 160;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

/// Payload of the short frames: with Ethernet and FCS they have the least length, 64 bytes.
const SHORT: [u8; 18] = [b'x'; 18];

/// Bytes of payload in a segment of the super-packet, and how many segments: what fits a test run's page.
const SEGMENT: u32 = 1400;
const SEGMENTS: u32 = 2;

impl Sample {
    /// The context of a test run; `None` for a packet that is nothing special.
    pub fn context(&self) -> Option<[u8; SK_BUFF]> {
        if self.gso.is_none() && self.ingress == 0 {
            return None;
        }
        let mut context = [0; SK_BUFF];
        for (at, value) in self.words() {
            if let Some(field) = context.get_mut(at..at + 4) {
                field.copy_from_slice(&value.to_ne_bytes());
            }
        }
        Some(context)
    }

    /// What `struct __sk_buff` says of it, and where.
    pub fn words(&self) -> [(usize, u32); 4] {
        let gso = self.gso.unwrap_or(Gso { size: 0, segments: 0, wire: 0 });
        let ingress = (INGRESS_IFINDEX, self.ingress);
        [ingress, (WIRE_LEN, gso.wire), (GSO_SEGS, gso.segments), (GSO_SIZE, gso.size)]
    }
}

/// All of them.
pub fn all() -> Vec<Sample> {
    let plain = |name, frame| Sample { name, frame, gso: None, ingress: 0 };
    let packet4 = Ipv4::default().packet(&udp(&SHORT));
    // Router alert, then no operation.
    let options = Ipv4 { options: vec![0x94, 4, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], ..Ipv4::default() };
    let packet6 = Ipv6::default().packet(&udp(&SHORT));
    vec![
        plain("IPv4", ethernet(&[], ether_type::IPV4, &packet4)),
        plain("IPv4, 1514 bytes", ethernet(&[], ether_type::IPV4, &Ipv4::default().packet(&udp(&[b'x'; 1472])))),
        plain("IPv4, options", ethernet(&[], ether_type::IPV4, &options.packet(&udp(&SHORT)))),
        plain("IPv6", ethernet(&[], ether_type::IPV6, &packet6)),
        plain("IPv6, 3 extension headers", ethernet(&[], ether_type::IPV6, &chain())),
        plain("IPv4, one tag", ethernet(&[(ether_type::TAG, 100)], ether_type::IPV4, &packet4)),
        plain("IPv4, two tags", ethernet(&TWO_TAGS, ether_type::IPV4, &packet4)),
        plain("ARP (not IP)", ethernet(&[], ether_type::ARP, &[0; 46])),
        super_packet("IPv4, TCP, 2 segments (GSO)", ether_type::IPV4),
        super_packet("IPv6, TCP, 2 segments (GSO)", ether_type::IPV6),
    ]
}

const TWO_TAGS: [(u16, u16); 2] = [(ether_type::SERVICE_TAG, 200), (ether_type::TAG, 100)];

/// Hop-by-hop options, routing header, atomic fragment.
fn chain() -> Vec<u8> {
    let mut payload = extension(protocol::ROUTING, 0);
    payload.extend(extension(protocol::FRAGMENT, 0));
    payload.extend(fragment(protocol::UDP, 0, 0));
    payload.extend(udp(&SHORT));
    Ipv6 { next: protocol::HOP_BY_HOP, ..Ipv6::default() }.packet(&payload)
}

fn super_packet(name: &'static str, family: u16) -> Sample {
    let segment = tcp(&[], &vec![b'x'; (SEGMENT * SEGMENTS) as usize]);
    let packet = match family {
        ether_type::IPV4 => Ipv4 { protocol: protocol::TCP, ..Ipv4::default() }.packet(&segment),
        _ => Ipv6 { next: protocol::TCP, ..Ipv6::default() }.packet(&segment),
    };
    let frame = ethernet(&[], family, &packet);
    let headers = frame.len() as u32 - SEGMENT * SEGMENTS;
    let gso = Gso { size: SEGMENT, segments: SEGMENTS, wire: SEGMENTS * (headers + SEGMENT) };
    Sample { name, frame, gso: Some(gso), ingress: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_super_packet_says_so_where_the_kernel_looks() {
        let sample = super_packet("", ether_type::IPV6);
        let context = sample.context().unwrap();
        let field = |at: usize| u32::from_ne_bytes(context[at..at + 4].try_into().unwrap());
        assert_eq!((field(164), field(176), field(160)), (2, 1400, 2 * (14 + 40 + 20 + 1400)));
        assert_eq!(sample.frame.len(), 14 + 40 + 20 + 2800);
    }
}
