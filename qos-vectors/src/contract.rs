//! What holds for every frame, every table and every hook: one check for property tests and for fuzzing.

use qos_common::{
    abi::{Counter, Counters, RemarkedHalf, Uncounted},
    ds::{DsField, Dscp},
    inside::Inside,
    locate::{Family, Header, Link, Located},
    policy::{Decision, Local, Origin, Table},
    process::Outcome,
};

use crate::{
    checksum,
    hook::{Arrival, Hook, Summed},
    reader,
};

/// A frame on its way through a hook.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// Its bytes.
    pub frame: &'a [u8],
    /// The link layer.
    pub link: Link,
    /// 0 or 1.
    pub stripped_tags: usize,
    /// Behind which headers the hook looks.
    pub inside: Inside,
    /// The policy.
    pub table: Table,
    /// Which of this host's packets it spares.
    pub local: Local,
    /// Where the frame came from.
    pub origin: Origin,
}

/// A table of any 64 bytes: the lower six bits of each.
#[must_use]
pub fn table(bytes: &[u8; Dscp::COUNT]) -> Table {
    let mut table = Table::IDENTITY;
    for (from, to) in Dscp::all().zip(bytes) {
        table.set(from, DsField::new(to << 2).dscp());
    }
    table
}

/// Sends the frame through and returns it as it left.
///
/// # Panics
/// Something about it breaks the contract of the data path.
#[must_use]
pub fn check(case: &Case<'_>) -> Vec<u8> {
    let mut hook = Hook { local: case.local, inside: case.inside, ..Hook::new(case.link, case.table) };
    let arrival = Arrival { origin: case.origin, ..Arrival::single(case.frame.len(), case.stripped_tags) };
    let mut packet = Summed::new(case.frame.to_vec());
    let outcome = hook.receive(&mut packet, &arrival);
    let located = reader::read_inside(case.frame, case.link, case.inside, case.stripped_tags).located;
    let expected = expected(case, located);
    assert_eq!(outcome, expected, "{case:?}");
    assert_eq!(packet.sum, Summed::new(packet.bytes.clone()).sum, "the sum beside the packet: {case:?}");
    let weight = Counter { packets: 1, bytes: (case.frame.len() + 4 * case.stripped_tags) as u64 };
    check_counters(&hook, located, expected, weight);
    check_bytes(case.frame, &packet.bytes, located, expected);
    packet.bytes
}

fn expected(case: &Case<'_>, located: Located) -> Outcome {
    let header = match located {
        Located::NotIp => return Outcome::Uncounted(Uncounted::NotIp),
        Located::Malformed => return Outcome::Uncounted(Uncounted::Malformed),
        Located::Ip(header) => header,
    };
    let from = header.ds.bits() >> 2;
    let to = case.table.bytes()[usize::from(from)];
    let spared = match case.local {
        Local::Policy => false,
        Local::KeepControl => from == 48 || from == 56,
        Local::Keep => true,
    };
    let decision = if from == to {
        Decision::Keep
    } else if spared && case.origin == Origin::Local {
        Decision::Protected
    } else {
        Decision::Remark(DsField::new(to << 2).dscp())
    };
    Outcome::Counted(header.ds, decision)
}

/// Exactly what has to be counted is, and nothing else.
fn check_counters(hook: &Hook, located: Located, outcome: Outcome, weight: Counter) {
    let mut counters = Box::new(Counters { last: 4_294_937_296, ..Counters::ZERO });
    let mut remarked = vec![RemarkedHalf::ZERO; 2];
    match located {
        Located::NotIp => counters.uncounted[0] = weight,
        Located::Malformed => counters.uncounted[1] = weight,
        Located::Ip(Header { family, ds, .. }) => {
            let changed = matches!(outcome, Outcome::Counted(_, Decision::Remark(_)));
            let counted = if changed { &mut counters.changed } else { &mut counters.kept };
            counted[usize::from(family == Family::V6)][usize::from(ds.bits())] = weight;
        }
    }
    match outcome {
        Outcome::Counted(_, Decision::Protected) => counters.protected = weight,
        Outcome::Counted(ds, Decision::Remark(to)) => {
            let from = usize::from(ds.bits() >> 2);
            remarked[from / 32].0[from % 32][usize::from(to.value())] = weight;
        }
        _ => {}
    }
    assert_eq!(hook.counters, Some(counters));
    assert_eq!(hook.remarked, remarked);
}

/// Only the DSCP bits and the IPv4 checksum differ, and the checksum is as wrong as it was.
fn check_bytes(before: &[u8], after: &[u8], located: Located, outcome: Outcome) {
    let (Located::Ip(header), Outcome::Counted(_, Decision::Remark(to))) = (located, outcome) else {
        assert_eq!(before, after);
        return;
    };
    let ds = to.value() << 2 | header.ds.bits() & 3;
    let mut wanted = before.to_vec();
    let ip = &mut wanted[header.offset..];
    match header.family {
        Family::V4 => {
            let (old, new) = (&before[header.offset..][..20], &after[header.offset..][..20]);
            assert_eq!(checksum::error_of_ipv4_header(old), checksum::error_of_ipv4_header(new));
            ip[1] = ds;
            ip[10..12].copy_from_slice(&new[10..12]);
        }
        Family::V6 => {
            ip[0] = ip[0] & 0xf0 | ds >> 4;
            ip[1] = ip[1] & 0x0f | ds << 4;
        }
    }
    assert_eq!(wanted, after);
}
