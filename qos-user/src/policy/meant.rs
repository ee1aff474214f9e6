//! What is meant by a word that is none here: one of another tool, or one that stands in another place of a policy.

use qos_common::ds::Dscp;

use crate::policy::{
    diagnostic::shown,
    tree::{Entry, Kind, Node},
    words,
};

/// A table that has keys of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    File,
    Interface,
    Rule,
    Match,
    Meter,
    Test,
    /// A packet in words.
    Packet,
}

/// What stands for a word.
#[derive(Clone, Copy, Debug)]
enum Meant {
    /// Another key of the same table.
    Key(&'static str),
    /// What there is to know.
    Advice(&'static str),
    /// What the value says that a rule does.
    Does,
    /// A color of the meter, which stands in the rule.
    Color,
}

use Meant::{Advice, Color, Does, Key};

/// Words, with `-` for `_`, and what is meant by them.
type Meanings = &'static [(&'static [&'static str], Meant)];

const FILE: Meanings = &[
    (&["class", "class-map"], Key("classes")),
    (&["ipset", "address-set", "addresses"], Key("sets")),
    (&["table", "tables", "table-map", "map", "maps"], Key("remark")),
    (&["iface", "device", "devices", "hook", "hooks", "link"], Key("interface")),
    (&["policy", "policies", "policy-map", "filter", "filters", "chain"], Key("rule")),
];

const INTERFACE: Meanings = &[
    (&["in", "input"], Key("ingress")),
    (&["out", "output"], Key("egress")),
    (
        &["table", "remark", "policy", "service-policy"],
        Advice("a table is bound to a direction: write ingress = \"NAME\", egress = \"NAME\" or both"),
    ),
    (&["mode", "via", "mechanism", "attach"], Key("hook")),
    (&["tunnel", "tunnels"], Key("outer")),
    (&["set", "drop", "meter", "match"], Advice("this is a word of rules: write it in a [[rule]] with `on`")),
];

const RULE: Meanings = &[
    (&["interface", "interfaces", "iface", "device", "dev", "hook", "where", "at"], Key("on")),
    (&["direction", "dir"], Advice("the direction is a part of `on`: on = \"lan0:ingress\"")),
    (&["if", "when", "filter", "condition", "conditions", "classify"], Key("match")),
    (&["action", "actions", "then", "do", "target", "verdict", "result", "policy", "jump"], Does),
    (&["remark", "set-dscp", "dscp-set", "set-tos", "mark-dscp", "rewrite", "translate", "to"], Does),
    (&["set-mark", "fwmark", "meta-mark"], Key("mark")),
    (&["police", "policer", "rate", "rate-limit", "limit", "bandwidth"], Key("meter")),
    (&["conform", "conform-action"], Key("green")),
    (&["exceed", "exceed-action"], Key("yellow")),
    (&["violate", "violate-action"], Key("red")),
    (&["counter", "counters"], Key("count")),
    (&["class-id", "skb-priority", "prio"], Key("priority")),
    (&["id", "title", "label", "rule"], Key("name")),
    (&["comment", "description"], Advice("a comment begins with #, and `name` is shown wherever the rule is")),
];

/// What other tools call fields.
const MATCH: Meanings = &[
    (&["tos", "ds", "class", "dscp-class", "codepoint"], Key("dscp")),
    (&["protocol", "protocols", "l4proto", "ip-protocol", "next-header", "nexthdr"], Key("proto")),
    (&["version", "ip-version", "nfproto", "af"], Key("family")),
    (&["saddr", "source", "src-ip", "src-addr", "source-address", "src-net"], Key("src")),
    (&["daddr", "destination", "dest", "dst-ip", "dst-addr", "destination-address", "dst-net"], Key("dst")),
    (&["sport", "sports", "srcport", "source-port", "source-ports"], Key("src-port")),
    (&["dport", "dports", "dstport", "dest-port", "destination-port", "destination-ports"], Key("dst-port")),
    (&["ports", "port-range"], Key("port")),
    (&["iif", "iifname", "in-interface", "input"], Key("from")),
    (&["fwmark", "meta-mark", "skb-mark"], Key("mark")),
    (&["len", "size"], Key("length")),
    (&["frag"], Key("fragment")),
    (&["vid", "vlan-id"], Key("vlan")),
    (&["cos"], Key("pcp")),
    (&["icmp", "icmpv6-type"], Key("icmp-type")),
    (
        &["interface", "iface", "oif", "oifname", "out-interface", "output", "direction"],
        Advice("the interface and the direction of a hook are in `on`, beside `match`"),
    ),
    (&["ecn"], Advice("no rule asks for the ECN bits: they stay as they are, whatever a rule does")),
    (&["state", "ct", "ctstate", "conntrack"], Advice("connections are not tracked here: ask for addresses and ports")),
];

const METER: Meanings = &[
    (&["color", "green", "yellow", "red"], Color),
    (&["conform", "conform-action"], Color),
    (&["exceed", "exceed-action", "violate", "violate-action"], Color),
    (&["kind", "algorithm", "mode"], Key("type")),
    (&["rate", "bandwidth", "committed-rate"], Key("cir")),
    (&["bc", "burst", "committed-burst"], Key("cbs")),
    (&["be", "excess-burst"], Key("ebs")),
    (&["peak", "peak-rate"], Key("pir")),
    (&["peak-burst"], Key("pbs")),
];

const TEST: Meanings = &[
    (&["interface", "hook", "where", "at"], Key("on")),
    (&["pkt", "frame", "input", "send"], Key("packet")),
    (&["result", "want", "wanted", "output", "set", "dscp", "action", "verdict"], Key("expect")),
];

const PACKET: Meanings = &[
    (&["tos", "ds", "class"], Key("dscp")),
    (&["iif", "iifname", "in", "interface"], Key("from")),
    (&["len", "size"], Key("length")),
    (&["vid", "vlan-id"], Key("vlan")),
    (&["cos"], Key("pcp")),
    (&["frag"], Key("fragment")),
    (&["fwmark"], Key("mark")),
    (&["type"], Key("icmp-type")),
    (
        &["port", "ports", "sport", "dport", "src-port", "dst-port"],
        Advice("a port stands behind its address: 192.0.2.1:5060 or [2001:db8::1]:5060"),
    ),
];

/// Verdicts in the words of other tools.
const VERDICTS: &[(&str, &str)] = &[
    ("accept", "keep"),
    ("pass", "keep"),
    ("permit", "keep"),
    ("allow", "keep"),
    ("transmit", "keep"),
    ("unchanged", "keep"),
    ("deny", "drop"),
    ("discard", "drop"),
    ("reject", "drop"),
    ("block", "drop"),
];

/// What is known of a key that is none in its table, as a sentence.
pub(super) fn help(within: Within, entry: &Entry) -> Option<String> {
    let word = &*entry.key.text;
    Some(match meaning(within, word)? {
        Key(key) => format!("did you mean `{key}`?"),
        Advice(advice) => advice.to_owned(),
        Does => format!("what a rule does has a key of its own: write {}", does(&entry.value)),
        Color => color(word, &entry.value),
    })
}

/// The key of the same table that is meant by a word.
pub(super) fn key(within: Within, word: &str) -> Option<&'static str> {
    match meaning(within, word)? {
        Key(key) => Some(key),
        Advice(_) | Does | Color => None,
    }
}

/// What is known of a word that has no key.
pub(super) fn advice(within: Within, word: &str) -> Option<&'static str> {
    match meaning(within, word)? {
        Advice(advice) => Some(advice),
        Key(_) | Does | Color => None,
    }
}

/// `keep` or `drop` in the word of another tool.
pub(super) fn verdict(word: &str) -> Option<&'static str> {
    VERDICTS.iter().find(|(other, _)| other.eq_ignore_ascii_case(word)).map(|(_, verdict)| *verdict)
}

fn meaning(within: Within, word: &str) -> Option<Meant> {
    let all = match within {
        Within::File => FILE,
        Within::Interface => INTERFACE,
        Within::Rule => RULE,
        Within::Match => MATCH,
        Within::Meter => METER,
        Within::Test => TEST,
        Within::Packet => PACKET,
    };
    let word = word.replace('_', "-").to_ascii_lowercase();
    all.iter().find(|(words, _)| words.contains(&&*word)).map(|(_, meant)| *meant)
}

/// What a rule does, in its own words, by a value such as `"drop"` or `"AF41"`.
fn does(value: &Node) -> String {
    const ALL: &str = "set = \"EF\", drop = true or meter = { ... }";
    let Some(word) = words::scalar(value) else { return ALL.to_owned() };
    let word = word.trim();
    match verdict(word).unwrap_or(word) {
        "drop" => "drop = true".to_owned(),
        "count" => "count = true".to_owned(),
        "log" => "log = \"1/s\"".to_owned(),
        "keep" => "set = \"keep\"".to_owned(),
        word if word.parse::<Dscp>().is_ok() => format!("set = {}", words::literal(value, word)),
        _ => ALL.to_owned(),
    }
}

/// Colors stand beside the meter that gives them.
fn color(word: &str, value: &Node) -> String {
    let key = key(Within::Rule, word).unwrap_or(word);
    let written = match &value.kind {
        Kind::Table(_) | Kind::Array(_) => "...".to_owned(),
        _ => words::scalar(value).map_or_else(|| "...".to_owned(), |word| words::literal(value, &word)),
    };
    format!("it stands in the rule, beside `meter`: write {} = {written} on a line of its own", shown(key))
}
