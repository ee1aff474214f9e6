//! The tables of each field: which rules each of its values leaves.

use std::collections::BTreeMap;

use qos_common::rules::{Constant, Plan, index};

use super::{
    bits::Bits,
    classifier::Refusal,
    cover::Dimension,
    demand::{DESTINATION_PORTS, Demand, LENGTHS, SOURCE_PORTS, TAGS},
    ranges::Ranges,
    store::{Class, Store},
    trie::{self, Prefix},
};
use crate::policy::model::{MarkBits, Prefixes, pattern_matches};

/// The tables under construction; the demands are in the order of the bits.
pub struct Fields<'a> {
    pub demands: &'a [Demand<'a>],
    /// Interfaces by number.
    pub interfaces: &'a [(u32, String)],
    pub store: Store,
    pub plan: Plan,
    pub dimensions: Vec<Dimension>,
}

/// The prefixes of a rule for one field, wanted and not.
type Wanted<'a> = (Option<&'a Prefixes>, Option<&'a Prefixes>);

impl<'a> Fields<'a> {
    /// Builds the tables of all fields that a rule asks for.
    pub fn build(&mut self) -> Result<(), Refusal> {
        let all =
            |demand: &Demand<'_>| demand.dscps == !0 && demand.families == [true; 2] && demand.origins == [true; 2];
        let asking = self.bits(|demand| !all(demand));
        if asking != Bits::NONE {
            self.heads(asking)?;
        }
        self.ranges(Constant::Protocol, index::PROTOCOLS, |demand| &demand.protocols, None)?;
        let either = self.demands.iter().any(|demand| demand.either_port.is_some());
        let either: Option<Either<'a>> = either.then_some(|demand: &'a Demand<'a>| demand.either_port.as_ref());
        self.plan.set(Constant::EitherPort, u16::from(either.is_some()));
        self.ranges(Constant::SourcePort, SOURCE_PORTS, |demand| &demand.source_ports, either)?;
        self.ranges(Constant::DestinationPort, DESTINATION_PORTS, |demand| &demand.destination_ports, either)?;
        self.ranges(Constant::Length, LENGTHS, |demand| &demand.lengths, None)?;
        self.ranges(Constant::Tag, TAGS, |demand| &demand.tags, None)?;
        self.marks()?;
        self.from()?;
        self.addresses(Constant::Source4, Constant::Source4Depth, Constant::Source6, |demand| {
            (demand.source, demand.source_not)
        })?;
        self.addresses(Constant::Destination4, Constant::Destination4Depth, Constant::Destination6, |demand| {
            (demand.destination, demand.destination_not)
        })?;
        // Rules that ask for nothing: some row has to say how many they are.
        if self.dimensions.is_empty() && !self.demands.is_empty() { self.heads(Bits::NONE) } else { Ok(()) }
    }

    fn bits(&self, holds: impl Fn(&Demand<'_>) -> bool) -> Bits {
        Bits::of(self.demands.len(), |bit| holds(&self.demands[bit]))
    }

    /// Codepoint, family and origin together are one byte.
    fn heads(&mut self, asking: Bits) -> Result<(), Refusal> {
        let origins = self.demands.iter().any(|demand| demand.origins != [true; 2]);
        self.plan.set(Constant::Origin, u16::from(origins));
        let mut classes = Vec::new();
        for number in 0..index::HEADS {
            let (v6, local) = (number & index::HEAD_V6 != 0, number & index::HEAD_LOCAL != 0);
            classes.push(Class::plain(self.bits(|demand| {
                let family = demand.families[usize::from(v6)];
                demand.dscps >> (number & 63) & 1 == 1 && family && demand.origins[usize::from(local)]
            })));
        }
        self.table(Constant::Head, asking, Bits::NONE, classes.into_iter().map(|class| (class, 1)))
    }

    /// A table of numbers below `end`, from the ranges that the rules demand.
    fn ranges(
        &mut self,
        first: Constant,
        end: u32,
        of: impl Fn(&'a Demand<'a>) -> &'a Ranges,
        either: Option<Either<'a>>,
    ) -> Result<(), Refusal> {
        let demands = self.demands;
        let asking = Bits::of(demands.len(), |bit| !of(&demands[bit]).is_below(end));
        let pairing = Bits::of(demands.len(), |bit| either.is_some_and(|either| either(&demands[bit]).is_some()));
        if asking == Bits::NONE && pairing == Bits::NONE {
            return Ok(());
        }
        let mut changes = Changes::default();
        asking.iter().for_each(|bit| changes.add(of(&demands[bit]), bit, false));
        for bit in pairing.iter() {
            either
                .and_then(|either| either(&demands[bit]))
                .into_iter()
                .for_each(|ranges| changes.add(ranges, bit, true));
        }
        let others = Bits::of(demands.len(), |_| true);
        let start = Class { rules: others & !asking, either: either.map(|_| others & !pairing) };
        self.table(first, asking, pairing, changes.runs(start, end))
    }

    /// Writes a table from runs of equal values.
    fn table(
        &mut self,
        first: Constant,
        asking: Bits,
        pairing: Bits,
        runs: impl Iterator<Item = (Class, usize)>,
    ) -> Result<(), Refusal> {
        let mut entries = Vec::new();
        let mut dimension = Dimension::new(asking);
        let mut pair = Dimension::of_pair(pairing);
        let mut last: Option<(Class, u16)> = None;
        for (class, length) in runs {
            let entry = match last {
                Some((same, entry)) if same == class => entry,
                _ => self.store.leaf(&class)?,
            };
            if last.is_none_or(|(_, before)| before != entry) {
                dimension.add(class.rules);
                class.either.into_iter().for_each(|rules| pair.add(rules));
            }
            last = Some((class, entry));
            entries.extend(std::iter::repeat_n(entry, length));
        }
        self.dimensions.push(dimension);
        if pairing != Bits::NONE {
            self.dimensions.push(pair);
        }
        let number = self.store.pages(&entries)?;
        self.plan.set(first, number);
        Ok(())
    }

    /// The two halves of the mark. That a mark is so demands something of both; that it is not so, of one of the two.
    fn marks(&mut self) -> Result<(), Refusal> {
        let asking = self.bits(|demand| demand.mark.is_some());
        let pairing = self.bits(|demand| demand.mark_not.is_some());
        if asking == Bits::NONE && pairing == Bits::NONE {
            return Ok(());
        }
        let all = self.bits(|_| true);
        self.plan.set(Constant::MarkNot, u16::from(pairing != Bits::NONE));
        for (first, shift) in [(Constant::MarkLow, 0), (Constant::MarkHigh, 16)] {
            let wanted = Marks::of(self.demands, shift, |demand| demand.mark);
            let unwanted = Marks::of(self.demands, shift, |demand| demand.mark_not);
            let (all_asking, pairs) = (all & !asking, pairing != Bits::NONE);
            let runs = (0..=u16::MAX).map(|half| {
                let rules = all_asking | wanted.hits(half);
                (Class { rules, either: pairs.then(|| all & !unwanted.hits(half)) }, 1)
            });
            self.table(first, asking, pairing, runs)?;
        }
        Ok(())
    }

    /// The interface that a packet came in by. What this host made has none, and so neither form holds.
    fn from(&mut self) -> Result<(), Refusal> {
        if self.demands.iter().all(|demand| demand.from.is_none() && demand.from_not.is_none()) {
            return Ok(());
        }
        let mut prefixes = Vec::new();
        let mut free = self.bits(|demand| demand.from.is_none());
        for (rule, demand) in self.demands.iter().enumerate() {
            if let Some(patterns) = demand.from {
                // Every interface, also one that is not there yet.
                if patterns.iter().any(|pattern| pattern == "*") {
                    free.insert(rule);
                }
                prefixes.extend(self.interfaces(patterns).map(|number| exactly(number, rule, false)));
                prefixes.push(exactly(0, rule, true));
            }
            if let Some(patterns) = demand.from_not {
                prefixes.extend(self.interfaces(patterns).map(|number| exactly(number, rule, true)));
                prefixes.push(exactly(0, rule, true));
                let all = patterns.iter().any(|pattern| pattern == "*");
                prefixes.extend(all.then_some(Prefix { key: 0, length: 0, rule, negated: true }));
            }
        }
        let asking = self.bits(|demand| demand.from.is_some() || demand.from_not.is_some());
        self.trie(Constant::From, Constant::FromDepth, asking, prefixes, free)
    }

    /// The numbers of the interfaces that any of these patterns means.
    fn interfaces(&self, patterns: &'a [String]) -> impl Iterator<Item = u32> + use<'a> {
        let meant = move |(_, name): &&(u32, String)| patterns.iter().any(|pattern| pattern_matches(pattern, name));
        self.interfaces.iter().filter(meant).map(|(number, _)| *number)
    }

    fn addresses(
        &mut self,
        first4: Constant,
        depth4: Constant,
        first6: Constant,
        of: impl Fn(&'a Demand<'a>) -> Wanted<'a>,
    ) -> Result<(), Refusal> {
        let demands = self.demands;
        let asking = Bits::of(demands.len(), |bit| of(&demands[bit]) != (None, None));
        if asking == Bits::NONE {
            return Ok(());
        }
        let depth6 = match first6 {
            Constant::Source6 => Constant::Source6Depth,
            _ => Constant::Destination6Depth,
        };
        for (first, depth, keys) in [(first4, depth4, keys4 as fn(&Prefixes) -> _), (first6, depth6, keys6)] {
            let mut prefixes = Vec::new();
            let mut free = Bits::NONE;
            for (rule, demand) in demands.iter().enumerate() {
                let (wanted, unwanted) = of(demand);
                let (wanted, unwanted) = (wanted.map(keys), unwanted.map(keys));
                // Addresses that are all of the other family: neither form holds.
                let never = unwanted.as_ref().is_some_and(Vec::is_empty);
                if never || wanted.as_ref().is_some_and(Vec::is_empty) {
                    continue;
                }
                if wanted.is_none() {
                    free.insert(rule);
                }
                for (keys, negated) in [(wanted, false), (unwanted, true)] {
                    let keys = keys.into_iter().flatten();
                    prefixes.extend(keys.map(|(key, length)| Prefix { key, length, rule, negated }));
                }
            }
            self.trie(first, depth, asking, prefixes, free)?;
        }
        Ok(())
    }

    fn trie(
        &mut self,
        first: Constant,
        depth: Constant,
        asking: Bits,
        prefixes: Vec<Prefix>,
        free: Bits,
    ) -> Result<(), Refusal> {
        let trie = trie::build(prefixes, free, &mut self.store)?;
        let mut dimension = Dimension::new(asking);
        trie.classes.into_iter().for_each(|rules| dimension.add(rules));
        self.dimensions.push(dimension.of(first));
        let number = self.store.pages(&trie.root)?;
        self.plan.set(first, number);
        self.plan.set(depth, trie.depth);
        Ok(())
    }
}

/// The ranges of which a value has to be in this or in the paired field.
type Either<'a> = fn(&'a Demand<'a>) -> Option<&'a Ranges>;

/// Where rules begin and cease to hold, as numbers go up.
#[derive(Default)]
struct Changes(BTreeMap<u32, Vec<Change>>);

struct Change {
    bit: usize,
    either: bool,
    holds: bool,
}

impl Changes {
    fn add(&mut self, ranges: &Ranges, bit: usize, either: bool) {
        for (first, last) in ranges.iter() {
            self.0.entry(first).or_default().push(Change { bit, either, holds: true });
            self.0.entry(last + 1).or_default().push(Change { bit, either, holds: false });
        }
    }

    /// Runs of numbers below `end` with the same rules, `start` being those before the first change.
    fn runs(mut self, start: Class, end: u32) -> impl Iterator<Item = (Class, usize)> {
        let mut class = start;
        self.0.entry(0).or_default();
        let stops: Vec<u32> = self.0.keys().copied().filter(|stop| *stop < end).chain([end]).collect();
        let runs: Vec<_> = stops.iter().zip(&stops[1..]).map(|(from, to)| (*from, (to - from) as usize)).collect();
        runs.into_iter().map(move |(from, length)| {
            self.0.get(&from).into_iter().flatten().for_each(|change| change.apply(&mut class));
            (class, length)
        })
    }
}

impl Change {
    fn apply(&self, class: &mut Class) {
        let bits = if self.either { class.either.as_mut() } else { Some(&mut class.rules) };
        let Some(bits) = bits else { return };
        if self.holds { bits.insert(self.bit) } else { bits.remove(self.bit) }
    }
}

/// For each half of a mark, the rules that it is right for.
struct Marks(Vec<Bits>);

impl Marks {
    fn of(demands: &[Demand<'_>], shift: u32, of: impl Fn(&Demand<'_>) -> Option<MarkBits>) -> Self {
        let mut asked: BTreeMap<(u16, u16), Bits> = BTreeMap::new();
        for (bit, demand) in demands.iter().enumerate() {
            let Some(mark) = of(demand) else { continue };
            asked.entry(((mark.mask >> shift) as u16, (mark.value >> shift) as u16)).or_default().insert(bit);
        }
        let mut halves = vec![Bits::NONE; 1 << 16];
        // A value with bits outside of its mask is nobody's.
        for ((mask, value), rules) in asked.into_iter().filter(|((mask, value), _)| value & !mask == 0) {
            for others in subsets(!mask) {
                halves[usize::from(value | others)] |= rules;
            }
        }
        Self(halves)
    }

    fn hits(&self, half: u16) -> Bits {
        self.0[usize::from(half)]
    }
}

/// All numbers with no bit outside of `bits`.
fn subsets(bits: u16) -> impl Iterator<Item = u16> {
    std::iter::successors(Some(0), move |last: &u16| {
        let next = last.wrapping_sub(bits) & bits;
        (next != 0).then_some(next)
    })
}

fn exactly(interface: u32, rule: usize, negated: bool) -> Prefix {
    Prefix { key: by_low_half(interface), length: 32, rule, negated }
}

/// The order in which the bytes of an interface's number are looked up: the low half first, since it says most.
fn by_low_half(number: u32) -> u128 {
    let [a, b, c, d] = number.to_be_bytes();
    u128::from(u32::from_be_bytes([c, d, b, a])) << 96
}

fn keys4(prefixes: &Prefixes) -> Vec<(u128, u32)> {
    prefixes.v4.iter().map(|(address, length)| (u128::from(address.to_bits()) << 96, u32::from(*length))).collect()
}

fn keys6(prefixes: &Prefixes) -> Vec<(u128, u32)> {
    prefixes.v6.iter().map(|(address, length)| (address.to_bits(), u32::from(*length))).collect()
}
