//! Builds frames, right or wrong, from the payload outwards.

use crate::checksum;

/// EtherTypes (IEEE 802 numbers).
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// A customer tag (802.1Q).
    pub const TAG: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// MPLS, unicast.
    pub const MPLS: u16 = 0x8847;
    /// MPLS, multicast.
    pub const MPLS_MULTICAST: u16 = 0x8848;
    /// PPPoE discovery stage (RFC 2516).
    pub const PPPOE_DISCOVERY: u16 = 0x8863;
    /// PPPoE session stage (RFC 2516).
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// A service tag (802.1ad).
    pub const SERVICE_TAG: u16 = 0x88a8;
    /// A tag before 802.1ad, of some vendors; not a tag for this data path.
    pub const OLD_TAG: u16 = 0x9100;
}

/// IP protocol numbers.
pub mod protocol {
    /// Hop-by-hop options (RFC 8200).
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in IP.
    pub const IPV6: u8 = 41;
    /// Routing header.
    pub const ROUTING: u8 = 43;
    /// Fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating security payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// Authentication header (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// No next header.
    pub const NONE: u8 = 59;
    /// Destination options.
    pub const DESTINATION: u8 = 60;
    /// Mobility header (RFC 6275).
    pub const MOBILITY: u8 = 135;
    /// Host identity protocol (RFC 7401).
    pub const HIP: u8 = 139;
    /// Shim6 (RFC 5533).
    pub const SHIM6: u8 = 140;
}

/// A tag: its TPID and TCI.
pub type Tag = (u16, u16);

/// An Ethernet frame; `ether_type` is that of the payload, behind all tags.
#[must_use]
pub fn ethernet(tags: &[Tag], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An IPv4 header.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    /// The DS field.
    pub ds: u8,
    /// The identification: any value, so that a checksum can be reached.
    pub identification: u16,
    /// Flags and fragment offset, as one word.
    pub fragment: u16,
    /// The protocol.
    pub protocol: u8,
    /// Options; a multiple of 4 bytes, 40 at most.
    pub options: Vec<u8>,
    /// The total length, where it is not to be the right one.
    pub total_length: Option<u16>,
    /// The first byte, where version and IHL are not to be the right ones.
    pub first_byte: Option<u8>,
}

impl Default for Ipv4 {
    fn default() -> Self {
        let options = Vec::new();
        Self {
            ds: 0,
            identification: 1,
            fragment: 0,
            protocol: protocol::UDP,
            options,
            total_length: None,
            first_byte: None,
        }
    }
}

impl Ipv4 {
    /// The header with its checksum, and `payload` behind it.
    #[must_use]
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let length = 20 + self.options.len();
        let total = self.total_length.unwrap_or((length + payload.len()) as u16);
        let mut packet = vec![self.first_byte.unwrap_or(0x40 | (length / 4) as u8), self.ds];
        for word in [total, self.identification, self.fragment] {
            packet.extend(word.to_be_bytes());
        }
        packet.extend([64, self.protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
        packet.extend(&self.options);
        let check = checksum::of_ipv4_header(&packet);
        packet[10..12].copy_from_slice(&check);
        packet.extend(payload);
        packet
    }

    /// The same header with the identification by which its checksum becomes 0x0000.
    #[must_use]
    pub fn with_zero_checksum(&self, payload: &[u8]) -> Self {
        let packet = Self { identification: 0, ..self.clone() }.packet(payload);
        // What is missing to 0xffff is the checksum itself.
        Self { identification: u16::from_be_bytes([packet[10], packet[11]]), ..self.clone() }
    }
}

/// An IPv6 header.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    /// The DS field.
    pub ds: u8,
    /// The flow label, 20 bits.
    pub flow_label: u32,
    /// The protocol, or the first extension header.
    pub next: u8,
    /// The payload length, where it is not to be the right one.
    pub payload_length: Option<u16>,
    /// The version, where it is not to be 6.
    pub version: u8,
}

impl Default for Ipv6 {
    fn default() -> Self {
        Self { ds: 0, flow_label: 0xa_bcde, next: protocol::UDP, payload_length: None, version: 6 }
    }
}

impl Ipv6 {
    /// The header, and `payload` behind it.
    #[must_use]
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let word = u32::from(self.version) << 28 | u32::from(self.ds) << 20 | self.flow_label & 0xf_ffff;
        let mut packet = word.to_be_bytes().to_vec();
        packet.extend(self.payload_length.unwrap_or(payload.len() as u16).to_be_bytes());
        packet.extend([self.next, 64]);
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        packet.extend(payload);
        packet
    }
}

/// An extension header in units of 8 bytes (hop-by-hop, routing, destination options, mobility, HIP, Shim6): `8 + 8 *
/// more` bytes, filled with one PadN option.
#[must_use]
pub fn extension(next: u8, more: u8) -> Vec<u8> {
    let mut bytes = vec![0; 8 + usize::from(more) * 8];
    bytes[0] = next;
    bytes[1] = more;
    bytes[2] = 1;
    bytes[3] = (bytes.len() - 4).min(255) as u8;
    bytes
}

/// A fragment header. `field` is the word of offset and flag, `reserved` the byte that has no meaning.
#[must_use]
pub fn fragment(next: u8, field: u16, reserved: u8) -> Vec<u8> {
    let [high, low] = field.to_be_bytes();
    vec![next, reserved, high, low, 0, 0, 0, 7]
}

/// An authentication header with `icv` words of 4 bytes behind its 12; its length field counts from 2 words less.
#[must_use]
pub fn authentication(next: u8, icv: u8) -> Vec<u8> {
    let mut bytes = vec![next, icv + 1, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1];
    bytes.resize(12 + usize::from(icv) * 4, 0xee);
    bytes
}

/// Bytes of a PPPoE header (RFC 2516).
pub const SESSION: usize = 6;

/// A packet in a PPPoE session, under a PPP protocol of two bytes, or of one that is compressed (RFC 1661).
#[must_use]
pub fn session(protocol: &[u8], packet: &[u8]) -> Vec<u8> {
    let length = ((protocol.len() + packet.len()) as u16).to_be_bytes();
    [&[0x11, 0, 0, 7][..], &length, protocol, packet].concat()
}

/// A packet behind so many labels (RFC 3032), of which the last is the bottom of the stack.
#[must_use]
pub fn labels(count: usize, packet: &[u8]) -> Vec<u8> {
    let mut bytes = [0, 1, 0, 64].repeat(count);
    if let Some(last) = bytes.last_chunk_mut::<4>() {
        last[2] |= 1;
    }
    bytes.extend(packet);
    bytes
}

/// A UDP datagram from port 5004 to 5006, without a checksum.
#[must_use]
pub fn udp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x13, 0x8c, 0x13, 0x8e];
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

/// A TCP segment to port 179. `options` are a multiple of 4 bytes, 40 at most.
#[must_use]
pub fn tcp(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, 0xe8, 0, 179, 0, 0, 0, 1, 0, 0, 0, 2];
    bytes.extend([((5 + options.len() / 4) as u8) << 4, 0x10, 0x20, 0, 0, 0, 0, 0]);
    bytes.extend(options);
    bytes.extend(payload);
    bytes
}
