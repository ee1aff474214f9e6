//! Random rules, and random packets that they are about: each a frame, and what it is in the words of the policy.
//!
//! Values come from small pools, so that rules overlap and packets hit them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use qos_common::ds::{DsField, Dscp};
use qos_vectors::{
    frame::{self, Ipv4, Ipv6, protocol},
    random::Random,
};
use qosbpf::policy::{
    model::{Action, Condition, Field, Fragment, MarkBits, Origin, Prefixes, Rule},
    packet::Packet,
};

use crate::metered;

/// The interfaces of the host. Two of them have the lower half of their numbers in common.
pub const INTERFACES: [(u32, &str); 5] =
    [(2, "lan0"), (3, "lan1"), (0x1_0003, "ppp0"), (0x02_0102, "ppp1"), (9, "wan0")];

const PROTOCOLS: [u8; 8] = [protocol::TCP, protocol::UDP, protocol::ICMP, protocol::ICMPV6, 132, 33, 136, 47];
const PORTS: [u16; 10] = [0, 22, 53, 179, 255, 256, 3478, 3481, 5060, 65_535];
const DSCPS: [u8; 6] = [0, 1, 34, 46, 48, 56];
const MARKS: [u32; 5] = [0, 0x10, 0x1_0000, 0xff_00ff, u32::MAX];
const NETWORKS4: [u32; 6] = [0x0a00_0000, 0x0a14_0000, 0x0a14_0080, 0xc000_0201, 0xffff_ffff, 0];
const NETWORKS6: [u128; 5] =
    [0x2001_0db8 << 96, 0x2001_0db8_0020 << 80, 0x2001_0db8_0020_0001 << 64, 0xfe80 << 112 | 1, u128::MAX];

/// Which fields a hook has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fields {
    /// Those of the packet.
    Xdp,
    /// Those, and the skb mark.
    Ingress,
    /// Those, and where it came from.
    Egress,
}

impl Fields {
    const fn kinds(self) -> usize {
        match self {
            Self::Xdp => 13,
            Self::Ingress => 14,
            Self::Egress => 16,
        }
    }
}

pub(crate) fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len())]
}

/// The rules of a hook: a few, or as many as make another number of words.
#[must_use]
pub fn rules(random: &mut Random, fields: Fields) -> Vec<Rule> {
    let most = pick(random, &[3, 3, 8, 8, 20, 20, 60, 70, 300]);
    let count = 1 + random.below(most);
    let mut passing = 0;
    let mut rules = Vec::new();
    for index in 0..count {
        let mut rule = rule(random, fields, index, count);
        if rule.action == Action::None && passing == 8 {
            rule.action = Action::Drop;
        }
        passing += usize::from(rule.action == Action::None);
        rules.push(rule);
    }
    rules
}

fn rule(random: &mut Random, fields: Fields, index: usize, count: usize) -> Rule {
    // Long lists need narrow rules, or the first few decide on everything.
    let least = if count > 20 { 2 } else { 0 };
    let wanted = least + random.below(4);
    let mut conditions: Vec<Condition> = Vec::new();
    for _ in 0..wanted {
        let condition = Condition { field: field(random, fields), negated: random.one_in(4) };
        let same =
            |other: &Condition| kind(&other.field) == kind(&condition.field) && other.negated == condition.negated;
        if !conditions.iter().any(same) {
            conditions.push(condition);
        }
    }
    let action = match random.below(10) {
        0 => Action::None,
        1 => Action::Drop,
        2 => Action::Set(None),
        3 | 4 => metered::action(random),
        _ => Action::Set(Some(dscp(random))),
    };
    let log = random.one_in(4).then(|| metered::log(random));
    let hands_over = fields != Fields::Xdp && action != Action::None && random.one_in(4);
    let mask = pick(random, &MARKS);
    Rule {
        name: format!("rule {index}"),
        line: index + 1,
        on: Vec::new(),
        conditions,
        count: action == Action::None && log.is_none(),
        action,
        log,
        priority: (hands_over && random.one_in(2)).then_some(0x0010_0200),
        mark: hands_over.then(|| MarkBits { value: pick(random, &MARKS) & mask, mask }),
    }
}

/// Fields of which a rule has one condition at most, but for its `-not` form.
fn kind(field: &Field) -> std::mem::Discriminant<Field> {
    std::mem::discriminant(field)
}

pub(crate) fn dscp(random: &mut Random) -> Dscp {
    DsField::new(pick(random, &DSCPS) << 2).dscp()
}

fn field(random: &mut Random, fields: Fields) -> Field {
    match random.below(fields.kinds()) {
        0 => Field::Dscp((0..3).fold(0, |bits, _| bits | 1 << dscp(random).value())),
        1 => Field::Family(vec![pick(random, &[4, 6])]),
        2 => Field::Proto(vec![byte_range(random, &PROTOCOLS)]),
        3 => Field::Src(prefixes(random)),
        4 => Field::Dst(prefixes(random)),
        5 => Field::SrcPort(port_ranges(random)),
        6 => Field::DstPort(port_ranges(random)),
        7 => Field::Port(port_ranges(random)),
        8 => Field::Vlan(vec![pick(random, &[(1, 1), (0, 4095), (100, 200)])]),
        9 => Field::Pcp(vec![pick(random, &[(0, 0), (5, 7)])]),
        10 => Field::Length(vec![pick(random, &[(0, 60), (61, 127), (128, 65_535), (0, 65_535)])]),
        11 => Field::Fragment(vec![pick(random, &[Fragment::No, Fragment::First, Fragment::Later])]),
        12 => Field::IcmpType(vec![pick(random, &[(8, 8), (0, 3), (128, 129)])]),
        13 => {
            let mask = pick(random, &MARKS);
            Field::Mark(MarkBits { value: pick(random, &MARKS) & mask, mask })
        }
        14 => Field::Origin(pick(random, &[Origin::Local, Origin::Forwarded])),
        _ => Field::From(vec![pick(random, &["lan*", "ppp0", "*", "eth7"]).to_owned()]),
    }
}

fn byte_range(random: &mut Random, pool: &[u8]) -> (u8, u8) {
    let (one, other) = (pick(random, pool), pick(random, pool));
    if random.one_in(3) { (one.min(other), one.max(other)) } else { (one, one) }
}

fn port_ranges(random: &mut Random) -> Vec<(u16, u16)> {
    let (one, other) = (pick(random, &PORTS), pick(random, &PORTS));
    if one == other || random.one_in(2) {
        return vec![(one, one)];
    }
    let (first, last) = (one.min(other), one.max(other));
    if random.one_in(2) || first + 1 >= last { vec![(first, last)] } else { vec![(first, first), (last, last)] }
}

fn prefixes(random: &mut Random) -> Prefixes {
    let mut prefixes = Prefixes::default();
    for _ in 0..=random.below(3) {
        if random.one_in(2) {
            let length = pick(random, &[0, 1, 8, 9, 16, 17, 23, 24, 25, 31, 32]);
            let kept = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            prefixes.v4.push(((address4(random).to_bits() & kept).into(), length));
        } else {
            let length = pick(random, &[0, 7, 10, 16, 17, 32, 47, 48, 56, 64, 65, 127, 128]);
            let kept = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            prefixes.v6.push(((address6(random).to_bits() & kept).into(), length));
        }
    }
    prefixes
}

fn address4(random: &mut Random) -> Ipv4Addr {
    let low = pick(random, &[0, 1, 0x80, 0x0101]);
    (pick(random, &NETWORKS4) ^ low).into()
}

fn address6(random: &mut Random) -> Ipv6Addr {
    let low = pick(random, &[0, 1, 1 << 63, 1 << 72, 0x0101]);
    (pick(random, &NETWORKS6) ^ low).into()
}

/// A packet, and what rules may know of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its bytes from the Ethernet header on.
    pub frame: Vec<u8>,
    /// How many of them are there from the IP header on.
    pub of_ip: usize,
    /// The tag beside it.
    pub tag: Option<u16>,
    /// The number of the interface that it came in by; 0 for what this host made.
    pub from: u32,
    /// The same in the words of the policy.
    pub packet: Packet,
    /// Whether it has more extension headers than are walked.
    pub too_long: bool,
}

/// What is behind the IP header.
struct Inside {
    first: u8,
    bytes: Vec<u8>,
    fragment: Fragment,
    proto: Option<u8>,
    /// What the walk to the transport header needs to find it.
    reached: bool,
    too_long: bool,
}

/// A packet; `beside`: its outermost tag may be in metadata.
#[must_use]
pub fn sample(random: &mut Random, fields: Fields, beside: bool) -> Sample {
    let (src_port, dst_port, kind) = (pick(random, &PORTS), pick(random, &PORTS), pick(random, &[0, 3, 8, 128, 129]));
    let number = pick(random, &PROTOCOLS);
    let mut payload = match number {
        protocol::ICMP | protocol::ICMPV6 => vec![kind, 0, 0, 0],
        _ => [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat(),
    };
    let visible = if random.one_in(8) { random.below(4) } else { 4 + pick(random, &[0, 4, 20, 60, 100]) };
    payload.resize(visible, 0);
    let v4 = random.one_in(2);
    let ds = pick(random, &DSCPS) << 2 | random.below(4) as u8;
    let (packet, inside, src, dst, length) =
        if v4 { ipv4(random, ds, number, payload) } else { ipv6(random, ds, number, payload) };
    let has_ports = inside.reached && visible >= 4 && ![protocol::ICMP, protocol::ICMPV6, 47].contains(&number);
    let icmp = if v4 { protocol::ICMP } else { protocol::ICMPV6 };
    let tags: Vec<frame::Tag> =
        (0..pick(random, &[0, 0, 1, 2])).map(|_| (0x8100, pick(random, &[1, 150, 0x6001, 0xf000]))).collect();
    let outermost = tags.first().map(|(_, tag)| *tag);
    let tag = outermost.filter(|_| beside && random.one_in(2));
    let ether_type = if v4 { frame::ether_type::IPV4 } else { frame::ether_type::IPV6 };
    let in_frame = &tags[usize::from(tag.is_some())..];
    let from = if random.one_in(3) { 0 } else { pick(random, &[2, 3, 0x1_0003, 0x02_0102, 9, 0x5_0003, 77]) };
    let name = INTERFACES.iter().find(|(number, _)| *number == from).map_or("gone", |(_, name)| name);
    let egress = fields == Fields::Egress;
    Sample {
        frame: frame::ethernet(in_frame, ether_type, &packet),
        of_ip: packet.len(),
        tag,
        from: if egress { from } else { 0 },
        too_long: inside.too_long,
        packet: Packet {
            src,
            dst,
            dscp: DsField::new(ds).dscp(),
            ecn: DsField::new(ds).ecn(),
            proto: inside.proto,
            src_port: has_ports.then_some(src_port),
            dst_port: has_ports.then_some(dst_port),
            icmp_type: (inside.reached && number == icmp && visible >= 2).then_some(kind),
            fragment: inside.fragment,
            vlan: outermost.map(|tag| tag & 0xfff),
            pcp: outermost.map(|tag| (tag >> 13) as u8),
            length,
            mark: (fields != Fields::Xdp).then(|| pick(random, &MARKS)),
            origin: egress.then_some(if from == 0 { Origin::Local } else { Origin::Forwarded }),
            from: (egress && from != 0).then(|| name.to_owned()),
        },
    }
}

type Built = (Vec<u8>, Inside, IpAddr, IpAddr, u16);

fn ipv4(random: &mut Random, ds: u8, number: u8, payload: Vec<u8>) -> Built {
    let (src, dst) = (address4(random), address4(random));
    let (field, fragment) = pick(
        random,
        &[(0, Fragment::No), (0x4000, Fragment::No), (0x2000, Fragment::First), (0x00b9, Fragment::Later)],
    );
    let options = vec![1; pick(random, &[0, 0, 4, 40])];
    let total_length = pick(random, &[None, None, None, Some(0), Some(61), Some(65_535)]);
    let header = Ipv4 { ds, fragment: field, protocol: number, options, total_length, ..Ipv4::default() };
    let mut packet = header.packet(&payload);
    packet[12..16].copy_from_slice(&src.octets());
    packet[16..20].copy_from_slice(&dst.octets());
    let length = total_length.filter(|length| *length != 0).unwrap_or(packet.len() as u16);
    let reached = fragment != Fragment::Later;
    let inside = Inside { first: number, bytes: payload, fragment, proto: Some(number), reached, too_long: false };
    (packet, inside, src.into(), dst.into(), length)
}

fn ipv6(random: &mut Random, ds: u8, number: u8, payload: Vec<u8>) -> Built {
    let (src, dst) = (address6(random), address6(random));
    let inside = extensions(random, number, payload);
    let payload_length = pick(random, &[None, None, None, Some(0), Some(21), Some(65_535)]);
    let mut packet = Ipv6 { ds, next: inside.first, payload_length, ..Ipv6::default() }.packet(&inside.bytes);
    packet[8..24].copy_from_slice(&src.octets());
    packet[24..40].copy_from_slice(&dst.octets());
    let length = match payload_length {
        Some(0) if inside.first == protocol::HOP_BY_HOP => packet.len() as u16,
        Some(length) => length.saturating_add(40),
        None if inside.bytes.is_empty() && inside.first == protocol::HOP_BY_HOP => 40,
        None => packet.len() as u16,
    };
    (packet, inside, src.into(), dst.into(), length)
}

/// A chain of extension headers before the payload, and what it makes of the packet.
fn extensions(random: &mut Random, number: u8, payload: Vec<u8>) -> Inside {
    const WALKED: usize = 8;
    let count = pick(random, &[0, 0, 0, 1, 2, 8, 9, 11]);
    let kinds: Vec<u8> =
        (0..count).map(|_| pick(random, &[0, 43, protocol::FRAGMENT, protocol::AH, 60, 135])).collect();
    let fields: Vec<u16> = kinds.iter().map(|_| pick(random, &[0, 0, 1, 0x00b8])).collect();
    let (mut first, mut bytes) = (number, payload);
    for (kind, field) in kinds.iter().zip(&fields).rev() {
        let mut header = match *kind {
            protocol::FRAGMENT => frame::fragment(first, *field, 0),
            protocol::AH => frame::authentication(first, 1),
            _ => frame::extension(first, pick(random, &[0, 0, 1])),
        };
        header.append(&mut bytes);
        (first, bytes) = (*kind, header);
    }
    let mut inside =
        Inside { first, bytes, fragment: Fragment::No, proto: Some(number), reached: true, too_long: false };
    for (index, (kind, field)) in kinds.iter().zip(fields).take(WALKED + 1).enumerate() {
        match (*kind, field) {
            (protocol::FRAGMENT, 0x00b8) => {
                inside.fragment = Fragment::Later;
                inside.reached = false;
                inside.proto = kinds.get(index + 1).is_none().then_some(number);
                return inside;
            }
            (protocol::FRAGMENT, 1) => inside.fragment = Fragment::First,
            _ => {}
        }
    }
    if count > WALKED {
        (inside.reached, inside.proto, inside.too_long) = (false, None, true);
    }
    inside
}
