//! What can be seen inside a packet in a packet, and what an outer header becomes by it.

use proptest::{collection::vec, prelude::*, sample::Index};
use qos_common::{
    abi::Counter,
    ds::{DsField, Dscp},
    inside::Inside,
    locate::{Link, Located, locate},
    policy::{Decision, Local, Origin, Table},
    process::Outcome,
    tunnel::inner,
};
use qos_vectors::{
    checksum,
    contract::{Case, check},
    frame::{Ipv4, ether_type},
    hook::{Arrival, Hook, Summed},
    tunnels::{self, OUTER, Tunnelled},
};

const AF41: Dscp = DsField::new(34 << 2).dscp();
const CS2: Dscp = DsField::new(16 << 2).dscp();

fn seen(packet: &[u8]) -> Option<Dscp> {
    match locate(packet, Link::Layer3, 0) {
        Located::Ip(header) => inner(packet, &header),
        Located::NotIp | Located::Malformed => None,
    }
}

#[test]
fn what_is_inside_is_seen_and_nothing_else() {
    for Tunnelled { name, packet, inner } in tunnels::all() {
        assert_eq!(seen(&packet), inner, "{name}");
    }
}

/// Until the inner header is whole nothing is seen, and nothing panics.
#[test]
fn what_is_cut_is_not() {
    for Tunnelled { name, packet, inner } in tunnels::all() {
        let first = (0..=packet.len()).find(|length| seen(&packet[..*length]).is_some());
        assert_eq!(first, inner.map(|_| packet.len() - b"payload".len()), "{name}");
    }
}

/// EF inside makes AF41 outside, and everything else CS2; what has nothing inside becomes LE.
fn hook(link: Link) -> Hook {
    let (mut outer, mut table) = (Table::IDENTITY, Table::IDENTITY);
    for dscp in Dscp::all() {
        outer.set(dscp, if dscp == Dscp::EF { AF41 } else { CS2 });
        table.set(dscp, Dscp::LE);
    }
    Hook { outer: Some(outer), local: Local::Policy, ..Hook::new(link, table) }
}

fn made_here(frame: &[u8]) -> Arrival {
    Arrival { origin: Origin::Local, ..Arrival::single(frame.len(), 0) }
}

/// The same packet with another DS field outside: made anew, not rewritten.
fn marked(packet: &[u8], ds: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        let length = usize::from(packet[0] & 15) * 4;
        packet[1] = ds;
        let check = checksum::of_ipv4_header(&packet[..length]);
        packet[10..12].copy_from_slice(&check);
    } else {
        (packet[0], packet[1]) = (0x60 | ds >> 4, ds << 4 | packet[1] & 15);
    }
    packet
}

#[test]
fn the_codepoint_inside_makes_the_one_outside_and_no_other_bit_changes() {
    for tunnelled in tunnels::all() {
        let to = if tunnelled.inner.is_some() { AF41 } else { Dscp::LE };
        let ds = to.value() << 2 | OUTER & 3;
        let mut hook = hook(Link::Layer3);
        let mut packet = Summed::new(tunnelled.packet.clone());
        let outcome = hook.receive(&mut packet, &made_here(&tunnelled.packet));
        assert_eq!(outcome, Outcome::Counted(DsField::new(OUTER), Decision::Remark(to)), "{}", tunnelled.name);
        assert_eq!(packet.bytes, marked(&tunnelled.packet, ds), "{}", tunnelled.name);
        assert_eq!(packet.sum, Summed::new(packet.bytes.clone()).sum, "the sum beside {}", tunnelled.name);
    }
}

/// One packet, by the DS byte outside; the hits of the table leave it out, as they do what a rule decides.
#[test]
fn it_counts_once_by_the_outer_header() {
    for tunnelled in tunnels::all() {
        let mut hook = hook(Link::Ethernet);
        let mut frame = tunnelled.frame(&[(ether_type::TAG, 1)]);
        let _outcome = hook.receive(&mut frame[..], &made_here(&tunnelled.frame(&[(ether_type::TAG, 1)])));
        let weight = Counter { packets: 1, bytes: frame.len() as u64 };
        let counters = hook.counters.unwrap();
        let family = usize::from(tunnelled.packet[0] >> 4 == 6);
        assert_eq!(counters.changed[family][usize::from(OUTER)], weight, "{}", tunnelled.name);
        let all: u64 = counters.before().as_flattened().iter().map(|counter| counter.packets).sum();
        let by_inner = counters.ruled[usize::from(OUTER >> 2)].packets;
        assert_eq!((all, by_inner), (1, tunnelled.inner.is_some().into()), "{}", tunnelled.name);
    }
}

/// As it is the right one already, it is kept, and not the table's.
#[test]
fn an_outer_header_that_is_right_stays() {
    for tunnelled in tunnels::all().iter().filter(|tunnelled| tunnelled.inner.is_some()) {
        let before = marked(&tunnelled.packet, AF41.value() << 2 | 3);
        let mut packet = before.clone();
        let outcome = hook(Link::Layer3).receive(&mut packet[..], &made_here(&before));
        let ds = DsField::new(AF41.value() << 2 | 3);
        assert_eq!((outcome, packet), (Outcome::Counted(ds, Decision::Keep), before), "{}", tunnelled.name);
    }
}

/// Somebody else's tunnel keeps to the table.
#[test]
fn what_was_forwarded_is_not_looked_into() {
    for tunnelled in tunnels::all() {
        let mut packet = tunnelled.packet.clone();
        let arrival = Arrival::single(packet.len(), 0);
        let outcome = hook(Link::Layer3).receive(&mut packet[..], &arrival);
        assert_eq!(outcome, Outcome::Counted(DsField::new(OUTER), Decision::Remark(Dscp::LE)), "{}", tunnelled.name);
    }
}

/// `local` is about everything else that this host makes.
#[test]
fn the_word_local_does_not_spare_it() {
    for (local, others) in [(Local::Keep, Decision::Protected), (Local::Policy, Decision::Remark(Dscp::LE))] {
        for tunnelled in tunnels::all() {
            let mut hook = Hook { local, ..hook(Link::Layer3) };
            let outcome = hook.receive(&mut tunnelled.packet.clone()[..], &made_here(&tunnelled.packet));
            let decision = if tunnelled.inner.is_some() { Decision::Remark(AF41) } else { others };
            assert_eq!(outcome, Outcome::Counted(DsField::new(OUTER), decision), "{}", tunnelled.name);
        }
    }
}

/// Without the table of outer headers nothing of the kind is done.
#[test]
fn without_a_table_the_contract_is_the_old_one() {
    let wash = hook(Link::Layer3).table;
    for tunnelled in tunnels::all() {
        let (frame, link, origin) = (&tunnelled.packet[..], Link::Layer3, Origin::Local);
        let case =
            Case { frame, link, stripped_tags: 0, inside: Inside::NOTHING, table: wash, local: Local::Policy, origin };
        assert_eq!(check(&case), marked(frame, Dscp::LE.value() << 2 | OUTER & 3), "{}", tunnelled.name);
    }
}

proptest! {
    /// For any bytes: what has something to be seen inside is as if a table sent everything to one codepoint, and all else
    /// is as if there were no table for outer headers.
    #[test]
    fn it_is_a_table_of_one_value_or_none(
        which in 0..tunnels::all().len(),
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
        length in any::<Index>(),
        origin in prop_oneof![Just(Origin::Local), Just(Origin::Forwarded)],
    ) {
        let mut frame = tunnels::all()[which].packet.clone();
        changes.iter().for_each(|(at, byte)| *at.get_mut(&mut frame) = *byte);
        frame.truncate(frame.len() - length.index(frame.len() / 2));
        let mut hook = Hook { local: Local::KeepControl, ..hook(Link::Layer3) };
        let inner = seen(&frame).filter(|_| origin == Origin::Local);
        let to = inner.and_then(|inner| Some(hook.outer?.get(inner)));
        let (table, local) = to.map_or((hook.table, hook.local), |to| (only(to), Local::Policy));
        let (link, inside) = (Link::Layer3, Inside::NOTHING);
        let expected = check(&Case { frame: &frame, link, stripped_tags: 0, inside, table, local, origin });
        let mut left = frame.clone();
        let _outcome = hook.receive(&mut left[..], &Arrival { origin, ..Arrival::single(frame.len(), 0) });
        prop_assert_eq!(left, expected);
    }
}

fn only(to: Dscp) -> Table {
    let mut table = Table::IDENTITY;
    Dscp::all().for_each(|dscp| table.set(dscp, to));
    table
}

/// ARP and what is no whole header count as ever.
#[test]
fn what_is_not_ip_is_left_alone() {
    let mut frame = qos_vectors::frame::ethernet(&[], ether_type::ARP, &Ipv4::default().packet(b""));
    let mut hook = hook(Link::Ethernet);
    let before = frame.clone();
    let outcome = hook.receive(&mut frame[..], &made_here(&before));
    assert_eq!((outcome.decided(), frame), (None, before));
    assert_eq!(hook.counters.unwrap().uncounted[0].packets, 1);
}
