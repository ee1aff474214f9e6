//! The kernel object, and loading a program of it specialised for one hook.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Array, Map, MapError},
    programs::{ProgramInfo, SchedClassifier, Xdp},
};
use qos_common::{
    abi::{RemarkedHalf, Settings},
    inside::Inside,
    locate::Link,
    meter::{Algorithm, MeterRecord},
    policy::{Local, Table},
    rules::{Constant, Page, Plan, RULE_SLOTS, Record, Row},
};

use super::{
    counters,
    pins::{HookPins, Pin},
    probe,
    refusal::refused,
    shortage, sys,
};
use crate::{hook::Direction, progress, rules::RuleTables};

/// The programs, as the build script has packed them.
static PACKED: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/qosbpf.lz4"));

/// What tells this build's object from another one (FNV-1a, by words).
#[must_use]
pub fn fingerprint() -> u64 {
    let (words, rest) = PACKED.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_ne_bytes(*word)).chain(rest.iter().map(|byte| u64::from(*byte)));
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

/// A ring buffer of one page: as small as the kernel makes them, where nothing is logged.
const NO_LOGS: u32 = 4096;
const LOGS: u32 = 1 << 17;

/// Bytes of the ring buffer of a hook with rules that log: some five hundred events wait for a reader.
pub const EVENTS: u32 = 1 << 16;

/// The maps that all programs of a hook share.
const SHARED: [(&str, Pin); 5] = [
    ("COUNTERS", Pin::Counters),
    ("REMARKED", Pin::Remarked),
    ("RULES", Pin::Rules),
    ("COLORS", Pin::Colors),
    ("BUCKETS", Pin::Buckets),
];

/// Which program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// XDP for packets in one piece.
    Xdp,
    /// XDP for packets in several pieces.
    XdpFrags,
    /// TC.
    Tc(Direction),
}

impl Program {
    /// Its name in the object and, cut to 15 bytes, in the kernel.
    #[must_use]
    pub const fn entry(self, form: Form) -> &'static str {
        match (self, form) {
            (_, Form::Table) => self.name(),
            (Self::Xdp, Form::Rules) => "qosbpf_xdp_rules",
            (Self::XdpFrags, Form::Rules) => "qosbpf_xdp_frags_rules",
            (Self::Tc(Direction::Ingress), Form::Rules) => "qosbpf_ingress_rules",
            (Self::Tc(Direction::Egress), Form::Rules) => "qosbpf_egress_rules",
            (Self::Xdp, Form::Swap) => "qosbpf_xdp_swap",
            (Self::XdpFrags, Form::Swap) => "qosbpf_xdp_frags_swap",
            (Self::Tc(Direction::Ingress), Form::Swap) => "qosbpf_ingress_swap",
            (Self::Tc(Direction::Egress), Form::Swap) => "qosbpf_egress_swap",
            (Self::Xdp, Form::Inside) => "qosbpf_xdp_inside",
            (Self::XdpFrags, Form::Inside) => "qosbpf_xdp_frags_inside",
            (Self::Tc(Direction::Ingress), Form::Inside) => "qosbpf_ingress_inside",
            (Self::Tc(Direction::Egress), Form::Inside) => "qosbpf_egress_inside",
            (Self::Xdp, Form::InsideSwap) => "qosbpf_xdp_inside_swap",
            (Self::XdpFrags, Form::InsideSwap) => "qosbpf_xdp_frags_inside_swap",
            (Self::Tc(Direction::Ingress), Form::InsideSwap) => "qosbpf_ingress_inside_swap",
            (Self::Tc(Direction::Egress), Form::InsideSwap) => "qosbpf_egress_inside_swap",
            (Self::Tc(Direction::Egress), Form::Outer) => "qosbpf_egress_outer",
            (Self::Tc(Direction::Egress), Form::OuterSwap) => "qosbpf_egress_outer_swap",
            // Headers that this host makes leave it, by TC.
            (other, Form::Outer) => other.entry(Form::Inside),
            (other, Form::OuterSwap) => other.entry(Form::InsideSwap),
        }
    }

    /// The name of its form without rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "qosbpf_xdp",
            Self::XdpFrags => "qosbpf_xdp_frags",
            Self::Tc(Direction::Ingress) => "qosbpf_ingress",
            Self::Tc(Direction::Egress) => "qosbpf_egress",
        }
    }
}

/// The forms of each program: what it has code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table alone.
    Table,
    /// Rules too, whose meters lock their buckets.
    Rules,
    /// The same, but meters of two rates change their buckets by compare-and-swap (Linux 5.12).
    Swap,
    /// Looks inside other headers; rules or none, whose meters lock their buckets.
    Inside,
    /// The same, but meters of two rates change their buckets by compare-and-swap.
    InsideSwap,
    /// Marks outer headers by what is inside, at TC egress; for the rest as [`Inside`](Form::Inside).
    Outer,
    /// The same, but meters of two rates change their buckets by compare-and-swap.
    OuterSwap,
}

/// What a program is built for; what it does not need is not in it.
#[derive(Clone, Debug)]
pub struct Specialisation {
    /// What precedes the IP header.
    pub link: Link,
    /// Behind which headers to look for IP; nothing leaves no code for it in the program.
    pub inside: Inside,
    /// The table for outer headers that this host has made, asked with the codepoint inside.
    pub outer: Option<Table>,
    /// The table to enforce; `None` counts alone, and leaves no packet write in the program.
    pub table: Option<Table>,
    /// The rules that are asked before the table; `None` leaves no code for rules in the program.
    pub rules: Option<Arc<RuleTables>>,
    /// Which of this host's own packets table and rules spare.
    pub local: Local,
    /// Whether decisions are logged.
    pub log: bool,
}

impl Specialisation {
    /// Counts, and does nothing else.
    #[must_use]
    pub const fn counting(link: Link) -> Self {
        Self { link, inside: Inside::NOTHING, outer: None, table: None, rules: None, local: Local::Policy, log: false }
    }

    /// The best form for it that this kernel loads. How meters change their buckets depends on nothing else, so that the
    /// programs of a hook that share a bucket change it in the same way: a bucket belongs to one rule with one meter of the
    /// same numbers.
    #[must_use]
    pub fn form(&self) -> Form {
        let two_rates = |record: &MeterRecord| record.meter.algorithm() != Algorithm::SrTcm;
        let metered = |rules: &Arc<RuleTables>| rules.meters.iter().any(two_rates);
        let swaps = self.rules.as_ref().is_some_and(metered) && probe::has_swap();
        match (&self.outer, self.inside.is_nothing(), &self.rules) {
            (Some(_), _, _) if swaps => Form::OuterSwap,
            (Some(_), _, _) => Form::Outer,
            (None, false, _) if swaps => Form::InsideSwap,
            (None, false, _) => Form::Inside,
            (None, true, None) => Form::Table,
            (None, true, Some(_)) if swaps => Form::Swap,
            (None, true, Some(_)) => Form::Rules,
        }
    }

    /// The read-only constants of the object, by name, as they are for this.
    #[must_use]
    pub fn constants(&self) -> [(&'static str, Vec<u8>); 4] {
        let asked = self.rules.as_ref().map_or(0, |rules| rules.asked);
        let table = self.table.unwrap_or(Table::IDENTITY).entries(asked);
        let settings = self.settings().to_ne_bytes();
        let outer = self.outer.unwrap_or(Table::IDENTITY);
        [
            ("SETTINGS", settings.to_vec()),
            ("TABLE", table.to_vec()),
            ("OUTER_TABLE", outer.bytes().to_vec()),
            ("PLAN", self.plan().0.to_ne_bytes().to_vec()),
        ]
    }

    fn settings(&self) -> Settings {
        let by_table = self.table.is_some_and(|table| table.changes_anything());
        let by_rule = self.rules.as_ref().is_some_and(|rules| rules.remarks);
        let layer3 = u8::from(self.link == Link::Layer3);
        let (remark, log) = (u8::from(by_table || by_rule || self.outer.is_some()), u8::from(self.log));
        Settings {
            layer3,
            remark,
            local: self.local as u8,
            log,
            log_interval: super::jiffies::per_second(),
            inside: self.inside.bits(),
            mode: Settings::mode(layer3, remark, log),
            ..Settings::NONE
        }
    }

    /// The constants for its rules, and how many pages, rows, records and meters they have: one of each where there are
    /// none, since the kernel makes no empty map.
    fn plan(&self) -> (Plan, [usize; 4]) {
        let Some(rules) = &self.rules else { return (Plan::NONE, [1; 4]) };
        let (records, meters) = (rules.records.len().max(1), rules.meters.len().max(1));
        (rules.plan, [rules.pages.len(), rules.rows.len(), records, meters])
    }
}

/// A program in the kernel, attached to nothing yet.
#[derive(Debug)]
pub struct Loaded {
    ebpf: Ebpf,
    entry: &'static str,
}

/// The object with all programs, as the build script made it. It is unpacked each time, which takes some milliseconds: the
/// service would have to keep it for an attach a day.
///
/// # Errors
///
/// That the binary is damaged.
pub fn bytes() -> anyhow::Result<Vec<u8>> {
    // What reads it wants words of 8 bytes where such should be, and an allocator gives no less for so much.
    lz4_flex::decompress_size_prepended(PACKED).context("the kernel programs in this binary are damaged")
}

/// Loads a program; its counters are those pinned in `pins`, made if they are not there, or its own.
///
/// # Errors
///
/// `layout` for pins that are not ours; `privilege` with the capability that is missing; what the verifier says.
pub fn load(program: Program, wanted: &Specialisation, pins: Option<&HookPins>) -> anyhow::Result<Loaded> {
    load_form(wanted.form(), program, wanted, pins)
}

/// The same in a form of the caller's choice, which has code for all that is wanted.
///
/// # Errors
///
/// Those of [`load`].
pub fn load_form(
    form: Form,
    program: Program,
    wanted: &Specialisation,
    pins: Option<&HookPins>,
) -> anyhow::Result<Loaded> {
    let (constants, (_, sizes)) = (wanted.constants(), wanted.plan());
    let mut loader = EbpfLoader::new();
    for (name, bytes) in &constants {
        loader.override_global(name, bytes.as_slice(), true);
    }
    loader.map_max_entries("AYA_LOGS", if wanted.log { LOGS } else { NO_LOGS });
    let logs = wanted.rules.as_ref().is_some_and(|rules| rules.plan.get(Constant::Logs) != 0);
    loader.map_max_entries("LOGGED", if logs { RULE_SLOTS as u32 } else { 1 });
    loader.map_max_entries("EVENTS", if logs { EVENTS } else { NO_LOGS });
    for (name, size) in ["PAGES", "ROWS", "RECORDS", "METERS"].into_iter().zip(sizes) {
        loader.map_max_entries(name, size as u32);
    }
    if let Some(pins) = pins {
        for (name, pin) in SHARED {
            counters::check(pins, pin)?;
            loader.map_pin_path(name, pins.path(pin));
        }
        for (name, pin) in [("EVENTS", Pin::Events), ("LOGGED", Pin::Logged)].into_iter().filter(|_| logs) {
            counters::check(pins, pin)?;
            loader.map_pin_path(name, pins.path(pin));
        }
    }
    let mut ebpf = loader.load(&bytes()?).map_err(|error| refused(&part(&error), error.into()))?;
    if let Some(rules) = &wanted.rules {
        fill(&mut ebpf, rules)?;
    }
    let mut loaded = Loaded { ebpf, entry: program.entry(form) };
    let result = match program {
        Program::Xdp | Program::XdpFrags => loaded.xdp().and_then(|xdp| Ok(xdp.load()?)),
        Program::Tc(_) => loaded.tc().and_then(|tc| Ok(tc.load()?)),
    };
    result.map_err(|error| refused(program.name(), error))?;
    progress::step();
    Ok(loaded)
}

/// What of an object an error is about.
fn part(error: &EbpfError) -> String {
    match error {
        EbpfError::MapError(MapError::CreateError { name, .. }) => format!("the map {name}"),
        EbpfError::MapError(MapError::PinError { name: Some(name), .. }) => format!("the pin of the map {name}"),
        _ => "the maps".to_owned(),
    }
}

/// Writes the tables of the rules; nobody writes them again.
fn fill(ebpf: &mut Ebpf, rules: &RuleTables) -> anyhow::Result<()> {
    fill_map(ebpf, "PAGES", rules.pages.iter().map(Page::to_ne_bytes))?;
    fill_map(ebpf, "ROWS", rules.rows.iter().map(Row::to_ne_bytes))?;
    fill_map(ebpf, "RECORDS", rules.records.iter().map(Record::to_ne_bytes))?;
    fill_map(ebpf, "METERS", rules.meters.iter().map(MeterRecord::to_ne_bytes))
}

fn fill_map<const BYTES: usize>(
    ebpf: &mut Ebpf,
    name: &str,
    values: impl Iterator<Item = [u8; BYTES]>,
) -> anyhow::Result<()> {
    let map = ebpf.map_mut(name).context("not in this build's object")?;
    Array::<_, [u8; BYTES]>::try_from(&mut *map)?;
    let Map::Array(map) = map else { bail!("map {name} is no array") };
    let values: Vec<[u8; BYTES]> = values.collect();
    sys::write_array(map.fd().as_fd(), &values).with_context(|| format!("map {name}"))
}

impl Loaded {
    /// The program, if it is one for XDP.
    ///
    /// # Errors
    ///
    /// That it is not.
    pub fn xdp(&mut self) -> anyhow::Result<&mut Xdp> {
        Ok(self.by_name()?.try_into()?)
    }

    /// The program, if it is one for TC.
    ///
    /// # Errors
    ///
    /// That it is not.
    pub fn tc(&mut self) -> anyhow::Result<&mut SchedClassifier> {
        Ok(self.by_name()?.try_into()?)
    }

    fn by_name(&mut self) -> anyhow::Result<&mut aya::programs::Program> {
        let name = self.entry;
        self.ebpf.program_mut(name).ok_or_else(|| anyhow::anyhow!("no program {name} in this build's kernel object"))
    }

    /// The program's descriptor.
    ///
    /// # Errors
    ///
    /// That it is not loaded.
    pub fn descriptor(&mut self) -> anyhow::Result<BorrowedFd<'_>> {
        Ok(self.by_name()?.fd()?.as_fd())
    }

    /// Pins the program.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn pin(&mut self, path: &Path) -> anyhow::Result<()> {
        let pinned = self.by_name()?.pin(path);
        pinned.map_err(|error| shortage::named(format_args!("the pin {}", path.display()), error.into()))
    }

    /// The object's maps, and its other programs.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// What the kernel knows of the program.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn info(&mut self) -> anyhow::Result<ProgramInfo> {
        Ok(self.by_name()?.info()?)
    }
}

const _: () = assert!(RemarkedHalf::WORDS * 8 == 32_768, "one entry of the map REMARKED");
