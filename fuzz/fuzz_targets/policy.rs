//! Any text as a policy, TOML or JSON: it is read, or refused with a report that can be printed. One that is read is
//! compiled for each hook that it names, and its program decides on packets as the plain walk through its rules does.
//!
//! Behind a line `%%` the input has packets, a line each, in the words of `policy explain`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qos_common::{
    gso::Length,
    locate::Link,
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

const SPLIT: &[u8] = b"\n%%\n";
const INTERFACES: [(u32, &str); 3] = [(2, "lan0"), (3, "wan0"), (0x1_0003, "ppp0")];

fuzz_target!(|input: &[u8]| {
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
});

/// A report goes to terminals: nothing in it controls one.
fn is_said(report: &Report) {
    assert!(report.diagnostics().len() <= MAX_DIAGNOSTICS);
    let text = report.render(false);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

fn check(policy: &Policy, interface: &str, direction: Direction, packets: &str) {
    let rules = policy.rules_for(interface, direction);
    let table = policy.bind(interface, direction).map(|bound| bound.table);
    let local = if direction == Direction::Egress { policy.local(interface) } else { Local::Policy };
    let Some(mut hook) = hook(&rules, table, local) else { return };
    for line in packets.lines().take(8) {
        let Ok(packet) = Packet::parse(line, Some(direction)) else { continue };
        let from = packet.from.as_ref().map(|name| INTERFACES.iter().find(|(_, known)| known == name));
        if let Some(None) = from {
            continue;
        }
        agree(&mut hook, &rules, table, local, &packet, from.flatten().map_or(0, |(number, _)| *number));
    }
}

/// The compiled rules in memory; `None` for what is refused, as too large.
fn hook(rules: &[&Rule], table: Option<&RemarkTable>, local: Local) -> Option<Hook> {
    let slots: Vec<u16> = (0..rules.len() as u16).collect();
    let meter_slots: Vec<u16> = slots.iter().map(|slot| slot % 128).collect();
    let interfaces = INTERFACES.map(|(number, name)| (number, name.to_owned()));
    let compiled = compile(&Input { rules, slots: &slots, meter_slots: &meter_slots, interfaces: &interfaces }).ok()?;
    let RuleTables { plan, asked, pages, rows, records, meters, .. } = compiled.tables;
    let mut rules =
        HookRules { plan, asked, pages, rows, records, counters: vec![RuleCounters::ZERO; 2], ..HookRules::default() };
    rules.meters.records = meters;
    let table = table.map_or(Table::IDENTITY, RemarkTable::compile);
    Some(Hook { local, rules, ..Hook::new(Link::Ethernet, table) })
}

fn agree(hook: &mut Hook, rules: &[&Rule], table: Option<&RemarkTable>, local: Local, packet: &Packet, from: u32) {
    let mut frame = packet.frame(Link::Ethernet);
    let origin = match packet.origin {
        Some(model::Origin::Local) => Origin::Local,
        _ => Origin::Forwarded,
    };
    let (mark, length) = (packet.mark.unwrap_or(0), Length::single(frame.len() as u32));
    let arrival = Arrival { origin, length, mark, from, ..Arrival::single(frame.len(), 0) };
    let walked = walk(rules, table, local, packet);
    let Outcome::Counted(ds, decision) = hook.receive(&mut frame[..], &arrival) else {
        panic!("not counted: {packet:?}");
    };
    assert_eq!(ds.dscp(), packet.dscp);
    let expected = match walked.outcome {
        _ if walked.decided_by == Decider::Protected => Decision::Protected,
        walk::Outcome::Set(to) if to != ds.dscp() => Decision::Remark(to),
        walk::Outcome::Drop => Decision::Drop,
        // Which of its colors a meter gives is another target's work.
        walk::Outcome::Meter(_) => return,
        _ => Decision::Keep,
    };
    assert_eq!(decision, expected, "{walked:?} {packet:?}\n{rules:?}");
}
