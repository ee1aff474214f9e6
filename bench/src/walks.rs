//! Which instructions one packet takes, of a floor and of qosbpf, by the walk of the tests: no time, so nothing jitters.

use std::collections::BTreeMap;

use anyhow::ensure;
use qos_common::{locate::Link, policy::Local};
use qosbpf::kernel::object::{self, Specialisation};
use qosbpf_tests::walk::{Context, Kind, Memory, Taken, Walker};

use crate::{
    compile::{Objects, involution},
    frames::{self, Sample},
    program::candidate::{Hook, OURS, OURS_COUNTING, WHOLE, WHOLE_COUNT},
    report::{Count, Walked},
};

/// Words of `struct __sk_buff`: the device that a packet came in by, which is none for what this host made.
const INGRESS_IFINDEX: usize = 36;

/// A packet's way through a floor and through qosbpf.
pub struct Pair {
    /// At which hook.
    pub hook: Hook,
    /// The frame.
    pub frame: &'static str,
    /// The candidate of qosbpf.
    pub ours: &'static str,
    /// What the floor of the same contract takes.
    pub floor: Vec<Taken>,
    /// What qosbpf takes.
    pub qosbpf: Vec<Taken>,
}

impl Pair {
    /// How many of each kind.
    pub fn walked(&self) -> Walked {
        let Self { hook, frame, ours, floor, qosbpf } = self;
        Walked { hook: hook.name(), frame, ours, floor: count(floor), qosbpf: count(qosbpf) }
    }
}

/// All frames through all programs.
///
/// # Errors
///
/// What no verifier would let a program do.
pub fn all(objects: &Objects) -> anyhow::Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for hook in Hook::ALL {
        for (ours, floor, table) in [(OURS_COUNTING, WHOLE_COUNT, None), (OURS, WHOLE, Some(involution()))] {
            let wanted =
                Specialisation { table, local: Local::KeepControl, ..Specialisation::counting(Link::Ethernet) };
            let constants = wanted.constants();
            let constants: Vec<(&str, &[u8])> =
                constants.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
            let mut qosbpf = Walker::new(object::bytes(), hook.ours().entry(wanted.form()), &constants)?;
            let table = involution();
            let mut floor =
                Walker::new(objects.floor_object(), hook.floor(floor)?, &[("TABLE", table.bytes().as_slice())])?;
            for sample in frames::all().into_iter().filter(|sample| hook.takes(sample)) {
                let (floor, qosbpf) = (walk(&mut floor, hook, &sample)?, walk(&mut qosbpf, hook, &sample)?);
                ensure!(floor.0 == qosbpf.0, "{} at {}: other bytes left the floor", sample.name, hook.name());
                pairs.push(Pair { hook, frame: sample.name, ours, floor: floor.1, qosbpf: qosbpf.1 });
            }
        }
    }
    Ok(pairs)
}

/// The bytes that leave, and what it took.
fn walk(walker: &mut Walker, hook: Hook, sample: &Sample) -> anyhow::Result<(Vec<u8>, Vec<Taken>)> {
    let mut words = sample.words().to_vec();
    words.push((INGRESS_IFINDEX, 1));
    let context = if hook == Hook::Xdp { Context::Xdp } else { Context::Skb(&words) };
    let mut packet = sample.frame.clone();
    walker.run(&mut packet, context)?;
    Ok((packet, walker.taken().to_vec()))
}

/// The name of a kind in tables.
pub const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Wide => "wide numbers",
        Kind::Load(Memory::Stack) | Kind::Store(Memory::Stack) => "stack",
        Kind::Load(Memory::Context) | Kind::Store(Memory::Context) => "context",
        Kind::Load(Memory::Packet) | Kind::Store(Memory::Packet) => "packet",
        Kind::Load(Memory::Constants) | Kind::Store(Memory::Constants) => "constants",
        Kind::Load(Memory::Values) | Kind::Store(Memory::Values) => "values",
        Kind::Move => "moves",
        Kind::Arithmetic => "arithmetic",
        Kind::Branch => "branches",
        Kind::Call => "calls",
    }
}

fn count(taken: &[Taken]) -> Count {
    let mut kinds = BTreeMap::new();
    for each in taken {
        *kinds.entry(kind(each.kind)).or_default() += 1;
    }
    Count { instructions: taken.len(), kinds }
}
