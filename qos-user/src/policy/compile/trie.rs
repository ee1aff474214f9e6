//! Prefixes to a trie: 16 bits at its root, a byte at each step from there, no deeper than the longest prefix.

use std::collections::BTreeMap;

use qos_common::rules::LEAF;

use super::{
    bits::Bits,
    classifier::Refusal,
    store::{Class, Store},
};

/// A prefix that a rule asks for, or that it asks for not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// The network, from the highest bit on.
    pub key: u128,
    /// Its length.
    pub length: u32,
    pub rule: usize,
    pub negated: bool,
}

impl Prefix {
    fn covers(&self, other: &Self) -> bool {
        self.length <= other.length && (self.key ^ other.key).checked_shr(128 - self.length).unwrap_or(0) == 0
    }

    /// Without the bits behind its length.
    fn canonical(self) -> Self {
        let kept = u128::MAX.checked_shl(128 - self.length).unwrap_or(0);
        Self { key: self.key & kept, ..self }
    }
}

/// What holds in a region of addresses.
#[derive(Clone, Copy)]
struct Region {
    /// Rules of which a prefix covers it, and those that ask for none.
    asked: Bits,
    /// Rules of which no unwanted prefix covers it.
    spared: Bits,
}

impl Region {
    fn apply(&mut self, prefix: &Prefix, inside: bool) {
        let bits = if prefix.negated { &mut self.spared } else { &mut self.asked };
        if inside != prefix.negated { bits.insert(prefix.rule) } else { bits.remove(prefix.rule) }
    }
}

/// A trie that has been built.
pub struct Trie {
    /// The entries of the root.
    pub root: Vec<u16>,
    /// Steps behind the root.
    pub depth: u16,
    /// The rules that each value leaves.
    pub classes: Vec<Bits>,
}

/// Builds the trie; `free`: the rules that match every address that none of their unwanted prefixes covers.
pub fn build(mut prefixes: Vec<Prefix>, free: Bits, store: &mut Store) -> Result<Trie, Refusal> {
    prefixes.iter_mut().for_each(|prefix| *prefix = prefix.canonical());
    let prefixes = without_covered(prefixes);
    let region = Region { asked: free, spared: Bits::ALL };
    let mut builder = Builder { store, depth: 0, classes: Vec::new() };
    let root = builder.node(&prefixes, Step { bits: 0, width: 16, level: 0 }, region)?;
    Ok(Trie { root, depth: builder.depth, classes: builder.classes })
}

/// One prefix of a rule inside another one of the same rule says nothing.
fn without_covered(mut prefixes: Vec<Prefix>) -> Vec<Prefix> {
    prefixes.sort_unstable_by_key(|prefix| (prefix.rule, prefix.negated, prefix.key, prefix.length));
    prefixes.dedup_by(|next, kept| (next.rule, next.negated) == (kept.rule, kept.negated) && kept.covers(next));
    prefixes.sort_unstable();
    prefixes
}

#[derive(Clone, Copy)]
struct Step {
    /// Bits that are behind.
    bits: u32,
    /// Bits that are looked up in this step.
    width: u32,
    level: u16,
}

impl Step {
    const fn end(self) -> u32 {
        self.bits + self.width
    }

    /// The entry under which a key is looked up.
    const fn index(self, key: u128) -> usize {
        (key >> (128 - self.end())) as usize & ((1 << self.width) - 1)
    }
}

struct Builder<'a> {
    store: &'a mut Store,
    depth: u16,
    classes: Vec<Bits>,
}

impl Builder<'_> {
    /// The entries of a node, of which all prefixes are longer than what is behind; sorted by key.
    fn node(&mut self, prefixes: &[Prefix], step: Step, mut region: Region) -> Result<Vec<u16>, Refusal> {
        let mut changes: BTreeMap<usize, Vec<(Prefix, bool)>> = BTreeMap::new();
        let mut below: BTreeMap<usize, Vec<Prefix>> = BTreeMap::new();
        for prefix in prefixes {
            let first = step.index(prefix.key);
            if prefix.length > step.end() {
                below.entry(first).or_default().push(*prefix);
                continue;
            }
            changes.entry(first).or_default().push((*prefix, true));
            changes.entry(first + (1 << (step.end() - prefix.length))).or_default().push((*prefix, false));
        }
        self.depth = self.depth.max(step.level);
        let size = 1 << step.width;
        let mut stops: Vec<usize> = changes.keys().chain(below.keys()).copied().collect();
        stops.extend(below.keys().map(|index| index + 1));
        stops.extend([0, size]);
        stops.sort_unstable();
        stops.dedup();
        let mut entries = vec![0; size];
        for ends in stops.windows(2).filter(|ends| ends[0] < size) {
            // What ends here first: of two prefixes of a rule, one may begin where the other ends.
            let mut here = changes.remove(&ends[0]).unwrap_or_default();
            here.sort_unstable_by_key(|(_, inside)| *inside);
            here.iter().for_each(|(prefix, inside)| region.apply(prefix, *inside));
            let entry = match below.get(&ends[0]) {
                Some(longer) => self.child(longer, step, region)?,
                None => self.leaf(region)?,
            };
            entries[ends[0]..ends[1]].fill(entry);
        }
        Ok(entries)
    }

    fn leaf(&mut self, region: Region) -> Result<u16, Refusal> {
        let rules = region.asked & region.spared;
        self.classes.push(rules);
        self.store.leaf(&Class::plain(rules))
    }

    fn child(&mut self, prefixes: &[Prefix], step: Step, region: Region) -> Result<u16, Refusal> {
        let depth = self.depth;
        let next = Step { bits: step.end(), width: 8, level: step.level + 1 };
        let entries = self.node(prefixes, next, region)?;
        if entries[0] & LEAF != 0 && entries.iter().all(|entry| *entry == entries[0]) {
            self.depth = depth;
            return Ok(entries[0]);
        }
        let mut page = [0; 256];
        page.copy_from_slice(&entries);
        self.store.page(page)
    }
}
