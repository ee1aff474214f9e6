//! Which instructions one packet takes, of a floor and of qosbpf, by the walk of the tests: no time, so nothing jitters.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use qos_common::{locate::Link, policy::Local};
use qosbpf::kernel::object::{Form, Specialisation};
use qosbpf_tests::walk::{Context, INGRESS_IFINDEX, Kind, Memory, Taken, Walker};

use crate::{
    compile::{Objects, by_ds, involution},
    frames::{self, Sample},
    program::{
        candidate::{Hook, LEAST, LEAST_COUNT, OURS, OURS_COUNTING, WHOLE, WHOLE_COUNT},
        rules,
    },
    report::{Count, Walked},
    scaling::metered,
};

/// What is compared with what: ours, the floor, and whether there is a table.
const FLOORS: [(&str, &str, bool); 4] = [
    (OURS_COUNTING, WHOLE_COUNT, false),
    (OURS, WHOLE, true),
    (OURS_COUNTING, LEAST_COUNT, false),
    (OURS, LEAST, true),
];

/// A packet's ways through two programs.
pub struct Pair {
    /// At which hook.
    pub hook: Hook,
    /// The frame.
    pub frame: &'static str,
    /// The one, which has less to do, or is the floor.
    pub base: &'static str,
    /// The other one.
    pub name: &'static str,
    /// What the one takes.
    pub left: Vec<Taken>,
    /// What the other one takes.
    pub right: Vec<Taken>,
}

impl Pair {
    /// How many of each kind.
    pub fn walked(&self) -> Walked {
        let Self { hook, frame, base, name, left, right } = self;
        Walked { hook: hook.name(), frame, base, name, of_base: count(left), of_name: count(right) }
    }
}

/// All frames through all programs and their floors; then what rules and meters add at XDP.
///
/// # Errors
///
/// What no verifier would let a program do.
pub fn all(objects: &Objects) -> anyhow::Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for hook in Hook::ALL {
        for (name, floor, remarks) in FLOORS {
            let (counting, table) = (Specialisation::counting(Link::Ethernet), involution());
            let wanted = Specialisation { table: remarks.then_some(table), local: Local::KeepControl, ..counting };
            let mut ours = ours(hook, None, &wanted)?;
            let (bytes, by_ds) = (*table.bytes(), by_ds(&table));
            let constants: [(&str, &[u8]); 2] = [("TABLE", &bytes), ("DS_TABLE", &by_ds)];
            let mut walker = Walker::new(objects.floor_object(), hook.floor(floor)?, &constants)?;
            for sample in frames::all().into_iter().filter(|sample| hook.takes(sample)) {
                pairs.push(pair(hook, &sample, (floor, &mut walker), (name, &mut ours))?);
            }
        }
    }
    for sample in rules::samples() {
        let mut programs = Vec::new();
        for (name, wanted) in rules::wanted()? {
            programs.push((name, ours(Hook::Xdp, None, &wanted)?));
        }
        pairs.extend(above_first(&mut programs, &sample)?);
        let mut programs = Vec::new();
        for (name, form, wanted) in metered::wanted()? {
            programs.push((name, ours(Hook::Xdp, Some(form), &wanted)?));
        }
        pairs.extend(above_first(&mut programs, &sample)?);
    }
    Ok(pairs)
}

/// What each program takes above the first one.
fn above_first(programs: &mut [(&'static str, Walker)], sample: &Sample) -> anyhow::Result<Vec<Pair>> {
    let Some(((base, first), others)) = programs.split_first_mut() else { return Ok(Vec::new()) };
    others.iter_mut().map(|(name, walker)| pair(Hook::Xdp, sample, (base, first), (name, walker))).collect()
}

/// A program of qosbpf, in this form or in the best one.
fn ours(hook: Hook, form: Option<Form>, wanted: &Specialisation) -> anyhow::Result<Walker> {
    Walker::of(hook.ours().entry(form.unwrap_or_else(|| wanted.form())), wanted)
}

fn pair(
    hook: Hook,
    sample: &Sample,
    (base, left): (&'static str, &mut Walker),
    (name, right): (&'static str, &mut Walker),
) -> anyhow::Result<Pair> {
    let (left, right) = (walk(left, hook, sample)?, walk(right, hook, sample)?);
    ensure!(left.0 == right.0, "{} at {}: {base} and {name} leave different bytes", sample.name, hook.name());
    Ok(Pair { hook, frame: sample.name, base, name, left: left.1, right: right.1 })
}

/// The bytes that leave, and what it took.
fn walk(walker: &mut Walker, hook: Hook, sample: &Sample) -> anyhow::Result<(Vec<u8>, Vec<Taken>)> {
    let mut words = sample.words().to_vec();
    words.push((INGRESS_IFINDEX, 1));
    let context = if hook == Hook::Xdp { Context::Xdp } else { Context::Skb(&words) };
    // The first one finds everything at zero: a log that may tell, for one.
    walker.run(&mut sample.frame.clone(), context)?;
    let mut packet = sample.frame.clone();
    walker.run(&mut packet, context).with_context(|| format!("{} at {}", sample.name, hook.name()))?;
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
