//! Any text as a policy, TOML or JSON: it is read, or refused with a report that can be printed. One that is read is
//! compiled for each hook that it names, and its program decides on packets as the plain walk through its rules does.
//!
//! Behind a line `%%` the input has packets, a line each, in the words of `policy explain`.

use qos_common::{
    gso::Length,
    locate::Link,
    policy::{Decision, Origin},
};
use qos_vectors::hook::{Arrival, Hook};
use qosbpf::{
    hook::Direction,
    policy::{
        self, MAX_DIAGNOSTICS, Policy, Report, Source, model,
        packet::Packet,
        walk::{self, Decider, walk},
    },
};

use crate::bound::{Bound, INTERFACES, number};

/// What separates policy and packets.
const SPLIT: &[u8] = b"\n%%\n";
/// How many packets each hook is asked about.
const PACKETS: usize = 8;

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

fn check(policy: &Policy, interface: &str, direction: Direction, packets: &str) {
    let bound = Bound::of(policy, interface, direction);
    if bound.rules.is_empty() && bound.table.is_none() {
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

impl Bound<'_> {
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
        let outcome = hook.receive(&mut frame[..], &arrival);
        let Some((ds, decision)) = outcome.decided() else { panic!("{outcome:?}: {packet:?}") };
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
