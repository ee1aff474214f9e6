//! Every vector through the data path, and what the tables around it can do to it.

use qos_common::{
    ds::{DsField, Dscp},
    flow,
    inside::{self, Inside},
    locate::{Link, Located, locate},
    policy::{Decision, Local, Origin, Table},
    process::Outcome,
};
use qos_vectors::{
    all,
    contract::{Case, check},
    frame::{Ipv4, Ipv6},
    hook::{Arrival, Hook},
};

/// EF, which most vectors carry, to DF.
fn wash() -> Table {
    let mut table = Table::IDENTITY;
    Dscp::all().for_each(|dscp| table.set(dscp, Dscp::DF));
    table
}

#[test]
fn locate_gives_the_stated_answers() {
    for vector in all() {
        let located = inside::locate(&vector.frame[..], vector.link, vector.inside, vector.stripped_tags);
        assert_eq!(located, vector.expect, "{}", vector.name);
    }
}

#[test]
fn transport_gives_the_stated_answers() {
    for vector in all() {
        let Located::Ip(header) = vector.expect else { continue };
        assert_eq!(flow::transport(&vector.frame[..], &header), vector.transport, "{}", vector.name);
    }
}

#[test]
fn every_vector_keeps_the_contract() {
    for vector in all() {
        for (table, local) in [(wash(), Local::Policy), (wash(), Local::Keep), (Table::IDENTITY, Local::KeepControl)] {
            for origin in [Origin::Local, Origin::Forwarded] {
                let (frame, link, stripped_tags) = (&vector.frame[..], vector.link, vector.stripped_tags);
                for inside in [vector.inside, Inside::NOTHING] {
                    let _marked = check(&Case { frame, link, stripped_tags, inside, table, local, origin });
                }
            }
        }
    }
}

#[test]
fn without_counters_nothing_is_done() {
    for vector in all() {
        let mut hook = Hook { counters: None, ..Hook::new(vector.link, wash()) };
        let mut frame = vector.frame.clone();
        let arrival = Arrival::single(frame.len(), vector.stripped_tags);
        assert_eq!(hook.receive(&mut frame[..], &arrival), Outcome::Untouched, "{}", vector.name);
        assert_eq!(frame, vector.frame);
    }
}

#[test]
fn without_a_matrix_the_mark_is_changed_all_the_same() {
    let mut hook = Hook { remarked: Vec::new(), ..Hook::new(Link::Layer3, wash()) };
    let mut packet = Ipv4 { ds: 0xb9, ..Ipv4::default() }.packet(b"");
    let outcome = hook.receive(&mut packet[..], &Arrival::single(20, 0));
    assert_eq!(outcome, Outcome::Counted(DsField::new(0xb9), Decision::Remark(Dscp::DF)));
    assert_eq!(packet, Ipv4 { ds: 1, ..Ipv4::default() }.packet(b""));
}

#[test]
fn a_program_that_does_not_remark_only_counts() {
    let mut hook = Hook { remarks: false, ..Hook::new(Link::Layer3, wash()) };
    let before = Ipv6 { ds: 0xb8, ..Ipv6::default() }.packet(b"");
    let mut packet = before.clone();
    let outcome = hook.receive(&mut packet[..], &Arrival::single(40, 0));
    assert_eq!(outcome, Outcome::Counted(DsField::new(0xb8), Decision::Keep));
    assert_eq!(packet, before);
    assert_eq!(hook.counters.unwrap().kept[1][0xb8].packets, 1);
}

/// What no kernel would say, since the parameter is a number.
#[test]
fn any_number_of_stripped_tags_is_taken() {
    let tagged = qos_vectors::frame::ethernet(&[(0x8100, 1)], 0x0800, &Ipv4::default().packet(b""));
    for stripped in [4, 5, usize::MAX] {
        assert_eq!(locate(&tagged[..], Link::Ethernet, stripped), Located::NotIp);
    }
    assert!(matches!(locate(&tagged[..], Link::Ethernet, 3), Located::Ip(header) if header.offset == 18));
}
