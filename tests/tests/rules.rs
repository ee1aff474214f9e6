//! Rules in the loaded program do what they do on the host: random policies, random packets, the same tables.
//!
//! `QOSBPF_POLICIES` is how many policies for each program, of 100 packets each (20), `QOSBPF_POLICY_SEED` the number of
//! the first. That the host does what the policy says is another test's work.

use std::{env, sync::Arc};

use anyhow::{Context as _, ensure};
use qos_common::{
    abi::Counters,
    gso::Length,
    locate::Link,
    policy::{Decision, Local, Table},
    process::Outcome,
    rules::{RuleCounter, RuleCounters},
};
use qos_vectors::{
    hook::{Arrival, Hook, HookRules},
    random::Random,
};
use qosbpf::{
    hook::Direction,
    kernel::{
        object::{Program, Specialisation},
        testrun::SkBuff,
    },
    policy::{
        classifier::{Input, compile},
        model::{Origin, Rule},
    },
    rules::RuleTables,
    snapshot::Counts,
};
use qosbpf_tests::{
    features::Feature,
    hex,
    host::timeless,
    kernel::Kernel,
    large,
    policies::{self, INTERFACES, Sample},
    tables::wash,
};

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn tables(rules: &[Rule]) -> anyhow::Result<RuleTables> {
    let rules: Vec<&Rule> = rules.iter().collect();
    let slots: Vec<u16> = (0..rules.len() as u16).map(|rule| rule * 5 % 2048).collect();
    let interfaces = INTERFACES.map(|(number, name)| (number, name.to_owned()));
    Ok(compile(&Input { rules: &rules, slots: &slots, meter_slots: &[], interfaces: &interfaces })?.tables)
}

fn host(wanted: &Specialisation, rules: &RuleTables) -> Hook {
    let table = wanted.table.unwrap_or(Table::IDENTITY);
    let RuleTables { plan, asked, remarks, pages, rows, records, .. } = rules.clone();
    let counters = vec![RuleCounters::ZERO; 2];
    let remarks = remarks || table.changes_anything();
    let rules = HookRules { plan, asked, pages, rows, records, counters, ..HookRules::default() };
    Hook { local: wanted.local, remarks, rules, ..Hook::new(wanted.link, table) }
}

fn arrival(sample: &Sample) -> Arrival {
    let origin = match sample.packet.origin {
        Some(Origin::Local) => qos_common::policy::Origin::Local,
        _ => qos_common::policy::Origin::Forwarded,
    };
    let (mark, length) = (sample.packet.mark.unwrap_or(0), Length::single(sample.frame.len() as u32));
    Arrival { origin, length, mark, from: sample.from, ..Arrival::single(sample.frame.len(), 0) }
}

/// The dearest policy, for each number of words in a row, behind both kinds of link.
fn load(program: Program) -> anyhow::Result<()> {
    for count in [64, 256, 1024] {
        let rules = Some(Arc::new(large::tables(large::fields(program), count)?));
        for (link, log) in [(Link::Ethernet, true), (Link::Layer3, false)] {
            let counting = Specialisation::counting(link);
            let wanted = Specialisation { table: Some(wash()), rules: rules.clone(), log, ..counting };
            let mut kernel = Kernel::load(program, &wanted).with_context(|| format!("{count} rules, {link:?}"))?;
            let verified = kernel.loaded().info()?.verified_instruction_count();
            ensure!(verified.is_none_or(|verified| verified <= large::MOST_VERIFIED), "{count} rules: {verified:?}");
        }
    }
    Ok(())
}

fn agree(program: Program) -> anyhow::Result<()> {
    let fields = large::fields(program);
    let egress = program == Program::Tc(Direction::Egress);
    let forwards = !(egress && Feature::IngressInterface.leaves_out("rules on forwarded packets, in a test run")?);
    let first = number("QOSBPF_POLICY_SEED", 1);
    for seed in first..first + number("QOSBPF_POLICIES", 20) {
        let random = &mut Random::new(seed);
        let rules = Arc::new(tables(&policies::rules(random, fields))?);
        let table = random.one_in(2).then(wash);
        let local = [Local::Policy, Local::KeepControl, Local::Keep][random.below(3)];
        let counting = Specialisation::counting(Link::Ethernet);
        let wanted = Specialisation { table, local, rules: Some(rules.clone()), ..counting };
        let mut kernel = Kernel::load(program, &wanted).with_context(|| format!("seed {seed}"))?;
        let mut host = host(&wanted, &rules);
        for _ in 0..100 {
            let sample = policies::sample(random, fields, false);
            if kernel.accepts(&sample.frame) && (forwards || sample.from == 0) {
                compare(&mut kernel, &mut host, &sample).with_context(|| format!("seed {seed}"))?;
            }
        }
        let sums = host.counters.clone().unwrap_or_else(|| Box::new(Counters::ZERO));
        ensure!(timeless(Counts { sums, ..Counts::zero() }).sums == kernel.counts()?.sums, "seed {seed}: counters");
        let counted = host.rules.counters.iter().flat_map(|half| half.0.iter().map(weight));
        ensure!(kernel.rule_counts()?.iter().map(weight).eq(counted), "seed {seed}: counters of rules");
    }
    Ok(())
}

/// Without the time of the last packet, which is the kernel's own.
const fn weight(counter: &RuleCounter) -> (u64, u64) {
    (counter.packets, counter.bytes)
}

fn compare(kernel: &mut Kernel, host: &mut Hook, sample: &Sample) -> anyhow::Result<()> {
    let context = SkBuff::from_interface(sample.from).marked(sample.packet.mark.unwrap_or(0));
    let context = matches!(kernel.program(), Program::Tc(_)).then_some(context);
    let arrival = arrival(sample);
    let mut frame = sample.frame.clone();
    let outcome = host.receive(&mut frame[..], &arrival);
    let output = kernel.run(&sample.frame, context.as_ref())?;
    let dropped = match kernel.program() {
        Program::Xdp | Program::XdpFrags => 1,
        Program::Tc(_) => 2,
    };
    let verdict = if matches!(outcome, Outcome::Counted(_, Decision::Drop)) { dropped } else { kernel.pass() };
    let text = hex(&sample.frame);
    ensure!(output.verdict == verdict, "verdict {} for {outcome:?}: {text}", output.verdict);
    ensure!(output.frame == frame, "{text} left as {}, not {}", hex(&output.frame), hex(&frame));
    if let Some(context) = context {
        let given = arrival.handed_over.get();
        let mark = given.mark.map_or(context.mark, |(mark, mask)| context.mark & !mask | mark);
        let left = (output.context.mark, output.context.priority);
        ensure!(left == (mark, given.priority.unwrap_or(0)), "{left:?} instead of {given:?}: {text}");
    }
    Ok(())
}

#[test]
fn xdp() -> anyhow::Result<()> {
    agree(Program::Xdp)
}

#[test]
fn xdp_frags() -> anyhow::Result<()> {
    if Feature::Frags.leaves_out(Program::XdpFrags.name())? {
        return Ok(());
    }
    agree(Program::XdpFrags)
}

#[test]
fn tc_ingress() -> anyhow::Result<()> {
    agree(Program::Tc(Direction::Ingress))
}

#[test]
fn tc_egress() -> anyhow::Result<()> {
    agree(Program::Tc(Direction::Egress))
}

#[test]
fn xdp_with_all_kinds_of_field_loads() -> anyhow::Result<()> {
    load(Program::Xdp)
}

#[test]
fn xdp_frags_with_all_kinds_of_field_loads() -> anyhow::Result<()> {
    if Feature::Frags.leaves_out(Program::XdpFrags.name())? {
        return Ok(());
    }
    load(Program::XdpFrags)
}

#[test]
fn tc_ingress_with_all_kinds_of_field_loads() -> anyhow::Result<()> {
    load(Program::Tc(Direction::Ingress))
}

#[test]
fn tc_egress_with_all_kinds_of_field_loads() -> anyhow::Result<()> {
    load(Program::Tc(Direction::Egress))
}
