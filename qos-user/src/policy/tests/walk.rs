//! The oracle, checked by hand.

use qos_common::policy::Local;

use super::{FULL, policy, read};
use crate::{
    hook::Direction::{self, Egress, Ingress},
    policy::{
        Policy,
        packet::Packet,
        walk::{Decider, Outcome, Walked, walk},
    },
};

fn walk_at(policy: &Policy, interface: &str, direction: Direction, text: &str) -> (Walked, Packet) {
    let packet = Packet::parse(text, Some(direction)).unwrap();
    let bound = policy.bind(interface, direction);
    let (table, local) = (bound.map(|bound| bound.table), policy.local(interface));
    (walk(&policy.rules_for(interface, direction), table, local, &packet), packet)
}

/// What a packet leaves as, and who decided.
fn result(policy: &Policy, hook: (&str, Direction), text: &str) -> (Option<String>, Decider) {
    let (walked, packet) = walk_at(policy, hook.0, hook.1, text);
    (walked.leaves_as(&packet).map(|dscp| dscp.to_string()), walked.decided_by)
}

#[test]
fn the_full_example() {
    let policy = read(FULL).unwrap();
    let entry = |key: &str| Decider::Entry(key.to_owned());
    let lan = ("lan0", Ingress);
    let ppp = ("ppp0", Egress);
    let vlan = ("wan0.832", Egress);
    for (hook, text, leaves, decided_by) in [
        (lan, "udp 10.20.0.5:5060 > 192.0.2.1:5060 dscp EF", "EF", Decider::Other),
        (lan, "udp 10.30.0.5:5060 > 192.0.2.1:5060 dscp EF", "DF", Decider::Rule(0)),
        (lan, "udp [2001:db8:20::1]:1 > [2001:db8::1]:1 dscp VA", "VA", Decider::Other),
        (lan, "udp [2001:db8:21::1]:1 > [2001:db8::1]:1 dscp VA", "DF", Decider::Rule(0)),
        (lan, "udp 10.30.0.5:5060 > 192.0.2.1:3480", "EF", Decider::Rule(1)),
        (lan, "tcp 10.30.0.5:5060 > 192.0.2.1:3480", "DF", Decider::Other),
        (lan, "udp 10.30.0.5 > 192.0.2.1 fragment later", "DF", Decider::Other),
        (lan, "ospf 10.30.0.5 > 224.0.0.5 dscp CS6", "DF", entry("control")),
        (ppp, "tcp 203.0.113.1:179 > 203.0.113.2:33000 dscp CS6 origin local", "CS6", Decider::Protected),
        (ppp, "tcp 203.0.113.1:179 > 203.0.113.2:33000 dscp CS6", "DF", entry("control")),
        (ppp, "udp 203.0.113.1:1 > 203.0.113.2:1 dscp VA origin local", "EF", entry("VA")),
        (ppp, "udp 203.0.113.1:1 > 203.0.113.2:1 dscp LE", "DF", entry("bulk")),
        (vlan, "udp 203.0.113.1:68 > 203.0.113.2:67 origin local", "CS6", Decider::Rule(0)),
        (vlan, "udp 203.0.113.1:68 > 203.0.113.2:67", "DF", Decider::Other),
        (("nowhere", Egress), "udp 203.0.113.1:68 > 203.0.113.2:67 dscp 54", "54", Decider::Nobody),
    ] {
        assert_eq!(result(&policy, hook, text), (Some(leaves.to_owned()), decided_by), "{text}");
    }
    let (video, _) = walk_at(&policy, "ppp0", Egress, "udp 192.0.2.1:1 > 192.0.2.2:2 dscp AF42");
    assert_eq!((video.outcome, video.counted), (Outcome::Meter(0), vec![0]));
    let (dhcp, _) = walk_at(&policy, "wan0.832", Egress, "udp 192.0.2.1:68 > 192.0.2.2:67 dscp CS6 origin local");
    assert_eq!((dhcp.outcome, dhcp.priority), (Outcome::Set(qos_common::ds::Dscp::CS6), Some(6)));
}

#[test]
fn counting_goes_on_and_a_packet_is_decided_once() {
    let rule = |name: &str, lines: &str| format!("[[rule]]\nname = \"{name}\"\non = \"all\"\n{lines}\n");
    let policy = policy(
        &[
            rule("a", "count = true"),
            rule("b", "match = { proto = \"udp\" }\nlog = \"1/s\""),
            rule("c", "match = { dscp = \"EF\" }\nset = \"keep\"\nlog = \"1/s\"\nmark = \"1/1\""),
            rule("d", "drop = true"),
        ]
        .concat(),
    );
    let (walked, _) = walk_at(&policy, "x", Ingress, "udp 192.0.2.1:1 > 192.0.2.2:2 dscp EF");
    assert_eq!((walked.decided_by, walked.outcome), (Decider::Rule(2), Outcome::Keep));
    assert_eq!((walked.counted, walked.logged), (vec![0, 1, 2], vec![1, 2]));
    assert!(walked.mark.is_some());
    let (walked, _) = walk_at(&policy, "x", Ingress, "esp 192.0.2.1 > 192.0.2.2");
    assert_eq!((walked.decided_by, walked.outcome, walked.counted), (Decider::Rule(3), Outcome::Drop, vec![0, 3]));
}

/// Whether a packet is matched by these fields.
fn matches(fields: &str, text: &str) -> bool {
    let policy = policy(&format!("[[rule]]\nname = \"a\"\non = \"x:egress\"\nmatch = {{ {fields} }}\ndrop = true\n"));
    walk_at(&policy, "x", Egress, text).0.outcome == Outcome::Drop
}

#[test]
fn a_field_that_is_not_there_makes_both_forms_false() {
    let udp = "udp 192.0.2.1:5 > 192.0.2.2:6";
    for (field, value, hit, miss, lacks) in [
        ("dst-port", "6", udp, "udp 192.0.2.1:6 > 192.0.2.2:5", Some("udp 192.0.2.1 > 192.0.2.2 fragment later")),
        ("dst-port", "6", udp, "tcp 192.0.2.1:6 > 192.0.2.2:5", Some("icmp 192.0.2.1 > 192.0.2.2")),
        ("port", "5", udp, "udp 192.0.2.1:1 > 192.0.2.2:2", Some("esp 192.0.2.1 > 192.0.2.2")),
        ("src", "\"192.0.2.1\"", udp, "udp 192.0.2.2:1 > 192.0.2.1:1", Some("esp 2001:db8::1 > 2001:db8::2")),
        ("dst", "\"2001:db8::/32\"", "esp ::1 > 2001:db8::2", "esp ::1 > ::2", Some(udp)),
        ("vlan", "832", "esp ::1 > ::2 vlan 832", "esp ::1 > ::2 vlan 1", Some("esp ::1 > ::2")),
        ("pcp", "\"5-7\"", "esp ::1 > ::2 pcp 6", "esp ::1 > ::2 pcp 4", Some("esp ::1 > ::2")),
        ("icmp-type", "8", "icmp 192.0.2.1 > 192.0.2.2", "icmp 192.0.2.1 > 192.0.2.2 icmp-type 0", Some(udp)),
        ("from", "\"lan*\"", "esp ::1 > ::2 from lan0", "esp ::1 > ::2 from wan0", Some("esp ::1 > ::2 origin local")),
        ("family", "6", "esp ::1 > ::2", udp, None),
        ("proto", "\"udp\"", udp, "esp ::1 > ::2", None),
        ("dscp", "\"DF\"", udp, "esp ::1 > ::2 dscp LE", None),
        ("length", "\"0-28\"", udp, "udp 192.0.2.1:5 > 192.0.2.2:6 length 29", None),
        ("fragment", "\"later\"", "udp ::1 > ::2 fragment later", udp, None),
        ("mark", "\"0x10/0xf0\"", "esp ::1 > ::2 mark 0x1f", "esp ::1 > ::2 mark 0x20", None),
        ("origin", "\"local\"", "esp ::1 > ::2 origin local", "esp ::1 > ::2", None),
    ] {
        let (plain, negated) = (format!("{field} = {value}"), format!("{field}-not = {value}"));
        assert!(matches(&plain, hit) && !matches(&negated, hit), "{field} {hit}");
        assert!(!matches(&plain, miss) && matches(&negated, miss), "{field} {miss}");
        if let Some(lacks) = lacks {
            assert!(!matches(&plain, lacks) && !matches(&negated, lacks), "{field} {lacks}");
        }
    }
}

#[test]
fn ecn_has_no_part_in_it() {
    for ecn in 0..4 {
        assert!(matches("dscp = \"DF\"", &format!("esp ::1 > ::2 ecn {ecn}")));
    }
}

#[test]
fn what_this_host_made_is_protected_unless_a_rule_says_origin() {
    let control = "esp ::1 > ::2 dscp CS6 origin local";
    for (lines, local, decided_by) in [
        ("set = \"DF\"", "keep-control", Decider::Protected),
        ("drop = true", "keep-control", Decider::Protected),
        (
            "meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"2kB\", ebs = \"2kB\" }",
            "keep-control",
            Decider::Protected,
        ),
        ("set = \"CS6\"", "keep-control", Decider::Rule(0)),
        ("set = \"keep\"", "keep-control", Decider::Rule(0)),
        ("priority = 6", "keep-control", Decider::Rule(0)),
        ("set = \"DF\"", "policy", Decider::Rule(0)),
        ("match = { origin = \"local\" }\nset = \"DF\"", "keep-control", Decider::Rule(0)),
        ("match = { origin-not = \"forwarded\" }\ndrop = true", "keep", Decider::Rule(0)),
        ("match = { origin-not = \"local\" }\ndrop = true", "keep", Decider::Nobody),
        ("match = { origin = [\"local\"] }\ndrop = true", "keep", Decider::Rule(0)),
        ("match = { origin = [\"local\", \"forwarded\"] }\ndrop = true", "keep", Decider::Protected),
        ("match = { origin = [\"local\", \"forwarded\"] }\ndrop = true", "policy", Decider::Rule(0)),
    ] {
        let policy = policy(&format!(
            "[interface.x]\nlocal = \"{local}\"\n[[rule]]\nname = \"a\"\non = \"x:egress\"\nlog = \"1/s\"\n{lines}\n"
        ));
        let (walked, packet) = walk_at(&policy, "x", Egress, control);
        assert_eq!(walked.decided_by, decided_by, "{lines} {local}");
        if decided_by == Decider::Protected {
            assert!(walked.counted.is_empty() && walked.logged.is_empty());
            assert_eq!(walked.leaves_as(&packet), Some(packet.dscp));
        }
        if !matches!(decided_by, Decider::Nobody) {
            let (forwarded, _) = walk_at(&policy, "x", Egress, "esp ::1 > ::2 dscp CS6");
            let names_origin = lines.contains("origin") && !lines.contains("[\"local\", \"forwarded\"]");
            assert_eq!(forwarded.decided_by, if names_origin { Decider::Nobody } else { Decider::Rule(0) });
        }
    }
    assert_eq!(policy("").local("x"), Local::KeepControl);
}
