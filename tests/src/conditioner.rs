//! A hook with rules three times: in the kernel, on the host by the same tables, and as the plain walk over the policy.
//! They have to agree packet by packet: the decision, the frame, priority and mark, tokens, events, and every counter.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use nix::time::{ClockId, clock_gettime};
use qos_common::{
    abi::Counters,
    condition::HandOver,
    ds::Dscp,
    event::Event,
    gso::Length,
    locate::Link,
    meter::{Buckets, Color, MeterRecord},
    policy::{Decision, Local},
    rules::RuleCounter,
};
use qos_vectors::{
    hook::{Arrival, Hook},
    random::Random,
};
use qosbpf::{
    hook::Direction,
    kernel::{
        object::{Form, Program, Specialisation},
        testrun::SkBuff,
    },
    policy::{
        self, RemarkTable, Source,
        classifier::{Input, compile},
        model::{Meter, Origin, Rule},
        walk::{self, Decider, Walked, walk},
    },
    rules::RuleTables,
    snapshot::Counts,
};

use crate::{
    hex,
    host::{self, timeless},
    kernel::Kernel,
    metered,
    policies::{self, Fields, INTERFACES, Sample},
    tables::permutation,
};

const TABLE: &str = "version = 1\nname = \"test\"\n[remark.wash]\nEF = \"AF41\"\nother = \"DF\"\n";

/// A random policy at a hook.
#[derive(Debug)]
pub struct Conditioner {
    rules: Vec<Rule>,
    table: Option<RemarkTable>,
    local: Local,
    fields: Fields,
    kernel: Kernel,
    host: Hook,
}

/// The meter that a packet comes to, in the words of the policy and as the program has it.
struct Metering {
    meter: Meter,
    record: MeterRecord,
}

impl Conditioner {
    /// Makes one up, and loads its program; now and then the one that locks buckets where it could swap.
    ///
    /// # Errors
    ///
    /// That it cannot be compiled or loaded.
    pub fn random(program: Program, fields: Fields, random: &mut Random) -> anyhow::Result<Self> {
        let rules = policies::rules(random, fields);
        let tables = Arc::new(tables(&rules)?);
        let table = if random.one_in(2) { Some(wash()?) } else { None };
        let local = [Local::Policy, Local::KeepControl, Local::Keep][random.below(3)];
        let compiled = table.as_ref().map(RemarkTable::compile);
        let counting = Specialisation::counting(Link::Ethernet);
        // The packets have nothing inside: such a table is asked, and has no say.
        let outer = (program == Program::Tc(Direction::Egress) && random.one_in(2)).then(permutation);
        let wanted = Specialisation { table: compiled, outer, local, rules: Some(tables), ..counting };
        let form = if random.one_in(4) { Form::Rules } else { wanted.form() };
        let kernel = Kernel::load_form(form, program, &wanted)?;
        Ok(Self { host: host::hook(&wanted), rules, table, local, fields, kernel })
    }

    /// Sends packets through; `forwards`: those that came in by an interface too.
    ///
    /// # Errors
    ///
    /// In what they differ.
    pub fn run(&mut self, packets: usize, forwards: bool, random: &mut Random) -> anyhow::Result<()> {
        for _ in 0..packets {
            let sample = policies::sample(random, self.fields, false);
            if self.kernel.accepts(&sample.frame) && (forwards || sample.from == 0) {
                self.packet(&sample, random).with_context(|| hex(&sample.frame))?;
            }
        }
        self.compare_counters()
    }

    fn packet(&mut self, sample: &Sample, random: &mut Random) -> anyhow::Result<()> {
        let walked = walk(&self.rules, self.table.as_ref(), self.local, &sample.packet);
        let metering = self.metering(&walked)?;
        if let Some(metering) = metering.as_ref().filter(|_| random.one_in(4)) {
            self.set_buckets(metering, random)?;
        }
        let context = SkBuff::from_interface(sample.from).marked(sample.packet.mark.unwrap_or(0));
        let context = matches!(self.kernel.program(), Program::Tc(_)).then_some(context);
        let earlier = now()?;
        let output = self.kernel.run(&sample.frame, context.as_ref())?;
        let times = (earlier, now()?);
        let dscp = sample.packet.dscp;
        let (at, expected) = match &metering {
            Some(metering) => {
                let (at, color) = self.moment(metering, sample, times)?;
                (at, metered::becomes(metering.meter.verdicts()[color as usize], dscp))
            }
            None => (earlier, expected(&walked, dscp)),
        };
        let arrival = arrival(sample);
        let mut frame = sample.frame.clone();
        self.host.rules.meters.now = at;
        let outcome = self.host.receive(&mut frame[..], &arrival);
        ensure!(outcome.decided().is_some_and(|(_, made)| made == expected), "{outcome:?}: {walked:?}");
        let verdict = if expected == Decision::Drop { self.drops() } else { self.kernel.pass() };
        ensure!(output.verdict == verdict, "verdict {} for {expected:?}", output.verdict);
        ensure!(output.frame == frame, "left as {}, not {}", hex(&output.frame), hex(&frame));
        if let Some(context) = context {
            same_hand_over(&context, &output.context, arrival.handed_over.get(), &walked)?;
        }
        metering.map_or(Ok(()), |metering| self.same_tokens(metering.record.slot, times))
    }

    const fn drops(&self) -> i32 {
        match self.kernel.program() {
            Program::Xdp | Program::XdpFrags => 1,
            Program::Tc(_) => 2,
        }
    }

    fn metering(&self, walked: &Walked) -> anyhow::Result<Option<Metering>> {
        let walk::Outcome::Meter(rule) = walked.outcome else { return Ok(None) };
        let meter = self.rules[rule].meter().context("a meter")?.clone();
        let slot = u32::from(metered::slots(&self.rules)[rule]);
        let record = self.host.rules.meters.records.iter().find(|record| record.slot == slot);
        Ok(Some(Metering { meter, record: *record.context("its record")? }))
    }

    /// Full buckets, or empty ones.
    fn set_buckets(&mut self, metering: &Metering, random: &mut Random) -> anyhow::Result<()> {
        let [committed, other] = metered::empty_at(&metering.meter, now()?);
        let mut set = |empty| if random.one_in(2) { 0 } else { empty };
        let buckets = Buckets { committed: set(committed), other: set(other) };
        self.kernel.set_buckets(metering.record.slot, buckets)?;
        self.host.rules.meters.buckets.borrow_mut()[metering.record.slot as usize] = buckets;
        Ok(())
    }

    /// A time between two at which the meter gives the color that the kernel's gave: a byte more may have come meanwhile.
    fn moment(
        &mut self,
        metering: &Metering,
        sample: &Sample,
        (earlier, later): (u64, u64),
    ) -> anyhow::Result<(u64, Color)> {
        let Metering { meter, record } = metering;
        let buckets = self.host.rules.meters.buckets.borrow()[record.slot as usize];
        let charge = metered::charge(meter, &sample.packet, sample.of_ip);
        let arrival = |now| record.arrival(sample.packet.dscp, charge, now);
        let color_at = |now| record.meter.color(&mut buckets.clone(), &arrival(now));
        if color_at(earlier) == color_at(later) {
            return Ok((earlier, color_at(earlier)));
        }
        let counted = self.kernel.meter_counts()?.0[record.slot as usize];
        let known = self.host.rules.meters.counters.0[record.slot as usize];
        let given = Color::ALL.into_iter().find(|color| counted[*color as usize] != known[*color as usize]);
        let steps = (0..=1_000).map(|step| earlier + (later - earlier) * step / 1_000);
        let found = steps.map(|at| (at, color_at(at))).find(|(_, color)| Some(*color) == given);
        found.with_context(|| format!("{given:?} of {buckets:?} for {charge:?} at {earlier} to {later}: {meter:?}"))
    }

    /// Both have taken as much. What the kernel's buckets lack more by its own clock, the host's take over.
    fn same_tokens(&mut self, slot: u32, (earlier, later): (u64, u64)) -> anyhow::Result<()> {
        let (kernel, mut all) = (self.kernel.buckets(slot)?, self.host.rules.meters.buckets.borrow_mut());
        let host = &mut all[slot as usize];
        for (kernel, host) in [(kernel.committed, host.committed), (kernel.other, host.other)] {
            let apart = kernel.wrapping_sub(host) as i64;
            ensure!(apart.unsigned_abs() <= later - earlier, "buckets are full {apart} ns apart");
        }
        *host = kernel;
        Ok(())
    }

    fn compare_counters(&mut self) -> anyhow::Result<()> {
        let sums = self.host.counters.clone().unwrap_or_else(|| Box::new(Counters::ZERO));
        ensure!(timeless(Counts { sums, ..Counts::zero() }).sums == self.kernel.counts()?.sums, "counters");
        let rules = &self.host.rules;
        let counted = rules.counters.iter().flat_map(|half| half.0.iter().map(timeless_rule));
        ensure!(self.kernel.rule_counts()?.iter().map(timeless_rule).eq(counted), "counters of rules");
        ensure!(self.kernel.meter_counts()? == rules.meters.counters, "counters of meters");
        let events = rules.events.iter().copied().map(timeless_event).collect::<Vec<_>>();
        let told = self.kernel.events()?.into_iter().map(timeless_event).collect::<Vec<_>>();
        ensure!(told == events, "told {told:?}, not {events:?}");
        Ok(())
    }
}

fn now() -> anyhow::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

fn wash() -> anyhow::Result<RemarkTable> {
    let source = Source::new("test.toml", TABLE.into()).map_err(|report| anyhow::anyhow!("{report:?}"))?;
    let policy = policy::parse(&source).map_err(|report| anyhow::anyhow!("{report:?}"))?;
    policy.tables().first().cloned().context("a table")
}

fn tables(rules: &[Rule]) -> anyhow::Result<RuleTables> {
    let meter_slots = metered::slots(rules);
    let rules: Vec<&Rule> = rules.iter().collect();
    let slots: Vec<u16> = (0..rules.len() as u16).map(|rule| rule * 5 % 2048).collect();
    let interfaces = INTERFACES.map(|(number, name)| (number, name.to_owned()));
    let input = Input { rules: &rules, slots: &slots, meter_slots: &meter_slots, interfaces: &interfaces };
    Ok(compile(&input)?.tables)
}

fn arrival(sample: &Sample) -> Arrival {
    let origin = match sample.packet.origin {
        Some(Origin::Local) => qos_common::policy::Origin::Local,
        _ => qos_common::policy::Origin::Forwarded,
    };
    let (mark, length) = (sample.packet.mark.unwrap_or(0), Length::single(sample.frame.len() as u32));
    Arrival { origin, length, mark, from: sample.from, ..Arrival::single(sample.frame.len(), 0) }
}

/// What the walk says of a packet that is not metered.
fn expected(walked: &Walked, dscp: Dscp) -> Decision {
    match walked.outcome {
        _ if walked.decided_by == Decider::Protected => Decision::Protected,
        walk::Outcome::Set(to) if to != dscp => Decision::Remark(to),
        walk::Outcome::Drop => Decision::Drop,
        _ => Decision::Keep,
    }
}

fn same_hand_over(came: &SkBuff, left: &SkBuff, given: HandOver, walked: &Walked) -> anyhow::Result<()> {
    let mark = given.mark.map_or(came.mark, |(mark, mask)| came.mark & !mask | mark);
    let left = (left.mark, left.priority);
    ensure!(left == (mark, given.priority.unwrap_or(0)), "{left:?} instead of {given:?}");
    let walked = HandOver { priority: walked.priority, mark: walked.mark.map(|bits| (bits.value, bits.mask)) };
    ensure!(given == walked, "{given:?} instead of {walked:?}");
    Ok(())
}

/// Without the time of the last packet, which is the kernel's own.
const fn timeless_rule(counter: &RuleCounter) -> (u64, u64, u64) {
    (counter.packets, counter.bytes, counter.suppressed)
}

const fn timeless_event(event: Event) -> Event {
    Event { time: 0, ..event }
}
