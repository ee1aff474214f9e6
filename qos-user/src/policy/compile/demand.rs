//! What a rule demands of each field that is looked up, as sets of the numbers under which values are looked up.

use qos_common::{flow, rules::index};

use super::{classifier::Refusal, ranges::Ranges};
use crate::policy::model::{Condition, Field, Fragment, MarkBits, Origin, Prefixes, Rule};

/// The ports, among the numbers of source and destination.
pub const PORTS: u32 = 1 << 16;
/// How many numbers source ports and what is in their place make.
pub const SOURCE_PORTS: u32 = index::NO_SOURCE_PORT + 1;
/// How many numbers destination ports and none make.
pub const DESTINATION_PORTS: u32 = index::NO_DESTINATION_PORT + 1;
/// How many numbers tags and none make.
pub const TAGS: u32 = index::NO_TAG + 1;
/// How many lengths there are.
pub const LENGTHS: u32 = 1 << 16;

/// What a rule demands. A set of all numbers, or none of the optional ones, is no demand.
#[derive(Clone, Debug)]
pub struct Demand<'a> {
    /// Codepoints, a bit each.
    pub dscps: u64,
    /// IPv4, IPv6.
    pub families: [bool; 2],
    /// Forwarded, local.
    pub origins: [bool; 2],
    pub fragments: [bool; 3],
    pub protocols: Ranges,
    pub source_ports: Ranges,
    pub destination_ports: Ranges,
    /// One of the two ports has to be in it.
    pub either_port: Option<Ranges>,
    pub lengths: Ranges,
    pub tags: Ranges,
    pub mark: Option<MarkBits>,
    pub mark_not: Option<MarkBits>,
    pub from: Option<&'a [String]>,
    pub from_not: Option<&'a [String]>,
    pub source: Option<&'a Prefixes>,
    pub source_not: Option<&'a Prefixes>,
    pub destination: Option<&'a Prefixes>,
    pub destination_not: Option<&'a Prefixes>,
}

impl<'a> Demand<'a> {
    /// What a rule demands.
    ///
    /// # Errors
    ///
    /// A field is there twice that cannot be.
    pub fn of(rule: &'a Rule) -> Result<Self, Refusal> {
        let mut demand = Self::nothing();
        let twice = || Refusal::Twice(rule.name.clone());
        rule.conditions.iter().try_for_each(|condition| demand.add(condition)).ok_or_else(twice)?;
        Ok(demand)
    }

    fn nothing() -> Self {
        Self {
            dscps: !0,
            families: [true; 2],
            origins: [true; 2],
            fragments: [true; 3],
            protocols: Ranges::below(index::PROTOCOLS),
            source_ports: Ranges::below(SOURCE_PORTS),
            destination_ports: Ranges::below(DESTINATION_PORTS),
            either_port: None,
            lengths: Ranges::below(LENGTHS),
            tags: Ranges::below(TAGS),
            mark: None,
            mark_not: None,
            from: None,
            from_not: None,
            source: None,
            source_not: None,
            destination: None,
            destination_not: None,
        }
    }

    /// Adds a condition; `None` if it is one that can be there only once, and is there.
    fn add(&mut self, condition: &'a Condition) -> Option<()> {
        let not = condition.negated;
        match &condition.field {
            Field::Dscp(bits) => self.dscps &= if not { !bits } else { *bits },
            Field::Family(versions) => {
                restrict(&mut self.families, [4, 6].map(|version| versions.contains(&version) != not));
            }
            Field::Origin(origin) => {
                restrict(&mut self.origins, [Origin::Forwarded, Origin::Local].map(|one| (one == *origin) != not));
            }
            Field::Fragment(kinds) => self.add_fragments(kinds, not),
            Field::Proto(ranges) => self.add_protocols(ranges, not),
            Field::SrcPort(ranges) => meet(&mut self.source_ports, &ports(ranges, not)),
            Field::DstPort(ranges) => meet(&mut self.destination_ports, &ports(ranges, not)),
            Field::Port(ranges) => self.add_either_port(ranges, not)?,
            Field::IcmpType(ranges) => self.add_icmp_types(ranges, not),
            Field::Vlan(ranges) => self.add_vlans(ranges, not),
            Field::Pcp(ranges) => self.add_pcps(ranges, not),
            Field::Length(ranges) => meet(&mut self.lengths, &wide(ranges).negated_if(not, LENGTHS)),
            Field::Mark(bits) => once(if not { &mut self.mark_not } else { &mut self.mark }, *bits)?,
            Field::From(patterns) => once(if not { &mut self.from_not } else { &mut self.from }, patterns)?,
            Field::Src(prefixes) => once(if not { &mut self.source_not } else { &mut self.source }, prefixes)?,
            Field::Dst(prefixes) => {
                once(if not { &mut self.destination_not } else { &mut self.destination }, prefixes)?;
            }
        }
        Some(())
    }

    fn add_fragments(&mut self, kinds: &[Fragment], not: bool) {
        let asked = [Fragment::No, Fragment::First, Fragment::Later].map(|kind| kinds.contains(&kind) != not);
        restrict(&mut self.fragments, asked);
        let of_kind = |kind: u32| [(kind << 8, kind << 8 | 255), (unseen(kind), unseen(kind))];
        let kinds = (0..3).filter(|kind| asked[*kind as usize]);
        meet(&mut self.protocols, &Ranges::of(kinds.flat_map(of_kind)));
    }

    fn add_protocols(&mut self, ranges: &[(u8, u8)], not: bool) {
        let asked = narrow(ranges).negated_if(not, 256);
        let all = (0..3).flat_map(|kind| asked.iter().map(move |(first, last)| (kind << 8 | first, kind << 8 | last)));
        meet(&mut self.protocols, &Ranges::of(all));
    }

    fn add_either_port(&mut self, ranges: &[(u16, u16)], not: bool) -> Option<()> {
        let asked = if not { ports(ranges, true) } else { Ranges::below(PORTS) };
        meet(&mut self.source_ports, &asked);
        meet(&mut self.destination_ports, &asked);
        if not { Some(()) } else { once(&mut self.either_port, wide(ranges)) }
    }

    fn add_icmp_types(&mut self, ranges: &[(u8, u8)], not: bool) {
        let asked = narrow(ranges).negated_if(not, 256);
        let shifted = asked.iter().map(|(first, last)| (index::ICMP + first, index::ICMP + last));
        meet(&mut self.source_ports, &Ranges::of(shifted));
    }

    /// A tag is priority (3 bits), drop eligible (1), VLAN (12).
    fn add_vlans(&mut self, ranges: &[(u16, u16)], not: bool) {
        let asked = wide(ranges).intersect(&Ranges::below(1 << 12)).negated_if(not, 1 << 12);
        let all =
            (0..16).flat_map(|high| asked.iter().map(move |(first, last)| (high << 12 | first, high << 12 | last)));
        meet(&mut self.tags, &Ranges::of(all));
    }

    fn add_pcps(&mut self, ranges: &[(u8, u8)], not: bool) {
        let asked = narrow(ranges).intersect(&Ranges::below(8)).negated_if(not, 8);
        let all = asked.iter().map(|(first, last)| (first << 13, last << 13 | 0x1fff));
        meet(&mut self.tags, &Ranges::of(all));
    }

    /// Whether it can only match packets that show ports.
    pub fn needs_ports(&self) -> bool {
        let seen = Ranges::of([(PORTS, SOURCE_PORTS - 1)]);
        let none = Ranges::of([(PORTS, DESTINATION_PORTS - 1)]);
        !self.destination_ports.meets(&none) || !self.source_ports.meets(&seen)
    }

    /// Whether it can only match ICMP that shows its type.
    pub fn needs_icmp(&self) -> bool {
        let rest = Ranges::of([(0, PORTS - 1), (index::NO_SOURCE_PORT, index::NO_SOURCE_PORT)]);
        !self.source_ports.meets(&rest)
    }

    /// Whether one of these protocols, in a packet that has its transport header, is allowed.
    pub fn allows(&self, protocols: &[u8]) -> bool {
        let there = |kind: u32| protocols.iter().map(move |protocol| kind << 8 | u32::from(*protocol));
        let numbers = [flow::Fragment::No, flow::Fragment::First].into_iter().flat_map(|kind| there(kind as u32));
        self.protocols.meets(&Ranges::of(numbers.map(|number| (number, number))))
    }
}

/// The number of a protocol that cannot be seen.
fn unseen(kind: u32) -> u32 {
    u32::from(flow::NO_PROTOCOL) | kind
}

fn restrict<const N: usize>(allowed: &mut [bool; N], asked: [bool; N]) {
    allowed.iter_mut().zip(asked).for_each(|(allowed, asked)| *allowed &= asked);
}

fn meet(allowed: &mut Ranges, asked: &Ranges) {
    *allowed = allowed.intersect(asked);
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn ports(ranges: &[(u16, u16)], not: bool) -> Ranges {
    wide(ranges).negated_if(not, PORTS)
}

fn wide(ranges: &[(u16, u16)]) -> Ranges {
    Ranges::of(ranges.iter().map(|(first, last)| (u32::from(*first), u32::from(*last))))
}

fn narrow(ranges: &[(u8, u8)]) -> Ranges {
    Ranges::of(ranges.iter().map(|(first, last)| (u32::from(*first), u32::from(*last))))
}
