//! Any text as a policy, TOML or JSON: it is read, or refused with a report that can be printed. One that is read is
//! compiled for each hook that it names, and its program decides on packets as the plain walk through its rules does.
//!
//! Behind a line `%%` the input has packets, a line each, in the words of `policy explain`.

use qos_common::{
    gso::Length,
    locate::Link,
    meter::METER_SLOTS,
    policy::{Decision, Local, Origin, Table},
    process::Outcome,
    rules::RuleCounters,
};
use qos_vectors::hook::{Arrival, Hook, HookRules};
use qosbpf::{
    hook::Direction,
    policy::{
        self, MAX_DIAGNOSTICS, Policy, RemarkTable, Report, Source,
        classifier::{Input, compile},
        model::{self, Rule},
        packet::Packet,
        walk::{self, Decider, walk},
    },
    rules::RuleTables,
};

/// What separates policy and packets.
const SPLIT: &[u8] = b"\n%%\n";
/// How many packets each hook is asked about.
const PACKETS: usize = 8;

/// The interfaces that there are; one number has more than sixteen bits.
const INTERFACES: [(u32, &str); 3] = [(2, "lan0"), (3, "wan0"), (0x1_0003, "ppp0")];

pub fn hold(input: &[u8]) {
    let split = input.windows(SPLIT.len()).position(|window| window == SPLIT);
    let (text, packets) = split.map_or((input, &b""[..]), |at| (&input[..at], &input[at + SPLIT.len()..]));
    match Source::new("policy.toml", text.to_vec()).and_then(|source| policy::parse(&source)) {
        Err(report) => {
            assert!(!report.is_empty());
            is_said(&report);
        }
        Ok(policy) => {
            is_said(policy.warnings());
            let packets = String::from_utf8_lossy(packets);
            for (_, interface) in INTERFACES {
                for direction in Direction::BOTH {
                    check(&policy, interface, direction, &packets);
                }
            }
        }
    }
}

/// It may be long, and goes to terminals.
fn is_said(report: &Report) {
    assert!(report.diagnostics().len() <= MAX_DIAGNOSTICS);
    crate::is_said(&report.render(false));
}

/// What a policy says of one hook.
struct Bound<'a> {
    rules: Vec<&'a Rule>,
    table: Option<&'a RemarkTable>,
    local: Local,
}

fn check(policy: &Policy, interface: &str, direction: Direction, packets: &str) {
    let table = policy.bind(interface, direction).map(|bound| bound.table);
    let local = if direction == Direction::Egress { policy.local(interface) } else { Local::Policy };
    let bound = Bound { rules: policy.rules_for(interface, direction), table, local };
    if bound.rules.is_empty() && table.is_none() {
        return;
    }
    let Some(mut hook) = bound.hook() else { return };
    for line in packets.lines().take(PACKETS) {
        let Ok(packet) = Packet::parse(line, Some(direction)) else { continue };
        if let Some(from) = number(packet.from.as_deref()) {
            bound.agree(&mut hook, &packet, from);
        }
    }
}

/// An interface by its name; 0 for none, and nothing for one that is not there.
fn number(name: Option<&str>) -> Option<u32> {
    let Some(name) = name else { return Some(0) };
    INTERFACES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

impl Bound<'_> {
    /// The compiled rules in memory; `None` for what is refused, as too large.
    fn hook(&self) -> Option<Hook> {
        let slots: Vec<u16> = (0..self.rules.len() as u16).collect();
        let meter_slots: Vec<u16> = slots.iter().map(|slot| slot % METER_SLOTS as u16).collect();
        let interfaces = INTERFACES.map(|(number, name)| (number, name.to_owned()));
        let input = Input { rules: &self.rules, slots: &slots, meter_slots: &meter_slots, interfaces: &interfaces };
        let RuleTables { plan, asked, pages, rows, records, meters, .. } = compile(&input).ok()?.tables;
        let counters = vec![RuleCounters::ZERO; 2];
        let mut rules = HookRules { plan, asked, pages, rows, records, counters, ..HookRules::default() };
        rules.meters.records = meters;
        let table = self.table.map_or(Table::IDENTITY, RemarkTable::compile);
        Some(Hook { local: self.local, rules, ..Hook::new(Link::Ethernet, table) })
    }

    /// The compiled program and the plain walk decide the same.
    fn agree(&self, hook: &mut Hook, packet: &Packet, from: u32) {
        let mut frame = packet.frame(Link::Ethernet);
        let origin = match packet.origin {
            Some(model::Origin::Local) => Origin::Local,
            _ => Origin::Forwarded,
        };
        let (mark, length) = (packet.mark.unwrap_or(0), Length::single(frame.len() as u32));
        let arrival = Arrival { origin, length, mark, from, ..Arrival::single(frame.len(), 0) };
        let walked = walk(&self.rules, self.table, self.local, packet);
        let Outcome::Counted(ds, decision) = hook.receive(&mut frame[..], &arrival) else {
            panic!("not counted: {packet:?}");
        };
        assert_eq!(ds.dscp(), packet.dscp);
        let expected = match walked.outcome {
            _ if walked.decided_by == Decider::Protected => Decision::Protected,
            walk::Outcome::Set(to) if to != ds.dscp() => Decision::Remark(to),
            walk::Outcome::Drop => Decision::Drop,
            // Which of its colors a meter gives is for the tests of meters.
            walk::Outcome::Meter(_) => return,
            _ => Decision::Keep,
        };
        assert_eq!(decision, expected, "{walked:?} {packet:?}\n{:?}", self.rules);
    }
}
