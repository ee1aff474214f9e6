//! What one packet takes: a program of the object is run on the host, one instruction after the other, and counted.
//!
//! Time jitters and depends on the machine; the number of instructions does not. It is that of the object, specialised as
//! the loader does it: a branch that depends on constants alone is not counted, since the verifier removes it.

mod lines;
mod step;
pub mod text;

use std::collections::BTreeMap;

use anyhow::Context as _;
use aya_obj::{Map, Object, generated::bpf_insn};
use qos_common::{
    meter::MeterRecord,
    rules::{Page, Record, Row},
};
use qosbpf::{
    kernel::object::{self, Specialisation},
    rules::RuleTables,
};
use serde::{Deserialize, Serialize};

use self::{lines::Lines, step::Step};

/// Where memory begins: nothing that a program computes by mistake should be an address.
const BASE: u64 = 1 << 20;
const STACK: usize = 512;
/// Room before a packet.
const HEADROOM: usize = 64;
const CONTEXT: usize = 192;

/// The word of `struct __sk_buff` (`include/uapi/linux/bpf.h`) with the device that a packet came in by; 0 for what this
/// host made.
pub const INGRESS_IFINDEX: usize = 36;

/// A hook's context, by what lies where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context<'a> {
    /// `struct xdp_md`.
    Xdp,
    /// `struct __sk_buff`, with these words of four bytes beside the packet.
    Skb(&'a [(usize, u32)]),
}

/// What a packet took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walk {
    /// Instructions.
    pub instructions: u32,
    /// Those of them that load from the stack.
    pub loads: u32,
    /// Those of them that store to the stack.
    pub stores: u32,
    /// Look-ups in arrays, which the kernel replaces by a few instructions.
    pub lookups: u32,
    /// Other calls of the kernel.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calls: BTreeMap<String, u32>,
}

/// An instruction that a packet took, and the verifier leaves in the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Where it is in the program.
    pub at: usize,
    /// What kind it is of.
    pub kind: Kind,
    /// The instruction in words.
    pub text: String,
    /// The line of the source that it comes from, as `file:line`.
    pub line: String,
}

/// Kinds of instructions, by what they may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A number of 64 bits or the address of a map.
    Wide,
    /// Memory is read.
    Load(Memory),
    /// Memory is written.
    Store(Memory),
    /// One register becomes another one or a number.
    Move,
    /// Arithmetic.
    Arithmetic,
    /// The way on depends on something.
    Branch,
    /// The kernel is called, or its map is looked up.
    Call,
}

/// Whose memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Memory {
    /// What had no register.
    Stack,
    /// What the kernel says of a packet; it replaces each access by one or more of its own.
    Context,
    /// The packet.
    Packet,
    /// What the program is specialised for.
    Constants,
    /// Counters, and tables of rules.
    Values,
}

/// A program with its maps.
#[derive(Debug)]
pub struct Walker {
    code: Vec<bpf_insn>,
    lines: Lines,
    names: Vec<String>,
    maps: Vec<Place>,
    constants: Vec<(u64, u64)>,
    memory: Vec<u8>,
    /// Where the packet begins that it runs on.
    packet: u64,
    taken: Vec<Taken>,
}

/// The tables of rules, by the names of their maps.
fn tables(rules: &RuleTables) -> [(&'static str, Vec<u8>); 4] {
    [
        ("PAGES", rules.pages.iter().flat_map(Page::to_ne_bytes).collect()),
        ("ROWS", rules.rows.iter().flat_map(Row::to_ne_bytes).collect()),
        ("RECORDS", rules.records.iter().flat_map(Record::to_ne_bytes).collect()),
        ("METERS", rules.meters.iter().flat_map(MeterRecord::to_ne_bytes).collect()),
    ]
}

/// A map's values in memory.
#[derive(Clone, Copy, Debug)]
struct Place {
    address: u64,
    size: u64,
    entries: u64,
}

impl Walker {
    /// A program of an object, with these bytes in place of its constants.
    ///
    /// # Errors
    ///
    /// That the object has no such program, or cannot be read.
    pub fn new(object: &[u8], program: &str, constants: &[(&str, &[u8])]) -> anyhow::Result<Self> {
        Self::with_values(object, program, constants, &[])
    }

    /// A program of qosbpf as the loader makes it: with its constants, and with the tables of its rules.
    ///
    /// # Errors
    ///
    /// That the object has no such program.
    pub fn of(entry: &str, wanted: &Specialisation) -> anyhow::Result<Self> {
        let constants = wanted.constants();
        let constants: Vec<(&str, &[u8])> = constants.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        let values = wanted.rules.as_ref().map_or_else(Vec::new, |rules| tables(rules).to_vec());
        Self::with_values(&object::bytes()?, entry, &constants, &values)
    }

    /// With maps that hold these values from the first on and no more.
    fn with_values(
        object: &[u8],
        program: &str,
        constants: &[(&str, &[u8])],
        values: &[(&str, Vec<u8>)],
    ) -> anyhow::Result<Self> {
        let mut object = Object::parse(object)?;
        let strings = lines::strings(&object)?;
        object.patch_map_data(constants.iter().map(|(name, bytes)| (*name, (*bytes, true))).collect())?;
        let mut maps: Vec<(String, Map)> = std::mem::take(&mut object.maps).into_iter().collect();
        for (name, map) in &mut maps {
            if let Some((_, bytes)) = values.iter().find(|(known, _)| known == name) {
                map.set_max_entries((bytes.len() as u32 / map.value_size()).max(1));
            }
        }
        let numbered = maps.iter().enumerate().map(|(fd, (name, map))| (name.as_str(), fd as i32, map));
        let sections = object.functions.keys().map(|(section, _)| *section).collect();
        object.relocate_maps(numbered, &sections)?;
        let key = object.programs.get(program).with_context(|| format!("no program {program}"))?.function_key();
        let function = object.functions.get(&key).context("a program without code")?;
        let mut walker = Self {
            code: function.instructions.clone(),
            lines: Lines::of(&function.line_info, &strings),
            names: maps.iter().map(|(name, _)| name.clone()).collect(),
            maps: Vec::new(),
            constants: Vec::new(),
            memory: vec![0; STACK + CONTEXT],
            packet: 0,
            taken: Vec::new(),
        };
        for (name, map) in &maps {
            walker.place(map);
            let values = values.iter().find(|(known, _)| known == name).map_or(&[][..], |(_, bytes)| bytes);
            walker.fill(values, map.value_size() as usize)?;
        }
        Ok(walker)
    }

    /// Writes the values of the map that was placed last.
    fn fill(&mut self, values: &[u8], size: usize) -> anyhow::Result<()> {
        let place = *self.maps.last().context("no map")?;
        let addresses = (0..place.entries).map(|index| place.address + index * place.size);
        // Not in one piece: each value begins at a word. What is no array has neither size nor values.
        values.chunks(size.max(1)).zip(addresses).try_for_each(|(value, address)| self.store(address, value))
    }

    fn place(&mut self, map: &Map) {
        let address = BASE + self.memory.len() as u64;
        let (size, entries) = (u64::from(map.value_size()).next_multiple_of(8), u64::from(map.max_entries()).max(1));
        if map.data().is_empty() {
            self.memory.resize(self.memory.len() + (size * entries) as usize, 0);
        } else {
            self.memory.extend(map.data());
            self.memory.resize(self.memory.len().next_multiple_of(8), 0);
            self.constants.push((address, address + map.data().len() as u64));
        }
        self.maps.push(Place { address, size, entries });
    }

    /// Runs it on a packet, which it may change; what it counts, it keeps for the next one.
    ///
    /// # Errors
    ///
    /// What it did that no verifier would let it do.
    pub fn run(&mut self, packet: &mut [u8], context: Context<'_>) -> anyhow::Result<Walk> {
        self.taken.clear();
        let before = self.memory.len();
        self.memory.resize((before + HEADROOM).next_multiple_of(16), 0);
        let start = self.memory.len();
        self.packet = BASE + start as u64;
        self.memory.extend(&*packet);
        self.describe(context, start as u32 + BASE as u32, packet.len() as u32)?;
        let result = Step::first(self, BASE + STACK as u64).finish();
        packet.copy_from_slice(&self.memory[start..]);
        self.memory.truncate(before);
        result
    }

    /// The instructions that the last packet took, in their order.
    pub fn taken(&self) -> &[Taken] {
        &self.taken
    }

    fn describe(&mut self, context: Context<'_>, start: u32, length: u32) -> anyhow::Result<()> {
        const LEN: usize = 0;
        let place = BASE + STACK as u64;
        self.store(place, &[0; CONTEXT])?;
        let (data, words): (usize, &[(usize, u32)]) = match context {
            Context::Xdp => (0, &[]),
            Context::Skb(words) => (76, words),
        };
        if let Context::Skb(_) = context {
            self.store(place + LEN as u64, &length.to_le_bytes())?;
        }
        self.store(place + data as u64, &start.to_le_bytes())?;
        self.store(place + data as u64 + 4, &(start + length).to_le_bytes())?;
        words.iter().try_for_each(|(at, word)| self.store(place + *at as u64, &word.to_le_bytes()))
    }

    fn bytes(&mut self, address: u64, size: usize) -> anyhow::Result<&mut [u8]> {
        let at = address.checked_sub(BASE).map(|at| at as usize);
        at.and_then(|at| self.memory.get_mut(at..at.checked_add(size)?))
            .with_context(|| format!("access at {address:#x}"))
    }

    fn load(&mut self, address: u64, size: usize) -> anyhow::Result<u64> {
        let mut word = [0; 8];
        word[..size].copy_from_slice(self.bytes(address, size)?);
        Ok(u64::from_le_bytes(word))
    }

    fn store(&mut self, address: u64, bytes: &[u8]) -> anyhow::Result<()> {
        self.bytes(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn memory_at(&self, address: u64) -> Memory {
        const STACK_END: u64 = BASE + STACK as u64;
        const CONTEXT_END: u64 = STACK_END + CONTEXT as u64;
        match address {
            ..STACK_END => Memory::Stack,
            STACK_END..CONTEXT_END => Memory::Context,
            _ if address >= self.packet => Memory::Packet,
            _ if self.is_constant(address) => Memory::Constants,
            _ => Memory::Values,
        }
    }

    fn is_constant(&self, address: u64) -> bool {
        self.constants.iter().any(|(from, to)| (*from..*to).contains(&address))
    }
}
