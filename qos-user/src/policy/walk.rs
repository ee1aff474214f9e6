//! What rules mean, in the plainest form: each is asked in its turn, and the first that decides ends it. The compiled
//! classifier has to agree with this for every policy and packet, so nothing here is clever, and nothing is shared with
//! the compiler but the model.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::borrow::Borrow;

use qos_common::{ds::Dscp, policy::Local};

use crate::policy::{
    compile::{Match, RemarkTable, Target},
    model::{Action, Condition, Field, MarkBits, Origin, Prefixes, Rule, pattern_matches},
    packet::Packet,
};

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Who had the word.
    pub decided_by: Decider,
    /// What becomes of the mark.
    pub outcome: Outcome,
    /// The rules whose counters go up: those that matched and went on, then the one that decided.
    pub counted: Vec<usize>,
    /// Those among them that log.
    pub logged: Vec<usize>,
    /// The skb priority that the deciding rule gives.
    pub priority: Option<u32>,
    /// The bits of the skb mark that it gives.
    pub mark: Option<MarkBits>,
}

/// Who decides on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The rule at this index.
    Rule(usize),
    /// The entry of the remark table with this key.
    Entry(String),
    /// The table's `other`.
    Other,
    /// `local`: a rule or the table would have remarked, metered or dropped what this host made. The rule is set aside
    /// whole: it neither counts nor logs nor hands over.
    Protected,
    /// No rule, and there is no table.
    Nobody,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It keeps its mark.
    Keep,
    /// It gets this mark, which may be the one it has.
    Set(Dscp),
    /// It is dropped.
    Drop,
    /// The meter of the rule at this index decides.
    Meter(usize),
}

/// Asks `rules`, which are those of one hook in the order of the file, then `table`.
#[must_use]
pub fn walk<R: Borrow<Rule>>(rules: &[R], table: Option<&RemarkTable>, local: Local, packet: &Packet) -> Walked {
    let mut walked = Walked {
        decided_by: Decider::Nobody,
        outcome: Outcome::Keep,
        counted: Vec::new(),
        logged: Vec::new(),
        priority: None,
        mark: None,
    };
    for (index, rule) in rules.iter().enumerate() {
        let rule: &Rule = rule.borrow();
        if !rule.conditions.iter().all(|condition| holds(condition, packet)) {
            continue;
        }
        if rule.action == Action::None {
            walked.count(index, rule);
            continue;
        }
        let outcome = of_action(&rule.action, index);
        if !rule.overrides_local() && is_protected(outcome, local, packet) {
            walked.decided_by = Decider::Protected;
            return walked;
        }
        walked.count(index, rule);
        walked.decided_by = Decider::Rule(index);
        walked.outcome = outcome;
        walked.priority = rule.priority;
        walked.mark = rule.mark;
        return walked;
    }
    if let Some(table) = table {
        walked.ask_table(table, local, packet);
    }
    walked
}

impl Walked {
    /// The codepoint with which the packet leaves; `None` if it is dropped, or a meter decides.
    #[must_use]
    pub const fn leaves_as(&self, packet: &Packet) -> Option<Dscp> {
        match self.outcome {
            Outcome::Keep => Some(packet.dscp),
            Outcome::Set(dscp) => Some(dscp),
            Outcome::Drop | Outcome::Meter(_) => None,
        }
    }

    fn count(&mut self, index: usize, rule: &Rule) {
        self.counted.push(index);
        if rule.log.is_some() {
            self.logged.push(index);
        }
    }

    fn ask_table(&mut self, table: &RemarkTable, local: Local, packet: &Packet) {
        let entry = table.decides(packet.dscp);
        let outcome = match entry.to {
            Target::Keep => Outcome::Keep,
            Target::Mark(dscp) => Outcome::Set(dscp),
        };
        if is_protected(outcome, local, packet) {
            self.decided_by = Decider::Protected;
            return;
        }
        self.outcome = outcome;
        self.decided_by = match entry.on {
            Match::Other => Decider::Other,
            Match::Dscp(_) | Match::Class(_) => Decider::Entry(entry.key.clone()),
        };
    }
}

fn of_action(action: &Action, index: usize) -> Outcome {
    match action {
        Action::None | Action::Set(None) => Outcome::Keep,
        Action::Set(Some(dscp)) => Outcome::Set(*dscp),
        Action::Drop => Outcome::Drop,
        Action::Meter(_) => Outcome::Meter(index),
    }
}

/// Whether `local` forbids this outcome. To keep a mark, or to give the one that is there, needs no protection.
fn is_protected(outcome: Outcome, local: Local, packet: &Packet) -> bool {
    let changes = match outcome {
        Outcome::Keep => false,
        Outcome::Set(dscp) => dscp != packet.dscp,
        Outcome::Drop | Outcome::Meter(_) => true,
    };
    changes && packet.origin == Some(Origin::Local) && local.keeps(packet.dscp)
}

/// The first condition of a rule that a packet does not meet; `None` if it meets all.
#[must_use]
pub fn unmet<'r>(rule: &'r Rule, packet: &Packet) -> Option<&'r Condition> {
    rule.conditions.iter().find(|condition| !holds(condition, packet))
}

/// Whether a condition holds; neither form does if the packet has no such field.
fn holds(condition: &Condition, packet: &Packet) -> bool {
    match compare(&condition.field, packet) {
        Some(hit) => hit != condition.negated,
        None => false,
    }
}

/// Whether the packet's field is what is asked for; `None` if it has none.
fn compare(field: &Field, packet: &Packet) -> Option<bool> {
    match field {
        Field::Dscp(bits) => Some(bits >> packet.dscp.value() & 1 == 1),
        Field::Family(versions) => Some(versions.contains(&packet.version())),
        Field::Proto(ranges) => Some(within(ranges, packet.proto?)),
        Field::Src(prefixes) => contains(prefixes, packet.src),
        Field::Dst(prefixes) => contains(prefixes, packet.dst),
        Field::SrcPort(ranges) => Some(within(ranges, packet.src_port?)),
        Field::DstPort(ranges) => Some(within(ranges, packet.dst_port?)),
        Field::Port(ranges) => Some(within(ranges, packet.src_port?) || within(ranges, packet.dst_port?)),
        Field::Vlan(ranges) => Some(within(ranges, packet.vlan?)),
        Field::Pcp(ranges) => Some(within(ranges, packet.pcp?)),
        Field::Length(ranges) => Some(within(ranges, packet.length)),
        Field::Fragment(kinds) => Some(kinds.contains(&packet.fragment)),
        Field::IcmpType(ranges) => Some(within(ranges, packet.icmp_type?)),
        Field::Mark(bits) => Some(packet.mark? & bits.mask == bits.value),
        Field::Origin(origin) => Some(packet.origin? == *origin),
        Field::From(patterns) => {
            let from = packet.from.as_deref()?;
            Some(patterns.iter().any(|pattern| pattern_matches(pattern, from)))
        }
    }
}

fn within<T: PartialOrd>(ranges: &[(T, T)], value: T) -> bool {
    ranges.iter().any(|(first, last)| *first <= value && value <= *last)
}

/// Whether an address is in one of the prefixes; `None` if they are all of the other family.
fn contains(prefixes: &Prefixes, address: IpAddr) -> Option<bool> {
    match address {
        IpAddr::V4(_) if prefixes.v4.is_empty() => None,
        IpAddr::V6(_) if prefixes.v6.is_empty() => None,
        IpAddr::V4(address) => Some(prefixes.v4.iter().any(|prefix| contains_v4(*prefix, address))),
        IpAddr::V6(address) => Some(prefixes.v6.iter().any(|prefix| contains_v6(*prefix, address))),
    }
}

/// Whether the first `length` bits are the same.
fn contains_v4((network, length): (Ipv4Addr, u8), address: Ipv4Addr) -> bool {
    (0..u32::from(length)).all(|bit| network.to_bits() >> (31 - bit) & 1 == address.to_bits() >> (31 - bit) & 1)
}

fn contains_v6((network, length): (Ipv6Addr, u8), address: Ipv6Addr) -> bool {
    (0..u32::from(length)).all(|bit| network.to_bits() >> (127 - bit) & 1 == address.to_bits() >> (127 - bit) & 1)
}
