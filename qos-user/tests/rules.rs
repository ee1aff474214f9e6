//! Compiled rules decide as the plain walk does, and meters as the text of their RFCs, on random policies and packets.
//!
//! `QOSBPF_POLICIES` is how many policies, of 100 packets each (300), `QOSBPF_POLICY_SEED` the number of the first.

#[path = "../../tests/src/metered.rs"]
#[expect(dead_code, reason = "buckets are set where there is a kernel")]
mod metered;
#[path = "../../qos-common/tests/meter/oracle.rs"]
#[expect(dead_code, reason = "it has generators of its own")]
mod oracle;
#[path = "../../tests/src/policies.rs"]
mod policies;

use std::{
    env,
    time::{Duration, Instant},
};

use oracle::{Oracle, Parameters};
use policies::{Fields, INTERFACES, Sample};
use qos_common::{
    condition::HandOver,
    gso::Length,
    locate::Link,
    meter::{Algorithm, Color},
    policy::{Decision, Local, Table},
    rules::{Constant, RuleCounters},
};
use qos_vectors::{
    frame::{Ipv6, ether_type, ethernet, extension, protocol, udp},
    hook::{Arrival, Hook, HookRules},
    random::Random,
};
use qosbpf::policy::{
    self, RemarkTable, Source,
    classifier::{Compiled, Input, compile},
    model::{Meter, MeterKind, Origin, Rule},
    walk::{self, Decider, Walked, walk},
};
use qosbpf::rules::RuleTables;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// When the first packet comes, in nanoseconds.
const START: u64 = 1 << 40;

const TABLE: &str = "version = 1\nname = \"test\"\n[remark.wash]\nEF = \"AF41\"\nother = \"DF\"\n";

fn table() -> RemarkTable {
    let policy = policy::parse(&Source::new("test.toml", TABLE.into()).unwrap()).unwrap();
    policy.tables()[0].clone()
}

fn slot(rule: usize) -> u16 {
    (rule as u16 * 7 + 3) % 2048
}

fn compiled(rules: &[Rule]) -> Compiled {
    let meter_slots = metered::slots(rules);
    let rules: Vec<&Rule> = rules.iter().collect();
    let slots: Vec<u16> = (0..rules.len()).map(slot).collect();
    let interfaces = INTERFACES.map(|(number, name)| (number, name.to_owned()));
    compile(&Input { rules: &rules, slots: &slots, meter_slots: &meter_slots, interfaces: &interfaces }).unwrap()
}

fn hook(compiled: Compiled, table: Table, local: Local) -> Hook {
    let RuleTables { plan, asked, pages, rows, records, meters, .. } = compiled.tables;
    let mut rules = HookRules::new(plan, asked, pages, rows, records, meters);
    rules.meters.now = START;
    Hook { local, rules, ..Hook::new(Link::Ethernet, table) }
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

/// What is known of rules beside what they match: tokens by the text of the RFCs, and how many events each may tell.
struct Known {
    meters: Vec<Option<Oracle>>,
    events: Vec<u32>,
}

impl Known {
    fn of(rules: &[Rule]) -> Self {
        let meters = rules.iter().map(|rule| rule.meter().map(|meter| Oracle::new(parameters(meter.kind))));
        let events = rules.iter().map(|rule| rule.log.map_or(0, |rate| rate.events.get()));
        Self { meters: meters.collect(), events: events.collect() }
    }

    fn wait(&mut self, nanoseconds: u64) {
        self.meters.iter_mut().flatten().for_each(|meter| meter.wait(nanoseconds));
    }

    fn color(&mut self, rule: usize, meter: &Meter, sample: &Sample) -> Color {
        let arrives = |bits: u64| bits >> sample.packet.dscp.value() & 1 == 1;
        let color = match meter.aware {
            Some(arrived) if arrives(arrived.red) => Color::Red,
            Some(arrived) if arrives(arrived.yellow) => Color::Yellow,
            _ => Color::Green,
        };
        let charge = metered::charge(meter, &sample.packet, sample.of_ip);
        let oracle = self.meters[rule].as_mut().unwrap();
        let color = oracle.color(color, charge, (0, 0));
        oracle.take(color, charge);
        color
    }

    /// The rule that tells of a packet: the first of those that match and log which still may.
    fn teller(&mut self, walked: &Walked) -> Option<usize> {
        let teller = walked.logged.iter().copied().find(|rule| self.events[*rule] != 0)?;
        self.events[teller] -= 1;
        Some(teller)
    }
}

const fn parameters(kind: MeterKind) -> Parameters {
    match kind {
        MeterKind::SrTcm { cir, cbs, ebs } => {
            Parameters { algorithm: Algorithm::SrTcm, committed: (cir, cbs), other: (cir, ebs) }
        }
        MeterKind::TrTcm { cir, cbs, pir, pbs } => {
            Parameters { algorithm: Algorithm::TrTcm, committed: (cir, cbs), other: (pir, pbs) }
        }
        MeterKind::Rfc4115 { cir, cbs, eir, ebs } => {
            Parameters { algorithm: Algorithm::Rfc4115, committed: (cir, cbs), other: (eir, ebs) }
        }
    }
}

fn expected(walked: &Walked, rules: &[Rule], known: &mut Known, sample: &Sample) -> Decision {
    let dscp = sample.packet.dscp;
    match walked.outcome {
        _ if walked.decided_by == Decider::Protected => Decision::Protected,
        walk::Outcome::Set(to) if to != dscp => Decision::Remark(to),
        walk::Outcome::Drop => Decision::Drop,
        walk::Outcome::Meter(rule) => {
            let meter = rules[rule].meter().unwrap();
            metered::becomes(meter.verdicts()[known.color(rule, meter, sample) as usize], dscp)
        }
        _ => Decision::Keep,
    }
}

/// A random policy behind a hook in memory.
struct Case {
    fields: Fields,
    local: Local,
    table: Option<RemarkTable>,
    rules: Vec<Rule>,
    known: Known,
    hook: Hook,
    hits: Vec<u64>,
}

impl Case {
    fn new(random: &mut Random) -> Self {
        let fields = [Fields::Xdp, Fields::Ingress, Fields::Egress][random.below(3)];
        let local = [Local::Policy, Local::KeepControl, Local::Keep][random.below(3)];
        let table = random.one_in(2).then(table);
        let rules = policies::rules(random, fields);
        let compiled_table = table.as_ref().map_or(Table::IDENTITY, RemarkTable::compile);
        let hook = hook(compiled(&rules), compiled_table, local);
        Self { fields, local, table, known: Known::of(&rules), hits: vec![0; rules.len()], rules, hook }
    }

    fn packet(&mut self, random: &mut Random) -> Sample {
        let sample = policies::sample(random, self.fields, self.fields != Fields::Xdp);
        // Some packets later, and some at the same moment.
        let gap = [0, 1_000, 40_000_000, 500_000_000][random.below(4)];
        self.known.wait(gap);
        self.hook.rules.meters.now += gap;
        let walked = walk(&self.rules, self.table.as_ref(), self.local, &sample.packet);
        let arrival = arrival(&sample);
        let outcome = self.hook.receive(&mut sample.frame.clone()[..], &arrival);
        let Some((ds, decision)) = outcome.decided() else { panic!("{outcome:?}: {sample:?}") };
        let expected = expected(&walked, &self.rules, &mut self.known, &sample);
        let context = || format!("{walked:?} of\n{:?}\n{:?} {sample:?}", self.rules, self.local);
        assert_eq!(ds.dscp(), sample.packet.dscp);
        assert_eq!(decision, expected, "{}", context());
        let mark = walked.mark.map(|mark| (mark.value, mark.mask));
        assert_eq!(arrival.handed_over.get(), HandOver { priority: walked.priority, mark }, "{}", context());
        walked.counted.iter().for_each(|rule| self.hits[*rule] += 1);
        let counters = &mut self.hook.rules.counters;
        let counted: Vec<u64> = (0..self.rules.len()).map(|rule| packets(counters, slot(rule))).collect();
        assert_eq!(counted, self.hits, "{}", context());
        let teller = self.known.teller(&walked);
        let told: Vec<u16> = self.hook.rules.events.drain(..).map(|event| event.slot).collect();
        assert_eq!(told, teller.map(slot).into_iter().collect::<Vec<_>>(), "{}", context());
        sample
    }
}

fn check(seed: u64) -> [u64; 2] {
    let random = &mut Random::new(seed);
    let mut case = Case::new(random);
    let ports = case.hook.rules.plan.get(Constant::Ports) != 0;
    let asked = case.hook.rules.asked;
    let mut limited = [0; 2];
    for _ in 0..100 {
        let sample = case.packet(random);
        if ports && asked >> sample.packet.dscp.value() & 1 == 1 {
            limited[0] += u64::from(sample.packet.fragment == policy::model::Fragment::Later);
            limited[1] += u64::from(sample.too_long);
        }
    }
    let counters = case.hook.counters.as_ref().unwrap();
    assert_eq!(counters.limited.map(|counter| counter.packets), limited, "seed {seed}");
    let meters = case.hook.rules.meters.counters.0.as_flattened();
    let events = case
        .known
        .events
        .iter()
        .zip(&case.rules)
        .map(|(left, rule)| rule.log.map_or(0, |rate| rate.events.get()) - left);
    [meters.iter().map(|meter| meter.packets).sum(), events.sum::<u32>().into()]
}

fn packets(counters: &mut [RuleCounters], slot: u16) -> u64 {
    counters[RuleCounters::of(slot) as usize].slot_mut(slot).packets
}

#[test]
fn compiled_rules_decide_as_the_walk_does() {
    let first = number("QOSBPF_POLICY_SEED", 1);
    let mut seen = [0; 2];
    for seed in first..first + number("QOSBPF_POLICIES", 300) {
        let case = std::panic::catch_unwind(|| check(seed)).unwrap_or_else(|_| panic!("seed {seed}"));
        seen = [seen[0] + case[0], seen[1] + case[1]];
    }
    let [metered, told] = seen;
    assert!(metered > 0 && told > 0, "{metered} packets metered, {told} events");
}

/// At TC a packet may lie in pieces, of which a program sees the first; its length says how much is behind.
#[test]
fn ports_behind_what_a_hook_sees_are_counted_as_such() {
    const RULE: &str = "version = 1\nname = \"test\"\n[[rule]]\nname = \"port\"\non = \"all\"\n\
                        match = { proto = \"udp\", dst-port = 9 }\nset = \"EF\"\n";
    let policy = policy::parse(&Source::new("test.toml", RULE.into()).unwrap()).unwrap();
    let chain = [extension(protocol::DESTINATION, 15), extension(protocol::UDP, 15), udp(&[0; 200])].concat();
    let header = Ipv6 { next: protocol::DESTINATION, ..Ipv6::default() };
    let whole = ethernet(&[], ether_type::IPV6, &header.packet(&chain));
    let port = 14 + 40 + 2 * 128;
    for (seen, limited) in [(whole.len(), 0), (port + 4, 0), (port + 3, 1), (192, 1), (60, 1)] {
        for length in [whole.len(), seen] {
            let mut hook = hook(compiled(policy.rules()), Table::IDENTITY, Local::Policy);
            let mut packet = whole[..seen].to_vec();
            hook.receive(&mut packet[..], &Arrival::single(length, 0));
            let counted = hook.counters.unwrap().limited.map(|counter| counter.packets);
            // A packet that ends there has no ports: nothing is hidden.
            assert_eq!(counted, [0, if length == seen { 0 } else { limited }], "{seen} of {length} bytes");
        }
    }
}

#[test]
fn the_same_rules_give_the_same_bytes() {
    for seed in 0..20 {
        let rules = policies::rules(&mut Random::new(seed), Fields::Egress);
        assert_eq!(compiled(&rules), compiled(&rules));
    }
}

/// What nobody minds to wait for a change of policy.
const IN_NO_TIME: Duration = Duration::from_secs(30);

#[test]
fn a_thousand_rules_are_compiled_in_no_time() {
    let mut random = Random::new(5);
    let mut rules: Vec<Rule> = Vec::new();
    while rules.len() < 1024 {
        // Of meters there are fewer than of rules.
        let plain = |rule: &Rule| rule.decides() && rule.meter().is_none();
        rules.extend(policies::rules(&mut random, Fields::Egress).into_iter().filter(plain));
    }
    rules.truncate(1024);
    let start = Instant::now();
    let compiled = compiled(&rules);
    let took = start.elapsed();
    let (bytes, idle) = (compiled.tables.bytes(), compiled.idle.len());
    eprintln!(
        "{took:?}, {bytes} bytes, {} pages, {} rows, {idle} idle",
        compiled.tables.pages.len(),
        compiled.tables.rows.len()
    );
    // Without optimisation, on a machine that does ten other things.
    assert!(took < IN_NO_TIME, "{took:?}");
}
