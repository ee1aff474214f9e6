//! Multi-field rules, checked, with every word resolved: what the language hands to the compiler.

use core::{
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZero,
};

use qos_common::ds::Dscp;
use serde::{Deserialize, Serialize};

use crate::hook::Direction;

/// An MF rule (RFC 2475): a classifier by several fields, and what becomes of what it matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// Its name, which is its identity: counters follow it.
    pub name: String,
    /// The line of its `[[rule]]`.
    pub line: usize,
    /// Where it is asked.
    pub on: Vec<Place>,
    /// All of them hold, or the rule does not match. Empty: every packet.
    pub conditions: Vec<Condition>,
    /// What decides the packet, if anything does.
    pub action: Action,
    /// Counts, and goes on.
    pub count: bool,
    /// Logs at most so often, and goes on.
    pub log: Option<LogRate>,
    /// The skb priority that the packet gets (TC) if the rule decides; a class `10:200` is `0x0010_0200`.
    pub priority: Option<u32>,
    /// The bits of the skb mark that the packet gets (TC) if the rule decides.
    pub mark: Option<MarkBits>,
}

/// Where a rule is asked: a pattern for interfaces, and a direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// A name, or a prefix with one star at its end; `all` is a star alone.
    pub pattern: String,
    /// The direction; `None`: both.
    pub direction: Option<Direction>,
}

impl Rule {
    /// Whether a packet that it matches is decided, so that no further rule is asked.
    #[must_use]
    pub fn decides(&self) -> bool {
        self.action != Action::None
    }

    /// Whether it names `origin = "local"`, and so overrides what `local` says of its interface.
    #[must_use]
    pub fn overrides_local(&self) -> bool {
        self.conditions.iter().any(|condition| match condition.field {
            Field::Origin(origin) => (origin == Origin::Local) != condition.negated,
            _ => false,
        })
    }

    /// Its meter, if it has one.
    #[must_use]
    pub const fn meter(&self) -> Option<&Meter> {
        match &self.action {
            Action::Meter(meter) => Some(meter),
            Action::None | Action::Set(_) | Action::Drop => None,
        }
    }

    /// What of it only TC can do, if anything.
    #[must_use]
    pub fn needs_tc(&self) -> Option<&'static str> {
        let matches_mark = self.conditions.iter().any(|condition| matches!(condition.field, Field::Mark(_)));
        match (self.priority, self.mark) {
            (Some(_), _) => Some("priority"),
            (None, Some(_)) => Some("mark"),
            (None, None) if matches_mark => Some("match on the mark"),
            _ => None,
        }
    }

    /// Whether it is asked at a hook.
    #[must_use]
    pub fn is_asked_at(&self, interface: &str, direction: Direction) -> bool {
        self.on.iter().any(|place| {
            place.direction.is_none_or(|asked| asked == direction) && pattern_matches(&place.pattern, interface)
        })
    }
}

/// Whether an interface is meant by a name, or by a prefix with a star at its end. The loopback interface is meant only
/// by its own name: nobody who writes `l*` means it.
#[must_use]
pub fn pattern_matches(pattern: &str, interface: &str) -> bool {
    match pattern.strip_suffix('*') {
        None => pattern == interface,
        Some(prefix) => interface != "lo" && interface.starts_with(prefix),
    }
}

/// A field, and whether it is meant in its `-not` form. A packet that has no such field matches neither form.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// What is compared.
    pub field: Field,
    /// The `-not` form.
    pub negated: bool,
}

/// What a condition compares, and with what; ranges are inclusive, sorted and disjoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Field {
    /// The codepoint as it came, one bit for each of the 64.
    Dscp(u64),
    /// The IP version: 4, 6.
    Family(Vec<u8>),
    /// The transport protocol, behind extension headers.
    Proto(Vec<(u8, u8)>),
    /// The source address.
    Src(Prefixes),
    /// The destination address.
    Dst(Prefixes),
    /// The source port (TCP, UDP, SCTP, DCCP, UDP-Lite).
    SrcPort(Vec<(u16, u16)>),
    /// The destination port.
    DstPort(Vec<(u16, u16)>),
    /// Either port.
    Port(Vec<(u16, u16)>),
    /// The outermost VLAN id.
    Vlan(Vec<(u16, u16)>),
    /// The outermost priority code point.
    Pcp(Vec<(u8, u8)>),
    /// The IP length in bytes, of each segment for a super-packet.
    Length(Vec<(u16, u16)>),
    /// `no` (a whole packet), `first`, `later`.
    Fragment(Vec<Fragment>),
    /// The ICMP or ICMPv6 type.
    IcmpType(Vec<(u8, u8)>),
    /// The skb mark under a mask (TC).
    Mark(MarkBits),
    /// Who made the packet (egress).
    Origin(Origin),
    /// The interface it came in by, as patterns (egress).
    From(Vec<String>),
}

/// Addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prefixes {
    /// Network address and length, 0 to 32.
    pub v4: Vec<(Ipv4Addr, u8)>,
    /// Network address and length, 0 to 128.
    pub v6: Vec<(Ipv6Addr, u8)>,
}

/// What part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fragment {
    /// All of it, an atomic fragment (RFC 6946) included.
    No,
    /// Its first fragment.
    First,
    /// A later one, which has no ports.
    Later,
}

/// Who made a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// This host.
    Local,
    /// Somebody else.
    Forwarded,
}

/// Bits of the skb mark: `value` under `mask`; the other bits are somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MarkBits {
    /// No bit outside the mask.
    pub value: u32,
    /// Which bits.
    pub mask: u32,
}

/// So many events in so long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogRate {
    /// Events.
    pub events: NonZero<u32>,
    /// In so many seconds: 1, 60 or 3600.
    pub seconds: u32,
}

/// What decides a packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Nothing: the rule counts or logs, and the next is asked. It neither sets a priority nor a mark: a rule that
    /// does decides, and without an action of its own it keeps the codepoint, `Set(None)`.
    None,
    /// This mark, or for `None` the mark it has: `keep`.
    Set(#[serde(with = "super::written::option")] Option<Dscp>),
    /// It is dropped.
    Drop,
    /// Its color decides.
    Meter(Meter),
}

/// A meter and what its colors mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meter {
    /// The algorithm with its numbers.
    pub kind: MeterKind,
    /// The codepoints that arrive yellow and red, a bit each; the rest is green. `None`: color-blind.
    pub aware: Option<Arrived>,
    /// Bytes added to each packet, for what the link adds (-64 to 256).
    pub overhead: i16,
    /// Conformed.
    pub green: Verdict,
    /// Exceeded.
    pub yellow: Verdict,
    /// Violated.
    pub red: Verdict,
}

/// Which codepoints arrive colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Arrived {
    /// Yellow.
    pub yellow: u64,
    /// Red.
    pub red: u64,
}

/// Rates in bytes a second, sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the parameters bear the names of their RFCs")]
pub enum MeterKind {
    /// RFC 2697.
    SrTcm { cir: u64, cbs: u64, ebs: u64 },
    /// RFC 2698.
    TrTcm { cir: u64, cbs: u64, pir: u64, pbs: u64 },
    /// RFC 4115.
    Rfc4115 { cir: u64, cbs: u64, eir: u64, ebs: u64 },
}

/// What a color means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The mark it has.
    Keep,
    /// This mark.
    Set(#[serde(with = "super::written::one")] Dscp),
    /// None.
    Drop,
}
