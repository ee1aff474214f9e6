//! A twin of a hook's program: the same object, constants and tables, attached nowhere, with counters and meters of its
//! own. What it does with one packet is read from what it counts.
//!
//! Rules have the slots of their order, and meters those of theirs: who loads a twin compiles its rules so.

use std::io;

use anyhow::Context as _;
use aya::maps::{Array, PerCpuArray};
use qos_common::{
    abi::{Counters, Limited, Uncounted},
    ds::DsField,
    inside,
    locate::{Family, Link, Located},
    meter::{Color, MeterCounters},
};

use super::{
    counters,
    object::{self, Loaded, Program, Specialisation},
    testrun::{self, Input, Output, SkBuff, test_run},
};
use crate::{
    error::{Exit, Failure},
    snapshot::Counts,
};

/// A program that nobody's packets come to.
#[derive(Debug)]
pub struct Twin {
    loaded: Loaded,
    program: Program,
    wanted: Specialisation,
    /// For packets of a layer-3 device that a test run would take for something else.
    ethernet: Option<Box<Self>>,
}

/// A packet that is given to it.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Its bytes, from the link header on if the device has one.
    pub frame: &'a [u8],
    /// The interface by which it came in, at egress; 0 for what this host made.
    pub from: u32,
    /// The skb mark.
    pub mark: u32,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its family and DS field as it came; `None` if it is among `uncounted`.
    pub came: Option<(Family, DsField)>,
    /// Its DS field as it left; `None` if it is dropped, or not IP.
    pub left: Option<DsField>,
    /// The skb priority as it left.
    pub priority: u32,
    /// The skb mark as it left.
    pub mark: u32,
    /// Why it is in no other counter.
    pub uncounted: Option<Uncounted>,
    /// Why a rule could not see all of it.
    pub limited: Option<Limited>,
    /// Whether a rule decided.
    pub ruled: bool,
    /// Whether `local` kept it.
    pub protected: bool,
    /// Whether the policy dropped it.
    pub dropped: bool,
    /// The slots of the rules that counted it.
    pub rules: Vec<usize>,
    /// The slot of the meter that it went through, and its color.
    pub color: Option<(usize, Color)>,
}

/// Everything that a twin has counted.
struct Counted {
    sums: Box<Counters>,
    rules: Vec<u64>,
    meters: Box<MeterCounters>,
}

impl Twin {
    /// Loads it; it is gone when it is dropped.
    ///
    /// # Errors
    ///
    /// `privilege`, `load`.
    pub fn load(program: Program, wanted: Specialisation) -> anyhow::Result<Self> {
        let loaded = object::load(program, &wanted, None)?;
        Ok(Self { loaded, program, wanted, ethernet: None })
    }

    /// Lets one packet through; its meters are full.
    ///
    /// # Errors
    ///
    /// `test-run`: the kernel cannot give the packet to the program; or the counters cannot be read.
    pub fn run(&mut self, given: Given<'_>) -> anyhow::Result<Trace> {
        if self.wanted.link == Link::Layer3 && self.is_misread(given.frame) {
            let header = ethernet_header(given.frame);
            let frame = [&header, given.frame].concat();
            return self.ethernet()?.run(Given { frame: &frame, ..given });
        }
        self.refill()?;
        let earlier = self.counted()?;
        let output = self.output(given)?;
        let later = self.counted()?;
        Ok(trace(&earlier, &later, &output, &self.wanted))
    }

    fn output(&mut self, given: Given<'_>) -> anyhow::Result<Output> {
        let Given { frame, from, mark } = given;
        if !testrun::accepts(self.program, frame) {
            return Err(refused(format!("a frame of {} bytes", frame.len()), "no test run takes one so short or long"));
        }
        let context = SkBuff::from_interface(from).marked(mark);
        let mut run = |context: Option<&SkBuff>| -> anyhow::Result<io::Result<Output>> {
            let descriptor = self.loaded.descriptor()?;
            Ok(test_run(descriptor, &Input { frame, context, checksum_complete: false }))
        };
        if !matches!(self.program, Program::Tc(_)) {
            return run(None)?.context("test run");
        }
        match run(Some(&context))? {
            Err(_) if from != 0 && run(Some(&SkBuff::default().marked(mark)))?.is_ok() => Err(refused(
                "a packet that came in by another interface".to_owned(),
                "a test run says so from Linux 5.15 on; here only `origin local` can be tried at egress",
            )),
            output => output.context("test run"),
        }
    }

    /// Whether the first 14 bytes of a packet without a link header read as an Ethernet header that changes what is done.
    fn is_misread(&self, packet: &[u8]) -> bool {
        let by_protocol =
            matches!(self.program, Program::Tc(_)) && matches!(packet.get(12..14), Some([0x88, 0x47 | 0x48]));
        by_protocol || packet.len() >= 14 && !testrun::accepts(self.program, packet)
    }

    fn ethernet(&mut self) -> anyhow::Result<&mut Self> {
        let twin = match self.ethernet.take() {
            Some(twin) => twin,
            None => {
                let wanted = Specialisation { link: Link::Ethernet, ..self.wanted.clone() };
                Box::new(Self::load(self.program, wanted)?)
            }
        };
        Ok(self.ethernet.insert(twin))
    }

    /// Fills the buckets: what became of the packets before has no say in what becomes of this one.
    fn refill(&mut self) -> anyhow::Result<()> {
        let meters = self.wanted.rules.as_ref().map_or(0, |rules| rules.meters.len());
        let map = self.loaded.ebpf().map_mut("BUCKETS").context("BUCKETS")?;
        let mut buckets: Array<_, [u64; counters::LOCKED_BUCKETS]> = map.try_into()?;
        (0..meters as u32).try_for_each(|slot| Ok(buckets.set(slot, [0; counters::LOCKED_BUCKETS], 0)?))
    }

    fn counted(&mut self) -> anyhow::Result<Counted> {
        let ebpf = self.loaded.ebpf();
        let map: PerCpuArray<_, [u64; Counters::WORDS]> = ebpf.map("COUNTERS").context("COUNTERS")?.try_into()?;
        let sums = Counts::sum(&map.get(&0, 0)?, [&[], &[]]).sums;
        let rules = counters::read_rule_map(ebpf)?.iter().map(|counter| counter.packets).collect();
        Ok(Counted { sums, rules, meters: counters::read_meter_map(ebpf)? })
    }
}

fn refused(what: String, why: &str) -> anyhow::Error {
    Failure::new("test-run", format!("{what} cannot be tried on this kernel: {why}")).exit(Exit::Unknown).into()
}

fn ethernet_header(packet: &[u8]) -> [u8; 14] {
    let ether_type = match packet.first().map(|byte| byte >> 4) {
        Some(6) => [0x86, 0xdd],
        _ => [0x08, 0x00],
    };
    let mut header = [0; 14];
    header[12..].copy_from_slice(&ether_type);
    header
}

fn trace(earlier: &Counted, later: &Counted, output: &Output, wanted: &Specialisation) -> Trace {
    let (old, new) = (&earlier.sums, &later.sums);
    let moved = |old: &[qos_common::abi::Counter], new: &[qos_common::abi::Counter]| {
        old.iter().zip(new).position(|(old, new)| old.packets != new.packets)
    };
    let before = moved(old.before().as_flattened(), new.before().as_flattened());
    let came = before.map(|at| (if at < 256 { Family::V4 } else { Family::V6 }, DsField::new((at % 256) as u8)));
    let dropped = moved(&old.dropped, &new.dropped).is_some();
    let left = match inside::locate(output.frame.as_slice(), wanted.link, wanted.inside, 0) {
        Located::Ip(header) if !dropped => Some(header.ds),
        _ => None,
    };
    let rules = earlier.rules.iter().zip(&later.rules).enumerate();
    Trace {
        came,
        left: left.filter(|_| came.is_some()),
        priority: output.context.priority,
        mark: output.context.mark,
        uncounted: moved(&old.uncounted, &new.uncounted).map(|at| [Uncounted::NotIp, Uncounted::Malformed][at]),
        limited: moved(&old.limited, &new.limited).map(|at| [Limited::LaterFragment, Limited::HeaderChainTooLong][at]),
        ruled: moved(&old.ruled, &new.ruled).is_some(),
        protected: old.protected.packets != new.protected.packets,
        dropped,
        rules: rules.filter(|(_, (old, new))| old != new).map(|(slot, _)| slot).collect(),
        color: color(&earlier.meters, &later.meters),
    }
}

fn color(earlier: &MeterCounters, later: &MeterCounters) -> Option<(usize, Color)> {
    let cells = earlier.0.as_flattened().iter().zip(later.0.as_flattened());
    let at = cells.into_iter().position(|(old, new)| old.packets != new.packets)?;
    Some((at / 3, [Color::Green, Color::Yellow, Color::Red][at % 3]))
}
