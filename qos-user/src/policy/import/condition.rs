//! What a rule of another tool asks for, in the terms of `match`: what two conditions have in common, and whether one is
//! within the other.

use std::collections::BTreeMap;

use super::spans::Spans;
use crate::policy::{bounds::covers, protocols};

/// IPv4, as a bit.
pub(super) const V4: u8 = 1;
/// IPv6.
pub(super) const V6: u8 = 2;
/// A whole packet, a first fragment, a later one: bits.
pub(super) const WHOLE: u8 = 1;
pub(super) const FIRST: u8 = 2;
pub(super) const LATER: u8 = 4;

/// The numeric fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Number {
    Proto,
    SrcPort,
    DstPort,
    Port,
    Vlan,
    Pcp,
    Length,
    IcmpType,
}

impl Number {
    /// The largest value.
    pub const fn most(self) -> u128 {
        match self {
            Self::Proto | Self::IcmpType => 255,
            Self::Vlan => 4094,
            Self::Pcp => 7,
            Self::SrcPort | Self::DstPort | Self::Port | Self::Length => 65535,
        }
    }

    /// Its key in `match`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Proto => "proto",
            Self::SrcPort => "src-port",
            Self::DstPort => "dst-port",
            Self::Port => "port",
            Self::Vlan => "vlan",
            Self::Pcp => "pcp",
            Self::Length => "length",
            Self::IcmpType => "icmp-type",
        }
    }
}

/// Addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Addresses {
    pub v4: Spans,
    pub v6: Spans,
}

impl Addresses {
    pub const fn families(&self) -> u8 {
        (if self.v4.is_empty() { 0 } else { V4 }) | (if self.v6.is_empty() { 0 } else { V6 })
    }

    pub fn and(&self, other: &Self) -> Self {
        Self { v4: self.v4.and(&other.v4), v6: self.v6.and(&other.v6) }
    }

    /// All other addresses of the families in it.
    pub fn complement(&self) -> Self {
        let turned = |spans: &Spans, most| if spans.is_empty() { Spans::default() } else { spans.complement(most) };
        Self { v4: turned(&self.v4, u128::from(u32::MAX)), v6: turned(&self.v6, u128::MAX) }
    }

    /// Those of some families.
    pub fn of_families(mut self, families: u8) -> Self {
        if families & V4 == 0 {
            self.v4 = Spans::default();
        }
        if families & V6 == 0 {
            self.v6 = Spans::default();
        }
        self
    }

    fn covers(&self, other: &Self) -> bool {
        self.v4.covers(&other.v4) && self.v6.covers(&other.v6)
    }
}

/// All of it has to hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Condition {
    /// The interface at the hook: a name, or a prefix and a star. `None`: any.
    pub on: Option<String>,
    /// A bit for each codepoint.
    pub dscp: u64,
    /// [`V4`], [`V6`].
    pub families: u8,
    pub numbers: BTreeMap<Number, Spans>,
    /// [`WHOLE`], [`FIRST`], [`LATER`].
    pub fragments: u8,
    pub src: Option<Addresses>,
    pub dst: Option<Addresses>,
    pub mark: Option<Bits>,
    pub mark_not: Vec<Bits>,
    /// Whether this host made it.
    pub local: Option<bool>,
    /// Interfaces it came in by.
    pub from: Option<Vec<String>>,
    pub from_not: Vec<String>,
}

/// Value and mask of bits of the skb mark.
pub(super) type Bits = (u32, u32);

impl Default for Condition {
    fn default() -> Self {
        Self {
            on: None,
            dscp: u64::MAX,
            families: V4 | V6,
            numbers: BTreeMap::new(),
            fragments: WHOLE | FIRST | LATER,
            src: None,
            dst: None,
            mark: None,
            mark_not: Vec::new(),
            local: None,
            from: None,
            from_not: Vec::new(),
        }
    }
}

impl Condition {
    /// What asks for one number field.
    pub fn number(field: Number, spans: Spans) -> Self {
        Self { numbers: BTreeMap::from([(field, spans)]), ..Self::default() }
    }

    /// What both ask for: nothing if no packet can be both, and more than one if either port would have to be asked
    /// twice.
    pub fn and(&self, other: &Self) -> Vec<Self> {
        if let (Some(one), Some(two)) = (self.numbers.get(&Number::Port), other.numbers.get(&Number::Port))
            && !one.covers(two)
            && !two.covers(one)
        {
            let [src, dst] = [Number::SrcPort, Number::DstPort].map(|field| self.with_port_as(field));
            return src.and(other).into_iter().chain(dst.and(other)).collect();
        }
        self.common(other).filter(Self::is_possible).into_iter().collect()
    }

    /// What asks for `port` in one of its two places.
    fn with_port_as(&self, field: Number) -> Self {
        let mut changed = self.clone();
        if let Some(spans) = changed.numbers.remove(&Number::Port) {
            let both = changed.numbers.get(&field).map_or_else(|| spans.clone(), |own| own.and(&spans));
            changed.numbers.insert(field, both);
        }
        changed
    }

    fn common(&self, other: &Self) -> Option<Self> {
        Some(Self {
            on: narrower(self.on.as_deref(), other.on.as_deref())?,
            dscp: self.dscp & other.dscp,
            families: self.families & other.families,
            numbers: self.common_numbers(other),
            fragments: self.fragments & other.fragments,
            src: both(self.src.as_ref(), other.src.as_ref(), Addresses::and),
            dst: both(self.dst.as_ref(), other.dst.as_ref(), Addresses::and),
            mark: common_bits(self.mark, other.mark)?,
            mark_not: joined(&self.mark_not, &other.mark_not),
            local: common_value(self.local, other.local)?,
            from: common_from(self.from.as_deref(), other.from.as_deref())?,
            from_not: joined(&self.from_not, &other.from_not),
        })
    }

    fn common_numbers(&self, other: &Self) -> BTreeMap<Number, Spans> {
        let mut numbers = self.numbers.clone();
        for (field, spans) in &other.numbers {
            let common = numbers.get(field).map_or_else(|| spans.clone(), |own| own.and(spans));
            numbers.insert(*field, common);
        }
        numbers
    }

    /// Whether a packet can be so; also brings what one field says of another into line.
    fn is_possible(&self) -> bool {
        let protocols = |wanted: fn(u8) -> bool| {
            let spans = self.numbers.get(&Number::Proto);
            (0..=255)
                .filter(|proto| wanted(*proto))
                .any(|proto| spans.is_none_or(|spans| spans.covers(&Spans::one(u128::from(proto)))))
        };
        let asks_ports =
            [Number::SrcPort, Number::DstPort, Number::Port].iter().any(|port| self.numbers.contains_key(port));
        let asks_type = self.numbers.contains_key(&Number::IcmpType);
        let families = self.families_of_addresses();
        families != 0
            && self.dscp != 0
            && self.fragments != 0
            && (!asks_ports && !asks_type || self.fragments != LATER)
            && !(asks_ports && (asks_type || !protocols(protocols::has_ports)))
            && (!asks_type || protocols(protocols::has_icmp_type))
            && self.numbers.values().all(|spans| !spans.is_empty())
            && !(self.local == Some(true) && (self.from.is_some() || !self.from_not.is_empty()))
            && !self.mark_not.iter().any(|(value, mask)| {
                self.mark.is_some_and(|(own, known)| known & mask == *mask && own & mask == *value)
            })
    }

    /// The families that are left when the addresses are regarded too.
    pub fn families_of_addresses(&self) -> u8 {
        let of = |addresses: &Option<Addresses>| addresses.as_ref().map_or(V4 | V6, Addresses::families);
        self.families & of(&self.src) & of(&self.dst)
    }

    /// Whether every packet that `inner` asks for is one that this asks for.
    pub fn covers(&self, inner: &Self) -> bool {
        let narrow = |own: &Option<Addresses>, inner_has: &Option<Addresses>| match (own, inner_has) {
            (None, _) => true,
            (Some(own), Some(narrower)) => own.covers(&narrower.clone().of_families(inner.families_of_addresses())),
            (Some(_), None) => false,
        };
        let numbers =
            self.numbers.iter().all(|(field, spans)| inner.numbers.get(field).is_some_and(|i| spans.covers(i)));
        let from = match (&self.from, &inner.from) {
            (None, _) => true,
            (Some(own), Some(inner)) => inner.iter().all(|name| own.iter().any(|wide| covers(wide, name))),
            (Some(_), None) => false,
        };
        self.on.as_ref().is_none_or(|on| inner.on.as_ref().is_some_and(|narrow| covers(on, narrow)))
            && self.dscp & inner.dscp == inner.dscp
            && self.families & inner.families_of_addresses() == inner.families_of_addresses()
            && numbers
            && self.fragments & inner.fragments == inner.fragments
            && narrow(&self.src, &inner.src)
            && narrow(&self.dst, &inner.dst)
            && (self.mark.is_none() || self.mark == inner.mark)
            && self.mark_not.iter().all(|not| inner.mark_not.contains(not))
            && (self.local.is_none() || self.local == inner.local || self.local == Some(false) && inner.from.is_some())
            && from
            && self.from_not.iter().all(|not| inner.from_not.contains(not))
    }

    /// Whether it asks for the interface and the codepoint alone, as a remark table does.
    pub fn is_for_a_table(&self) -> bool {
        *self == Self { on: self.on.clone(), dscp: self.dscp, ..Self::default() }
    }
}

/// What one of each ask for together.
pub(super) fn met(ones: &[Condition], others: &[Condition]) -> Vec<Condition> {
    ones.iter().flat_map(|one| others.iter().flat_map(|other| one.and(other))).collect()
}

fn both<T: Clone>(one: Option<&T>, two: Option<&T>, and: impl Fn(&T, &T) -> T) -> Option<T> {
    match (one, two) {
        (Some(one), Some(two)) => Some(and(one, two)),
        (one, two) => one.or(two).cloned(),
    }
}

/// The narrower of two patterns; `None` if no interface is meant by both.
fn narrower(one: Option<&str>, two: Option<&str>) -> Option<Option<String>> {
    Some(match (one, two) {
        (Some(one), Some(two)) if covers(one, two) => Some(two.to_owned()),
        (Some(one), Some(two)) if covers(two, one) => Some(one.to_owned()),
        (Some(_), Some(_)) => return None,
        (one, two) => one.or(two).map(str::to_owned),
    })
}

fn common_bits(one: Option<Bits>, two: Option<Bits>) -> Option<Option<Bits>> {
    Some(match (one, two) {
        (Some((value, mask)), Some((other, others))) => {
            if (value ^ other) & mask & others != 0 {
                return None;
            }
            Some((value | other, mask | others))
        }
        (one, two) => one.or(two),
    })
}

fn common_value<T: PartialEq>(one: Option<T>, two: Option<T>) -> Option<Option<T>> {
    match (one, two) {
        (Some(one), Some(two)) if one != two => None,
        (one, two) => Some(one.or(two)),
    }
}

fn common_from(one: Option<&[String]>, two: Option<&[String]>) -> Option<Option<Vec<String>>> {
    let (Some(ones), Some(twos)) = (one, two) else { return Some(one.or(two).map(<[String]>::to_vec)) };
    let pairs = ones.iter().flat_map(|one| twos.iter().map(move |two| narrower(Some(one), Some(two))));
    let common = pairs.flatten().flatten().collect::<Vec<_>>();
    (!common.is_empty()).then_some(Some(common))
}

fn joined<T: Clone + PartialEq>(one: &[T], two: &[T]) -> Vec<T> {
    one.iter().chain(two.iter().filter(|item| !one.contains(item))).cloned().collect()
}
