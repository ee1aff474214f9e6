//! Frames that are mostly right, in every combination, from a seed.

use qos_common::{inside::Inside, locate::Link};

use crate::frame::{self, Ipv4, Ipv6, Tag, ether_type, protocol};

/// A sequence of numbers that its seed determines (SplitMix64), on every platform and in every version.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`, which is not 0.
    pub const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `times`.
    pub const fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// A frame and the hook that it comes to.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its bytes.
    pub frame: Vec<u8>,
    /// The link layer that it is from.
    pub link: Link,
    /// 0 or 1.
    pub stripped_tags: usize,
    /// Behind which headers the hook looks.
    pub inside: Inside,
}

/// The frame of a seed: tagged or not, with options, extension headers, fragments; at times cut, at times with a byte
/// that is something else.
#[must_use]
pub fn sample(seed: u64) -> Sample {
    let random = &mut Random::new(seed);
    let (version, packet) = ip(random);
    let link = if random.one_in(4) { Link::Layer3 } else { Link::Ethernet };
    let mut frame = match link {
        Link::Layer3 => packet,
        Link::Ethernet => ethernet(random, version, &packet),
    };
    if random.one_in(4) {
        frame.truncate(random.below(frame.len() + 1));
    }
    if random.one_in(4) && !frame.is_empty() {
        let at = random.below(frame.len().min(80));
        frame[at] = random.next() as u8;
    }
    let stripped_tags = usize::from(link == Link::Ethernet && random.one_in(4));
    let inside = random.pick(&[Inside::NOTHING, Inside::PPPOE, Inside::MPLS, Inside::PPPOE.and(Inside::MPLS)]);
    Sample { frame, link, stripped_tags, inside }
}

fn ethernet(random: &mut Random, version: u8, packet: &[u8]) -> Vec<u8> {
    const TPIDS: [u16; 6] = [0x8100, 0x8100, 0x8100, 0x88a8, 0x88a8, ether_type::OLD_TAG];
    let count = random.pick(&[0, 0, 0, 1, 1, 2, 3, 4, 5, 6]);
    let tags: Vec<Tag> = (0..count).map(|_| (random.pick(&TPIDS), random.next() as u16)).collect();
    let right = if version == 4 { ether_type::IPV4 } else { ether_type::IPV6 };
    let other = [ether_type::IPV4, ether_type::IPV6, ether_type::ARP, ether_type::PPPOE_SESSION, ether_type::MPLS, 60];
    if random.one_in(4) {
        let (kind, covered) = covered(random, version, packet);
        return frame::ethernet(&tags, kind, &covered);
    }
    let kind = if random.one_in(8) { random.pick(&other) } else { right };
    frame::ethernet(&tags, kind, packet)
}

/// The packet in a session, or behind labels.
fn covered(random: &mut Random, version: u8, packet: &[u8]) -> (u16, Vec<u8>) {
    if random.one_in(2) {
        let kind = random.pick(&[ether_type::MPLS, ether_type::MPLS, ether_type::MPLS_MULTICAST]);
        return (kind, frame::labels(random.pick(&[1, 1, 2, 3, 4, 7, 8, 9]), packet));
    }
    let right = if version == 4 { 0x21 } else { 0x57 };
    let other = random.next() as u8;
    let low = if random.one_in(8) { random.pick(&[0x21, 0x57, 0x2d, other]) } else { right };
    let long = [random.pick(&[0, 0, 0, 0, 0xc0, 0x80]), low];
    let protocol = if random.one_in(4) { &long[1..] } else { &long[..] };
    let mut session = frame::session(protocol, packet);
    if random.one_in(8) {
        session[random.below(frame::SESSION)] = random.next() as u8;
    }
    (ether_type::PPPOE_SESSION, session)
}

fn ip(random: &mut Random) -> (u8, Vec<u8>) {
    let (protocol, transport) = transport(random);
    if random.one_in(2) { (4, ipv4(random, protocol, &transport)) } else { (6, ipv6(random, protocol, transport)) }
}

fn transport(random: &mut Random) -> (u8, Vec<u8>) {
    let length = random.below(60);
    let payload = random.bytes(length);
    match random.below(4) {
        0 => (protocol::UDP, frame::udp(&payload)),
        1 => (protocol::TCP, frame::tcp(&vec![1; random.below(11) * 4], &payload)),
        2 => (random.pick(&[protocol::ICMP, protocol::ESP, protocol::NONE, protocol::AH, 132]), payload),
        _ => (random.next() as u8, payload),
    }
}

fn ipv4(random: &mut Random, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let options = if random.one_in(3) { vec![1; random.below(11) * 4] } else { Vec::new() };
    let fragment = if random.one_in(4) { random.next() as u16 } else { 0x4000 };
    let first_byte = random.one_in(10).then(|| random.next() as u8);
    let total_length = random.one_in(6).then(|| random.next() as u16);
    let (ds, identification) = (random.next() as u8, random.next() as u16);
    let header = Ipv4 { ds, identification, fragment, protocol, options, total_length, first_byte };
    let mut packet = header.packet(payload);
    if random.one_in(6) {
        packet[10] = random.next() as u8;
        packet[11] = random.pick(&[0, 0xff, packet[10]]);
    }
    packet
}

fn ipv6(random: &mut Random, protocol: u8, transport: Vec<u8>) -> Vec<u8> {
    let (mut next, mut payload) = (protocol, transport);
    let count = random.pick(&[0, 0, 0, 1, 2, 3, 7, 8, 9, 12]);
    for _ in 0..count {
        let kind = random.pick(&[0, 43, 44, 51, 60, 135, 139, 140]);
        let mut header = extension(random, kind, next);
        header.append(&mut payload);
        (next, payload) = (kind, header);
    }
    let payload_length = random.one_in(6).then(|| random.next() as u16);
    let version = if random.one_in(10) { random.below(16) as u8 } else { 6 };
    Ipv6 { ds: random.next() as u8, flow_label: random.next() as u32, next, payload_length, version }.packet(&payload)
}

fn extension(random: &mut Random, kind: u8, next: u8) -> Vec<u8> {
    match kind {
        protocol::FRAGMENT => {
            let field = random.pick(&[0, 0, 1, 6, 8, 0xfff9]);
            frame::fragment(next, field, random.next() as u8)
        }
        protocol::AH => frame::authentication(next, random.below(6) as u8),
        _ => frame::extension(next, random.pick(&[0, 0, 0, 1, 2, 5, 31])),
    }
}
