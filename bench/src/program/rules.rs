//! What MF rules cost at XDP, above the same policy's table alone.
//!
//! All rules ask for source, destination, protocol and port. The typical packet matches the last one and, field by field,
//! no other; for the adversarial packet every rule matches in one field, so that every word of the rows has to be looked at.
//! The rules keep the mark, and so does the table: what is measured is the search.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use anyhow::Context as _;
use qos_common::{locate::Link, policy::Local};
use qos_vectors::frame::{Ipv4, Ipv6, ether_type, ethernet, protocol, udp};
use qosbpf::{
    kernel::object::Specialisation,
    policy::{
        classifier::{Input, compile},
        model::{Action, Condition, Field, Prefixes, Rule},
    },
    rules::RuleTables,
};

use super::{
    Taken,
    candidate::{Candidate, Hook},
    case, find, loads, rounds,
};
use crate::{
    Step,
    compile::one_value,
    effort::Effort,
    frames::Sample,
    report::{Case, Ratio},
    samples::mean,
};

/// How many rules, with the names of a typical and an adversarial packet, by networks and by hosts.
const SIZES: [(u16, [&str; 4]); 3] = [
    (16, ["16 rules", "16 rules, adversarial", "16 rules, hosts", "16 rules, adversarial hosts"]),
    (256, ["256 rules", "256 rules, adversarial", "256 rules, hosts", "256 rules, adversarial hosts"]),
    (1024, ["1,024 rules", "1,024 rules, adversarial", "1,024 rules, hosts", "1,024 rules, adversarial hosts"]),
];

/// The table alone, twice.
const TABLE: &str = "a table alone";
const TABLE_AGAIN: &str = "a table alone, again";

/// The discard protocol's.
const PORT: u16 = 9;

/// The packet's address within its network, on both sides.
const HOST: u32 = 1;

/// Measures both families.
///
/// # Errors
///
/// What bpf(2) says.
pub fn measure(effort: &Effort, step: Step<'_>) -> anyhow::Result<Vec<Case>> {
    let mut loaded = loads(effort, load_all)?;
    let mut cases = Vec::new();
    for sample in samples() {
        step(&format!("program: rules, {}", sample.name))?;
        let taken = rounds(&mut loaded, &sample, effort)?;
        cases.push(case(Hook::Xdp, &sample, &taken, ratios(&taken)?)?);
    }
    Ok(cases)
}

/// What an adversarial packet takes above the table against what a typical one takes above it, round by round.
fn ratios(taken: &Taken) -> anyhow::Result<Vec<Ratio>> {
    let named = |name: &str| find(taken, name).context("a candidate is missing");
    let base = mean(named(TABLE)?, named(TABLE_AGAIN)?);
    let above = |name| anyhow::Ok(named(name)?.paired(&base, |a, b| a - b));
    let mut ratios = Vec::new();
    for (_, [typical, adversarial, typical_hosts, adversarial_hosts]) in SIZES {
        for (of, to) in [(adversarial, typical), (adversarial_hosts, typical_hosts)] {
            let (ours, typical) = (above(of)?, above(to)?);
            let (ratio, ns) = (ours.paired(&typical, |a, b| a / b), ours.paired(&typical, |a, b| a - b));
            ratios.push(Ratio { of, to, ratio: ratio.spread(), ns: ns.spread() });
        }
    }
    Ok(ratios)
}

fn load_all() -> anyhow::Result<Vec<Candidate>> {
    wanted()?.iter().map(|(name, wanted)| Candidate::specialised(name, Hook::Xdp, wanted)).collect()
}

/// What is loaded, the table alone first.
///
/// # Errors
///
/// That rules cannot be compiled.
pub fn wanted() -> anyhow::Result<Vec<(&'static str, Specialisation)>> {
    // The frames are in DF, which stays; another codepoint would change, so that there is a write in the program.
    let counting = Specialisation::counting(Link::Ethernet);
    let alone = Specialisation { table: Some(one_value(0)), local: Local::Policy, ..counting };
    let mut wanted = vec![(TABLE, alone.clone()), (TABLE_AGAIN, alone.clone())];
    for (count, names) in SIZES {
        let fills = [typical as fn(u16, bool) -> Vec<Condition>, adversarial, typical_hosts, adversarial_hosts];
        for (name, fill) in names.into_iter().zip(fills) {
            let rules = Some(Arc::new(tables(count, fill)?));
            wanted.push((name, Specialisation { rules, ..alone.clone() }));
        }
    }
    Ok(wanted)
}

fn tables(count: u16, fill: impl Fn(u16, bool) -> Vec<Condition>) -> anyhow::Result<RuleTables> {
    let rules: Vec<Rule> = (0..count).map(|index| rule(index, fill(index, index + 1 == count))).collect();
    let (rules, slots): (Vec<&Rule>, Vec<u16>) = (rules.iter().collect(), (0..count).collect());
    Ok(compile(&Input { rules: &rules, slots: &slots, meter_slots: &[], interfaces: &[] })?.tables)
}

fn rule(index: u16, conditions: Vec<Condition>) -> Rule {
    Rule {
        name: format!("rule {index}"),
        line: usize::from(index) + 1,
        on: Vec::new(),
        conditions,
        action: Action::Set(None),
        count: false,
        log: None,
        priority: None,
        mark: None,
    }
}

/// Values of its own in each field; the last rule has those of the packet.
fn typical(index: u16, last: bool) -> Vec<Condition> {
    typically(networks, index, last)
}

/// The same by hosts: the longest prefixes, which are searched to their end.
fn typical_hosts(index: u16, last: bool) -> Vec<Condition> {
    typically(hosts, index, last)
}

fn typically(prefixes: fn(u8, u16) -> Prefixes, index: u16, last: bool) -> Vec<Condition> {
    let (network, port) = if last { (0, PORT) } else { (index + 1, 1000 + index) };
    conditions(prefixes(0, network), prefixes(1, network), port)
}

/// The packet's source in every other rule, its port in those between, its destination in all.
fn adversarial(index: u16, last: bool) -> Vec<Condition> {
    adversarially(networks, index, last)
}

/// The same by hosts.
fn adversarial_hosts(index: u16, last: bool) -> Vec<Condition> {
    adversarially(hosts, index, last)
}

fn adversarially(prefixes: fn(u8, u16) -> Prefixes, index: u16, last: bool) -> Vec<Condition> {
    let even = index.is_multiple_of(2);
    let source = if even || last { 0 } else { index + 1 };
    let port = if even && !last { 1000 + index } else { PORT };
    conditions(prefixes(0, source), prefixes(1, 0), port)
}

fn conditions(source: Prefixes, destination: Prefixes, port: u16) -> Vec<Condition> {
    let fields = [
        Field::Src(source),
        Field::Dst(destination),
        Field::Proto(vec![(protocol::UDP, protocol::UDP)]),
        Field::DstPort(vec![(port, port)]),
    ];
    fields.into_iter().map(|field| Condition { field, negated: false }).collect()
}

/// A /24 and a /64, by number; number 0 is the packet's.
fn networks(side: u8, number: u16) -> Prefixes {
    let [high, low] = number.to_be_bytes();
    let v4 = [10 + side, high, low, 0].into();
    let v6 = [0x2001, 0xdb8, u16::from(side), number, 0, 0, 0, 0].into();
    Prefixes { v4: vec![(v4, 24)], v6: vec![(v6, 64)] }
}

/// One address of such a network, as a /32 and a /128; that of number 0 is the packet's.
fn hosts(side: u8, number: u16) -> Prefixes {
    let Prefixes { v4, v6 } = networks(side, number);
    let v4 = v4.into_iter().map(|(network, _)| (network | Ipv4Addr::from(HOST), 32)).collect();
    let v6 = v6.into_iter().map(|(network, _)| (network | Ipv6Addr::from(u128::from(HOST)), 128)).collect();
    Prefixes { v4, v6 }
}

/// A packet of each family that the last rule matches.
pub fn samples() -> [Sample; 2] {
    let mut packet4 = Ipv4::default().packet(&udp(&[0; 18]));
    packet4[22..24].copy_from_slice(&PORT.to_be_bytes());
    let mut packet6 = Ipv6::default().packet(&udp(&[0; 18]));
    for side in 0..2_u8 {
        let Prefixes { v4, v6 } = hosts(side, 0);
        let v4 = v4.first().map(|(address, _)| address.octets()).unwrap_or_default();
        let v6 = v6.first().map(|(address, _)| address.octets()).unwrap_or_default();
        packet4[12 + 4 * usize::from(side)..][..4].copy_from_slice(&v4);
        packet6[8 + 16 * usize::from(side)..][..16].copy_from_slice(&v6);
    }
    packet6[42..44].copy_from_slice(&PORT.to_be_bytes());
    let sample = |name, family, packet: &[u8]| {
        let frame = ethernet(&[], family, packet);
        Sample { name, frame, gso: None, ingress: 0 }
    };
    [sample("IPv4", ether_type::IPV4, &packet4), sample("IPv6", ether_type::IPV6, &packet6)]
}
