//! A loaded program with counters of its own, to be run on frames or attached.

use std::os::fd::OwnedFd;

use anyhow::Context as _;
use aya::{
    maps::{Array, PerCpuArray, RingBuf},
    programs::{
        LinkOrder, TcAttachType, XdpMode,
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
        xdp::XdpLink,
    },
};
use qos_common::{
    abi::{Counters, RemarkedHalf},
    event::Event,
    locate::Link,
    meter::{Buckets, MeterCounters},
    rules::RuleCounter,
};
use qosbpf::{
    hook::{Direction, Via},
    kernel::{
        counters,
        object::{self, Form, Loaded, Program, Specialisation},
        testrun::{Input, Output, SkBuff, accepts, test_run},
    },
    snapshot::Counts,
};

use crate::{features::Feature, host::timeless};

/// All programs of the object.
pub const PROGRAMS: [Program; 4] =
    [Program::Xdp, Program::XdpFrags, Program::Tc(Direction::Ingress), Program::Tc(Direction::Egress)];

/// Those that this kernel has; what is left out for want of the others, it says.
///
/// # Errors
///
/// That the kernel cannot be asked.
pub fn programs() -> anyhow::Result<Vec<Program>> {
    let mut programs = PROGRAMS.to_vec();
    if Feature::Frags.leaves_out(Program::XdpFrags.name())? {
        programs.retain(|program| *program != Program::XdpFrags);
    }
    Ok(programs)
}

/// `XDP_PASS`.
const XDP_PASS: i32 = 2;
/// `TC_ACT_UNSPEC`: the next program decides.
const TC_ACT_UNSPEC: i32 = -1;

/// The program of a hook.
#[derive(Debug)]
pub struct Kernel {
    loaded: Loaded,
    program: Program,
    checksum_complete: bool,
    attached: Option<Attached>,
}

/// Detaches when it is dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held, not read")]
enum Attached {
    Xdp(XdpLink),
    Tc(SchedClassifierLink),
}

impl Kernel {
    /// Loads it.
    ///
    /// # Errors
    ///
    /// What is missing: root, for one.
    pub fn load(program: Program, wanted: &Specialisation) -> anyhow::Result<Self> {
        Self::load_form(wanted.form(), program, wanted)
    }

    /// The same in a form of the caller's choice.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_form(form: Form, program: Program, wanted: &Specialisation) -> anyhow::Result<Self> {
        let loaded = object::load_form(form, program, wanted, None).context("these tests need a kernel and root")?;
        // A test run takes the first 14 bytes for an Ethernet header and leaves them out of the sum.
        let summed = matches!(program, Program::Tc(_)) && wanted.link == Link::Ethernet;
        let checksum_complete = summed && Feature::ChecksumComplete.is_here()?;
        Ok(Self { loaded, program, checksum_complete, attached: None })
    }

    /// Whether the kernel accepts a frame for a test run of this program.
    #[must_use]
    pub fn accepts(&self, frame: &[u8]) -> bool {
        accepts(self.program, frame)
    }

    /// Runs it on a frame; a TC program under `CHECKSUM_COMPLETE`, where the kernel can check that (Linux 6.1).
    ///
    /// # Errors
    ///
    /// `EBADMSG` if the sum beside the packet is wrong afterwards; else what bpf(2) says.
    pub fn run(&mut self, frame: &[u8], context: Option<&SkBuff>) -> anyhow::Result<Output> {
        let input = Input { frame, context, checksum_complete: self.checksum_complete };
        test_run(self.loaded.descriptor()?, &input)
            .with_context(|| format!("test run of {} on {} bytes", self.program.name(), frame.len()))
    }

    /// The verdict by which a packet passes on.
    #[must_use]
    pub const fn pass(&self) -> i32 {
        match self.program {
            Program::Xdp | Program::XdpFrags => XDP_PASS,
            Program::Tc(_) => TC_ACT_UNSPEC,
        }
    }

    /// What it has counted; the time of the last frame as [`timeless`] has it.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn counts(&mut self) -> anyhow::Result<Counts> {
        Ok(timeless(counters::read_maps(self.loaded.ebpf())?))
    }

    /// Sets all counters to zero.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        let cpus = aya::util::nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))?;
        let ebpf = self.loaded.ebpf();
        let mut counters: PerCpuArray<_, [u64; Counters::WORDS]> =
            ebpf.map_mut("COUNTERS").context("COUNTERS")?.try_into()?;
        counters.set(0, vec![[0; Counters::WORDS]; cpus].try_into()?, 0)?;
        let mut remarked: PerCpuArray<_, [u64; RemarkedHalf::WORDS]> =
            ebpf.map_mut("REMARKED").context("REMARKED")?.try_into()?;
        for half in 0..2 {
            remarked.set(half, vec![[0; RemarkedHalf::WORDS]; cpus].try_into()?, 0)?;
        }
        Ok(())
    }

    /// What its rules have matched, by slot.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn rule_counts(&mut self) -> anyhow::Result<Vec<RuleCounter>> {
        counters::read_rule_map(self.loaded.ebpf())
    }

    /// What its meters have given, by slot.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn meter_counts(&mut self) -> anyhow::Result<Box<MeterCounters>> {
        counters::read_meter_map(self.loaded.ebpf())
    }

    /// When the buckets of a slot are full.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn buckets(&mut self, slot: u32) -> anyhow::Result<Buckets> {
        let map = self.loaded.ebpf().map("BUCKETS").context("BUCKETS")?;
        let [_, committed, other] = Array::<_, [u64; 3]>::try_from(map)?.get(&slot, 0)?;
        Ok(Buckets { committed, other })
    }

    /// Says when they are full.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn set_buckets(&mut self, slot: u32, buckets: Buckets) -> anyhow::Result<()> {
        let map = self.loaded.ebpf().map_mut("BUCKETS").context("BUCKETS")?;
        Ok(Array::<_, [u64; 3]>::try_from(map)?.set(slot, [0, buckets.committed, buckets.other], 0)?)
    }

    /// What its rules have told of so far, once.
    ///
    /// # Errors
    ///
    /// That the ring buffer cannot be read.
    pub fn events(&mut self) -> anyhow::Result<Vec<Event>> {
        let mut ring = RingBuf::try_from(self.loaded.ebpf().map_mut("EVENTS").context("EVENTS")?)?;
        let mut events = Vec::new();
        while let Some(item) = ring.next() {
            events.push(Event::from_ne_bytes(&item).context("an event")?);
        }
        Ok(events)
    }

    /// A descriptor of its own for the program, to run it from several threads.
    ///
    /// # Errors
    ///
    /// That there are no more descriptors.
    pub fn descriptor(&mut self) -> anyhow::Result<OwnedFd> {
        Ok(self.loaded.descriptor()?.try_clone_to_owned()?)
    }

    /// Attaches it, XDP in the driver and TC by TCX or, where there is none, clsact, for as long as the value lives or
    /// until [`detach`](Self::detach).
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn attach(&mut self, interface: &str, ifindex: u32) -> anyhow::Result<()> {
        let via = match self.program {
            Program::Xdp | Program::XdpFrags => Via::XdpNative,
            Program::Tc(_) if Feature::Tcx.is_here()? => Via::Tcx,
            Program::Tc(_) => Via::Clsact,
        };
        self.attach_by(via, interface, ifindex)
    }

    /// The same by a mechanism of the caller's choice, which is one for this program.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn attach_by(&mut self, via: Via, interface: &str, ifindex: u32) -> anyhow::Result<()> {
        let side = match self.program {
            Program::Xdp | Program::XdpFrags => {
                let mode = if via == Via::XdpGeneric { XdpMode::Skb } else { XdpMode::Driver };
                let xdp = self.loaded.xdp()?;
                let id = xdp.attach_to_if_index(ifindex, mode)?;
                self.attached = Some(Attached::Xdp(xdp.take_link(id)?));
                return Ok(());
            }
            Program::Tc(Direction::Ingress) => TcAttachType::Ingress,
            Program::Tc(Direction::Egress) => TcAttachType::Egress,
        };
        let options = if via == Via::Tcx {
            TcAttachOptions::TcxOrder(LinkOrder::first())
        } else {
            tc::qdisc_add_clsact(interface).context("clsact")?;
            TcAttachOptions::Netlink(NlOptions::default())
        };
        let tc = self.loaded.tc()?;
        let id = tc.attach_with_options(interface, side, options)?;
        self.attached = Some(Attached::Tc(tc.take_link(id)?));
        Ok(())
    }

    /// Detaches it, if it is attached.
    pub fn detach(&mut self) {
        self.attached = None;
    }

    /// Which one it is.
    #[must_use]
    pub const fn program(&self) -> Program {
        self.program
    }

    /// The program in the kernel.
    pub fn loaded(&mut self) -> &mut Loaded {
        &mut self.loaded
    }
}
