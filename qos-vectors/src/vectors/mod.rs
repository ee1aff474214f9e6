//! The vectors, by what is special about them.

mod cut;
mod inside;
mod ipv4;
mod ipv6;
mod link;

use qos_common::{
    ds::DsField,
    flow::Transport,
    inside::Inside,
    locate::{Family, Header, Link, Located},
};

use crate::Vector;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// The DS field of most vectors: EF with ECT(0).
const EF_ECT0: u8 = 0xba;

pub fn all() -> Vec<Vector> {
    let packets = ipv4::all().into_iter().chain(ipv6::all()).flat_map(|vector| match bare(&vector) {
        Some(twin) => vec![vector, twin],
        None => vec![vector],
    });
    packets.chain(link::all()).chain(inside::all()).chain(cut::all()).collect()
}

/// The same IP packet as a layer-3 device has it.
fn bare(vector: &Vector) -> Option<Vector> {
    let Located::Ip(header) = vector.expect else { return None };
    let transport = vector.transport.map(|found| Transport { offset: found.offset - header.offset, ..found });
    Some(Vector {
        name: format!("{}, layer 3", vector.name),
        frame: vector.frame[header.offset..].to_vec(),
        link: Link::Layer3,
        stripped_tags: 0,
        inside: Inside::NOTHING,
        expect: Located::Ip(Header { offset: 0, ..header }),
        transport,
    })
}

fn not_ip(name: impl Into<String>, frame: Vec<u8>) -> Vector {
    let (name, link, stripped_tags, inside) = (name.into(), Link::Ethernet, 0, Inside::NOTHING);
    Vector { name, frame, link, stripped_tags, inside, expect: Located::NotIp, transport: None }
}

fn malformed(name: impl Into<String>, frame: Vec<u8>) -> Vector {
    Vector { expect: Located::Malformed, ..not_ip(name, frame) }
}

/// `offset` is that of the IP header; `transport` has a protocol and its distance from there.
fn ip(
    name: impl Into<String>,
    frame: Vec<u8>,
    (family, offset, ds): (Family, usize, u8),
    transport: Option<(u8, usize)>,
) -> Vector {
    Vector {
        expect: Located::Ip(Header { family, offset, ds: DsField::new(ds) }),
        transport: transport.map(|(protocol, distance)| Transport { protocol, offset: offset + distance }),
        ..not_ip(name, frame)
    }
}

impl Vector {
    /// The same frame with one tag more, in metadata.
    fn stripped(self) -> Self {
        Self { name: format!("{}, a tag in metadata", self.name), stripped_tags: 1, ..self }
    }

    fn layer3(self) -> Self {
        Self { link: Link::Layer3, ..self }
    }
}
