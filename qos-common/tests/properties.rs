//! What holds for any bytes.

use proptest::{array::uniform32, collection::vec, prelude::*};
use qos_common::{
    ds::Dscp,
    flow,
    gso::{Gso, Length},
    inside::{self, Inside},
    locate::{Family, Link, Located, locate},
    policy::{Local, Origin, Table},
};
use qos_vectors::{
    contract::{Case, check, table},
    random::{Sample, sample},
    reader,
};

fn structured() -> impl Strategy<Value = Sample> {
    any::<u64>().prop_map(sample)
}

fn insides() -> impl Strategy<Value = Inside> {
    (0..4u8).prop_map(Inside::from_bits)
}

fn arbitrary() -> impl Strategy<Value = Sample> {
    (vec(any::<u8>(), 0..200), prop_oneof![Just(Link::Ethernet), Just(Link::Layer3)], 0usize..2, insides())
        .prop_map(|(frame, link, stripped_tags, inside)| Sample { frame, link, stripped_tags, inside })
}

/// Bytes behind an EtherType that makes something of them.
fn typed() -> impl Strategy<Value = Sample> {
    const KINDS: [[u8; 2]; 6] = [[8, 0], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8], [0x88, 0x47], [0x88, 0x64]];
    let kind = (0..KINDS.len()).prop_map(|kind| KINDS[kind]);
    (vec(any::<u8>(), 12..=12), vec(kind, 1..4), vec(any::<u8>(), 0..120), 0usize..2, insides()).prop_map(
        |(mut frame, kinds, rest, stripped_tags, inside)| {
            frame.extend(kinds.iter().flat_map(|kind| [kind[0], kind[1], 0x45, 0]).take(kinds.len() * 4 - 2));
            frame.extend(rest);
            Sample { frame, link: Link::Ethernet, stripped_tags, inside }
        },
    )
}

fn samples() -> impl Strategy<Value = Sample> {
    prop_oneof![4 => structured(), 1 => arbitrary(), 2 => typed()]
}

fn tables() -> impl Strategy<Value = Table> {
    (uniform32(any::<u8>()), uniform32(any::<u8>())).prop_map(|(low, high)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        table(&bytes)
    })
}

fn permutations() -> impl Strategy<Value = [u8; 64]> {
    Just(Vec::from_iter(0..64u8)).prop_shuffle().prop_map(|order| std::array::from_fn(|index| order[index]))
}

fn locals() -> impl Strategy<Value = Local> {
    prop_oneof![Just(Local::Policy), Just(Local::KeepControl), Just(Local::Keep)]
}

fn origins() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Local), Just(Origin::Forwarded)]
}

fn case(sample: &Sample, table: Table) -> Case<'_> {
    let Sample { frame, link, stripped_tags, inside } = sample;
    let (local, origin) = (Local::Policy, Origin::Forwarded);
    Case { frame, link: *link, stripped_tags: *stripped_tags, inside: *inside, table, local, origin }
}

fn header(sample: &Sample) -> Located {
    inside::locate(&sample.frame[..], sample.link, sample.inside, sample.stripped_tags)
}

/// 0xffff as the checksum of an IPv4 header is the same as 0x0000, which is what a rewrite leaves.
fn canonical(mut frame: Vec<u8>, sample: &Sample) -> Vec<u8> {
    if let Located::Ip(header) = reader::read_inside(&frame, sample.link, sample.inside, sample.stripped_tags).located
        && header.family == Family::V4
        && frame[header.offset + 10..header.offset + 12] == [0xff, 0xff]
    {
        frame[header.offset + 10..header.offset + 12].fill(0);
    }
    frame
}

/// Each codepoint to a fixed one of a few.
fn idempotent(picks: &Table) -> Table {
    let mut table = *picks;
    for dscp in Dscp::all() {
        let fixed = Dscp::new(picks.get(dscp).value() & 0b11_1100).unwrap_or(Dscp::DF);
        table.set(dscp, if dscp.value() & 3 == 0 { dscp } else { fixed });
    }
    table
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_frame_keeps_the_contract(sample in samples(), table in tables(), local in locals(), origin in origins()) {
        let _marked = check(&Case { local, origin, ..case(&sample, table) });
    }

    #[test]
    fn both_readers_agree(sample in samples()) {
        let Sample { frame, link, stripped_tags, inside } = sample;
        let reading = reader::read_inside(&frame, link, inside, stripped_tags);
        prop_assert_eq!(inside::locate(&frame[..], link, inside, stripped_tags), reading.located);
        prop_assert_eq!(locate(&frame[..], link, stripped_tags), reader::read(&frame, link, stripped_tags).located);
    }

    #[test]
    fn an_idempotent_table_changes_a_frame_once(sample in samples(), picks in tables()) {
        let table = idempotent(&picks);
        let once = Sample { frame: check(&case(&sample, table)), ..sample };
        prop_assert_eq!(&check(&case(&once, table)), &once.frame);
    }

    #[test]
    fn the_inverse_table_restores_the_bytes(sample in samples(), order in permutations()) {
        let mut inverse = [0; 64];
        for (from, to) in (0..64u8).zip(order) {
            inverse[usize::from(to)] = from;
        }
        let there = Sample { frame: check(&case(&sample, table(&order))), ..sample.clone() };
        let back = check(&case(&there, table(&inverse)));
        prop_assert_eq!(canonical(back, &sample), canonical(sample.frame.clone(), &sample));
    }

    #[test]
    fn a_super_packet_of_any_shape_is_weighed(
        sample in samples(),
        (bytes, wire, size, segments) in any::<(u32, Option<u32>, u32, u32)>(),
    ) {
        let Located::Ip(header) = header(&sample) else { return Ok(()) };
        let length = Length { bytes, wire, stripped: 4, gso: Some(Gso { size, segments }) };
        let weight = length.weigh(&sample.frame[..], &header);
        prop_assert!(weight.packets >= 1 && weight.packets >= u64::from(segments));
    }

    #[test]
    fn a_transport_header_is_behind_the_ip_header(sample in samples()) {
        let Located::Ip(header) = header(&sample) else { return Ok(()) };
        let Some(found) = flow::transport(&sample.frame[..], &header) else { return Ok(()) };
        let (least, most) = if header.family == Family::V4 { (20, 60) } else { (40, 40 + 8 * 2048) };
        prop_assert!((header.offset + least..=header.offset + most).contains(&found.offset));
    }
}
