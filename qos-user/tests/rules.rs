//! Compiled rules decide as the plain walk does, on random policies and packets.
//!
//! `QOSBPF_POLICIES` is how many policies, of 100 packets each (300), `QOSBPF_POLICY_SEED` the number of the first.

#[path = "../../tests/src/policies.rs"]
mod policies;

use std::{env, time::Instant};

use policies::{Fields, INTERFACES, Sample};
use qos_common::{
    condition::HandOver,
    ds::Dscp,
    gso::Length,
    locate::Link,
    policy::{Decision, Local, Table},
    process::Outcome,
    rules::RuleCounters,
};
use qos_vectors::{
    hook::{Arrival, Hook, HookRules},
    random::Random,
};
use qosbpf::policy::{
    self, RemarkTable, Source,
    classifier::{Compiled, Input, compile},
    model::{Origin, Rule},
    walk::{self, Decider, Walked, walk},
};
use qosbpf::rules::RuleTables;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

const TABLE: &str = "version = 1\nname = \"test\"\n[remark.wash]\nEF = \"AF41\"\nother = \"DF\"\n";

fn table() -> RemarkTable {
    let policy = policy::parse(&Source::new("test.toml", TABLE.into()).unwrap()).unwrap();
    policy.tables()[0].clone()
}

fn slot(rule: usize) -> u16 {
    (rule as u16 * 7 + 3) % 2048
}

fn compiled(rules: &[Rule]) -> Compiled {
    let rules: Vec<&Rule> = rules.iter().collect();
    let slots: Vec<u16> = (0..rules.len()).map(slot).collect();
    let interfaces = INTERFACES.map(|(number, name)| (number, name.to_owned()));
    compile(&Input { rules: &rules, slots: &slots, meter_slots: &[], interfaces: &interfaces }).unwrap()
}

fn hook(compiled: Compiled, table: Table, local: Local) -> Hook {
    let RuleTables { plan, asked, pages, rows, records, .. } = compiled.tables;
    let counters = vec![RuleCounters::ZERO; 2];
    Hook {
        local,
        rules: HookRules { plan, asked, pages, rows, records, counters, ..HookRules::default() },
        ..Hook::new(Link::Ethernet, table)
    }
}

fn arrival(sample: &Sample) -> Arrival {
    let origin = match sample.packet.origin {
        Some(Origin::Local) => qos_common::policy::Origin::Local,
        _ => qos_common::policy::Origin::Forwarded,
    };
    Arrival {
        origin,
        length: Length::single(sample.frame.len() as u32),
        tag: sample.tag,
        mark: sample.packet.mark.unwrap_or(0),
        from: sample.from,
        ..Arrival::single(sample.frame.len(), usize::from(sample.tag.is_some()))
    }
}

fn expected(walked: &Walked, dscp: Dscp) -> Decision {
    match walked.outcome {
        _ if walked.decided_by == Decider::Protected => Decision::Protected,
        walk::Outcome::Set(to) if to != dscp => Decision::Remark(to),
        walk::Outcome::Drop => Decision::Drop,
        _ => Decision::Keep,
    }
}

fn check(seed: u64, table: &RemarkTable) {
    let random = &mut Random::new(seed);
    let fields = [Fields::Xdp, Fields::Ingress, Fields::Egress][random.below(3)];
    let local = [Local::Policy, Local::KeepControl, Local::Keep][random.below(3)];
    let table = random.one_in(2).then_some(table);
    let rules = policies::rules(random, fields);
    let compiled = compiled(&rules);
    let ports = compiled.tables.plan.get(qos_common::rules::Constant::Ports) != 0;
    let asked = compiled.tables.asked;
    let mut hook = hook(compiled.clone(), table.map_or(Table::IDENTITY, RemarkTable::compile), local);
    let mut hits = vec![0; rules.len()];
    let mut limited = [0; 2];
    for index in 0..100 {
        let sample = policies::sample(random, fields, fields != Fields::Xdp);
        let walked = walk(&rules, table, local, &sample.packet);
        let arrival = arrival(&sample);
        let outcome = hook.receive(&mut sample.frame.clone()[..], &arrival);
        let Outcome::Counted(ds, decision) = outcome else { panic!("{outcome:?}: {sample:?}") };
        let context = || {
            let by = &walked.decided_by;
            format!("seed {seed} packet {index}: {by:?} of\n{rules:?}\n{local:?} {sample:?}")
        };
        assert_eq!(ds.dscp(), sample.packet.dscp);
        assert_eq!(decision, expected(&walked, ds.dscp()), "{}", context());
        let mark = walked.mark.map(|mark| (mark.value, mark.mask));
        assert_eq!(arrival.handed_over.get(), HandOver { priority: walked.priority, mark }, "{}", context());
        walked.counted.iter().for_each(|rule| hits[*rule] += 1);
        let counters = &mut hook.rules.counters;
        let counted: Vec<u64> = (0..rules.len()).map(|rule| packets(counters, slot(rule))).collect();
        assert_eq!(counted, hits, "{}", context());
        if ports && asked >> ds.dscp().value() & 1 == 1 {
            limited[0] += u64::from(sample.packet.fragment == policy::model::Fragment::Later);
            limited[1] += u64::from(sample.too_long);
        }
    }
    let counters = hook.counters.unwrap();
    assert_eq!(counters.limited.map(|counter| counter.packets), limited, "seed {seed}");
}

fn packets(counters: &mut [RuleCounters], slot: u16) -> u64 {
    counters[RuleCounters::of(slot) as usize].slot_mut(slot).packets
}

#[test]
fn compiled_rules_decide_as_the_walk_does() {
    let first = number("QOSBPF_POLICY_SEED", 1);
    let table = table();
    for seed in first..first + number("QOSBPF_POLICIES", 300) {
        check(seed, &table);
    }
}

#[test]
fn the_same_rules_give_the_same_bytes() {
    for seed in 0..20 {
        let rules = policies::rules(&mut Random::new(seed), Fields::Egress);
        assert_eq!(compiled(&rules), compiled(&rules));
    }
}

#[test]
fn a_thousand_rules_are_compiled_in_no_time() {
    let mut random = Random::new(5);
    let mut rules: Vec<Rule> = Vec::new();
    while rules.len() < 1024 {
        rules.extend(policies::rules(&mut random, Fields::Egress).into_iter().filter(Rule::decides));
    }
    rules.truncate(1024);
    assert_eq!(rules.len(), 1024);
    let start = Instant::now();
    let compiled = compiled(&rules);
    let (bytes, idle) = (compiled.tables.bytes(), compiled.idle.len());
    eprintln!(
        "{:?}, {bytes} bytes, {} pages, {} rows, {idle} idle",
        start.elapsed(),
        compiled.tables.pages.len(),
        compiled.tables.rows.len()
    );
}
