//! Random rules and packets: what one part of the language says must agree with what the others do.

use std::{fmt::Write as _, sync::LazyLock};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{select, subsequence},
};

use super::read;
use crate::{
    hook::Direction::Egress,
    policy::{
        Policy,
        packet::Packet,
        walk::{Decider, walk},
    },
};

/// A field with a value; few of both, so that they meet.
const CONDITIONS: &[&str] = &[
    "dscp = \"EF\"",
    "dscp-not = \"8-46\"",
    "dscp = [\"DF\", \"EF\", \"CS6\"]",
    "family = 4",
    "family-not = 4",
    "proto = \"udp\"",
    "proto = [\"udp\", \"tcp\"]",
    "proto-not = \"udp\"",
    "src = \"10.0.0.0/8\"",
    "src = [\"10.1.0.0/16\", \"2001:db8::/32\"]",
    "src-not = \"10.1.0.0/16\"",
    "src-not = [\"10.0.0.0/9\", \"2001:db8::/64\"]",
    "dst = \"::/0\"",
    "dst-port = \"1-1023\"",
    "dst-port = 53",
    "dst-port-not = \"1000-2000\"",
    "src-port = 5060",
    "port = [53, 5060]",
    "port = 53",
    "port-not = 53",
    "port-not = [53, 5060]",
    "vlan = 5",
    "vlan-not = \"5-9\"",
    "pcp = \"5-7\"",
    "length = \"0-100\"",
    "length-not = \"0-100\"",
    "fragment = \"no\"",
    "fragment-not = \"later\"",
    "icmp-type = 8",
    "mark = \"1/1\"",
    "mark = \"1/3\"",
    "mark-not = \"1/1\"",
    "origin = \"local\"",
    "origin-not = \"local\"",
    "from = \"lan*\"",
    "from = [\"lan0\", \"dmz\"]",
    "from-not = \"lan0\"",
];

const ACTIONS: &[&str] = &["set = \"EF\"", "set = \"keep\"", "drop = true", "count = true", "priority = 1"];

const PACKETS: &[&str] = &[
    "udp 10.1.2.3:5060 > 192.0.2.1:53",
    "udp 10.0.0.1:5060 > 192.0.2.1:1500 dscp EF",
    "tcp 10.200.0.1:53 > 192.0.2.1:443",
    "udp [2001:db8::1]:9 > [2001:db8:1::1]:53",
    "tcp [2001:db8:9::1]:5060 > [2001:db9::1]:9",
    "icmp 10.1.2.3 > 192.0.2.1",
    "icmpv6 2001:db8::1 > 2001:db8::2 icmp-type 1",
    "esp 192.0.2.9 > 192.0.2.1 dscp CS6",
    "udp 10.1.2.3 > 192.0.2.1 fragment later",
];

const EXTRAS: &[&str] =
    &["vlan 5", "pcp 6", "mark 3", "mark 1", "length 1500", "from lan0", "origin local", "from dmz"];

static SCHEMA: LazyLock<jsonschema::Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&crate::policy::schema()).unwrap());

/// A rule that the language accepts.
fn rule() -> impl Strategy<Value = (Vec<&'static str>, &'static str)> {
    (subsequence(CONDITIONS, 0..4), select(ACTIONS))
        .prop_filter("it can match", |(conditions, action)| read(&text(&[(conditions.clone(), *action)])).is_ok())
}

fn text(rules: &[(Vec<&str>, &str)]) -> String {
    let mut text = "version = 1\nname = \"test\"\n".to_owned();
    for (index, (conditions, action)) in rules.iter().enumerate() {
        let conditions = conditions.join(", ");
        writeln!(text, "[[rule]]\nname = \"{index}\"\non = \"x:egress\"\nmatch = {{ {conditions} }}\n{action}")
            .unwrap();
    }
    text
}

fn packet() -> impl Strategy<Value = Packet> {
    (select(PACKETS), subsequence(EXTRAS, 0..3)).prop_filter_map("words that go together", |(packet, extras)| {
        Packet::parse(&format!("{packet} {}", extras.join(" ")), Some(Egress)).ok()
    })
}

/// The rules that the warnings say are never asked.
fn shadowed(policy: &Policy) -> Vec<usize> {
    let titles = policy.warnings().diagnostics().iter().map(|found| found.title());
    titles.filter_map(|title| title.strip_prefix("the rule `")?.split_once('`')?.0.parse().ok()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_shadowed_rule_matches_nothing(rules in vec(rule(), 2..6), packets in vec(packet(), 1..40)) {
        // `local` would keep some from every rule.
        let policy = read(&format!("{}[interface.x]\nlocal = \"policy\"\n", text(&rules))).unwrap();
        let shadowed = shadowed(&policy);
        for packet in &packets {
            let walked = walk(policy.rules(), None, policy.local("x"), packet);
            for rule in &shadowed {
                prop_assert!(!walked.counted.contains(rule), "{} {packet:?}", text(&rules));
            }
        }
    }

    #[test]
    fn the_order_matters_only_among_those_that_match(rules in vec(rule(), 1..6), packet in packet()) {
        let policy = read(&text(&rules)).unwrap();
        let walked = walk(policy.rules(), None, policy.local("x"), &packet);
        // Each rule by itself, where nothing is protected.
        let alone = |index: usize| {
            let one = std::slice::from_ref(&policy.rules()[index]);
            !walk(one, None, qos_common::policy::Local::Policy, &packet).counted.is_empty()
        };
        let matching = (0..rules.len()).filter(|index| alone(*index)).collect::<Vec<_>>();
        let decides = |index: &usize| policy.rules()[*index].decides();
        let until = matching.iter().position(decides);
        let asked = &matching[..until.map_or(matching.len(), |at| at + 1)];
        match walked.decided_by {
            Decider::Rule(index) => prop_assert_eq!(Some(&index), asked.last()),
            Decider::Protected => prop_assert_eq!(&*walked.counted, &asked[..asked.len() - 1]),
            _ => prop_assert!(until.is_none()),
        }
        if walked.decided_by != Decider::Protected {
            prop_assert_eq!(&*walked.counted, asked);
        }
    }

    #[test]
    fn json_and_toml_are_the_same(rules in vec(rule(), 0..6)) {
        let text = text(&rules);
        let json = serde_json::to_string(&toml::from_str::<toml::Table>(&text).unwrap()).unwrap();
        let (from_toml, from_json) = (read(&text).unwrap(), read(&json).unwrap());
        prop_assert_eq!(from_toml.hash(), from_json.hash());
    }

    #[test]
    fn the_schema_takes_what_is_read(rules in vec(rule(), 0..4)) {
        let policy = serde_json::to_value(toml::from_str::<toml::Table>(&text(&rules)).unwrap()).unwrap();
        prop_assert!(SCHEMA.is_valid(&policy));
    }

    /// A rule that is refused since it can never match does not match.
    #[test]
    fn what_can_never_match_does_not(conditions in subsequence(CONDITIONS, 1..4), packets in vec(packet(), 1..60)) {
        let refused = read(&text(&[(conditions.clone(), "drop = true")])).err();
        // Of one field there is only one of each form.
        let refused = refused.is_some_and(|report| report.diagnostics().iter().all(|found| !found.title().ends_with("twice")));
        // Each condition by itself is read, and all of them have to hold.
        let rules = conditions.iter().map(|condition| read(&text(&[(vec![*condition], "drop = true")])).unwrap());
        let rules = rules.map(|policy| policy.rules()[0].clone()).collect::<Vec<_>>();
        let holds = |packet: &Packet| {
            let local = qos_common::policy::Local::Policy;
            rules.iter().all(|rule| !walk(std::slice::from_ref(rule), None, local, packet).counted.is_empty())
        };
        prop_assert!(!refused || !packets.iter().any(holds));
    }
}
