//! Random chains, interpreted as iptables does and nothing shared with the importer: what leaves is the same.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};

use super::{Options, imported};
use crate::{
    hook::Direction::Ingress,
    policy::{Policy, Source, packet::Packet, parse, walk::walk},
};

/// A packet as the interpreter sees it, with the mark that it has by now.
#[derive(Clone, Copy, Debug)]
struct Shape {
    udp: bool,
    port: u16,
    /// The second byte of its source, 10.x.0.1.
    net: u8,
    dscp: u8,
}

type Match = (&'static str, fn(&Shape) -> bool);

const MATCHES: &[Match] = &[
    ("-p udp", |packet| packet.udp),
    ("-p tcp", |packet| !packet.udp),
    ("! -p tcp", |packet| packet.udp),
    ("-p udp -m udp --dport 53", |packet| packet.udp && packet.port == 53),
    ("-p tcp -m tcp ! --dport 1:100", |packet| !packet.udp && packet.port > 100),
    ("-p udp -m multiport --dports 53,5060:5061", |packet| packet.udp && [53, 5060, 5061].contains(&packet.port)),
    ("-s 10.1.0.0/16", |packet| packet.net == 1),
    ("! -s 10.1.0.0/16", |packet| packet.net != 1),
    ("-m dscp --dscp 0x2e", |packet| packet.dscp == 46),
    ("-m dscp ! --dscp 0x00", |packet| packet.dscp != 0),
    ("-m tos --tos 0x20/0xe0", |packet| packet.dscp >> 3 == 1),
    ("-i lan0", |_| true),
    ("-i lan+", |_| true),
    ("-i wan0", |_| false),
];

const TARGETS: &[&str] = &[
    "-j DSCP --set-dscp 0x2e",
    "-j DSCP --set-dscp 0x00",
    "-j DSCP --set-dscp-class AF11",
    "-j TOS --set-tos 0x40/0xfc",
    "-j TOS --set-tos 0x20/0xe0",
    "-j ACCEPT",
    "-j RETURN",
    "-j DROP",
    "-j first",
    "-g first",
    "-j second",
    "-g second",
    "-m comment --comment counts",
];

#[derive(Clone, Debug)]
struct Rule {
    matches: Vec<Match>,
    target: &'static str,
}

#[derive(Debug, PartialEq)]
enum Way {
    On,
    Back,
    Out,
    Gone,
}

/// PREROUTING, first, second.
fn run(chains: &[Vec<Rule>; 3], at: usize, packet: &mut Shape) -> Way {
    for rule in &chains[at] {
        if !rule.matches.iter().all(|(_, holds)| holds(packet)) {
            continue;
        }
        let (how, what) = rule.target.split_once(' ').unwrap();
        let way = match what {
            "DSCP --set-dscp 0x2e" => mark(packet, 46),
            "DSCP --set-dscp 0x00" => mark(packet, 0),
            "DSCP --set-dscp-class AF11" => mark(packet, 10),
            "TOS --set-tos 0x40/0xfc" => mark(packet, 16),
            "TOS --set-tos 0x20/0xe0" => mark(packet, 8 | packet.dscp & 7),
            "ACCEPT" => Way::Out,
            "RETURN" => Way::Back,
            "DROP" => Way::Gone,
            "first" | "second" => {
                let way = run(chains, if what == "first" { 1 } else { 2 }, packet);
                // A chain that it went to does not come back here.
                if how == "-g" && way == Way::On { Way::Back } else { way }
            }
            _ => Way::On,
        };
        match way {
            Way::On => {}
            Way::Back => return Way::On,
            ended => return ended,
        }
    }
    Way::On
}

fn mark(packet: &mut Shape, dscp: u8) -> Way {
    packet.dscp = dscp;
    Way::On
}

/// Rules of a chain that jump only to later ones.
fn chain(targets: &'static [&'static str]) -> impl Strategy<Value = Vec<Rule>> {
    let rule = (subsequence(MATCHES, 0..3), select(targets)).prop_map(|(matches, target)| Rule { matches, target });
    vec(rule, 0..7)
}

fn text(chains: &[Vec<Rule>; 3]) -> String {
    let mut text = "*mangle\n:PREROUTING ACCEPT [0:0]\n:first - [0:0]\n:second - [0:0]\n".to_owned();
    for (name, rules) in ["PREROUTING", "first", "second"].iter().zip(chains) {
        for rule in rules {
            let matches = rule.matches.iter().map(|(text, _)| *text).collect::<Vec<_>>().join(" ");
            text += &format!("-A {name} {matches} {}\n", rule.target);
        }
    }
    text + "COMMIT\n"
}

fn leaves(policy: &Policy, packet: Shape) -> Option<u8> {
    let proto = if packet.udp { "udp" } else { "tcp" };
    let words = format!("{proto} 10.{}.0.1:9 > 192.0.2.1:{} dscp {}", packet.net, packet.port, packet.dscp);
    let packet = Packet::parse(&words, Some(Ingress)).unwrap();
    let table = policy.bind("lan0", Ingress).map(|bound| bound.table);
    let walked = walk(&policy.rules_for("lan0", Ingress), table, policy.local("lan0"), &packet);
    walked.leaves_as(&packet).map(qos_common::ds::Dscp::value)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_leaves_is_what_iptables_would_send(
        base in chain(TARGETS),
        first in chain(&["-j DSCP --set-dscp 0x2e", "-j TOS --set-tos 0x20/0xe0", "-j RETURN", "-j ACCEPT", "-j second", "-g second"]),
        second in chain(&["-j DSCP --set-dscp 0x00", "-j RETURN", "-j ACCEPT", "-j DROP"]),
    ) {
        let chains = [base, first, second];
        let text = text(&chains);
        let found = imported(&[("x", &text)], &Options::default());
        // Chains that nothing jumps to are listed, and change nothing.
        let unasked = found.left.iter().all(|left| left.reason.ends_with("jumps here"));
        prop_assert!(unasked, "{text} {:?}", found.left);
        let policy = Source::new("x", found.policy.clone().into_bytes()).and_then(|source| parse(&source)).unwrap();
        for (udp, port, net, dscp) in packets() {
            let packet = Shape { udp, port, net, dscp };
            let mut sent = packet;
            let way = run(&chains, 0, &mut sent);
            let expected = (way != Way::Gone).then_some(sent.dscp);
            prop_assert_eq!(leaves(&policy, packet), expected, "{}\n{}\n{:?}", text, found.policy, packet);
        }
    }
}

/// Every kind of packet that the matches tell apart.
fn packets() -> impl Iterator<Item = (bool, u16, u8, u8)> {
    let nets = || [1, 2].into_iter();
    let marks = || [0, 8, 13, 46].into_iter();
    [true, false].into_iter().flat_map(move |udp| {
        [53, 80, 5061]
            .into_iter()
            .flat_map(move |port| nets().flat_map(move |net| marks().map(move |dscp| (udp, port, net, dscp))))
    })
}
