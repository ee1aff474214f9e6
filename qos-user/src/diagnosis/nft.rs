//! Rules of nftables, from `nft -j -a list ruleset`; how each is written, from the same list as text.

mod calls;
mod expression;

use std::collections::BTreeMap;

use serde_json::Value;

use self::{
    calls::Calls,
    expression::{Maps, Verdict, asks, does, in_words, verdicts},
};
use super::{
    Command,
    facts::Asked,
    outside::{Asks, Does, Packets, Rule, Way},
};

/// What matters here of a ruleset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Rules that set codepoints or translate addresses.
    pub rules: Vec<Rule>,
    /// Flowtables.
    pub flowtables: Vec<Flowtable>,
}

/// A flowtable: its flows skip routing and the rules of nft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flowtable {
    /// Family and table: `inet fw`.
    pub table: String,
    /// Its name.
    pub name: String,
    /// The interfaces that it takes packets from.
    pub interfaces: Vec<String>,
    /// Whether the device may forward by itself.
    pub hardware: bool,
    /// The rules that put flows into it: place, and the command that removes it.
    pub fed_by: Vec<(String, Command)>,
}

/// Family, table, and a chain or a map in it.
type Key = (String, String, String);

/// Reads a ruleset; of `text` only what rules say is taken, and it may be empty.
///
/// # Errors
///
/// That it is no list of nft.
pub fn read(json: &str, text: &str) -> Asked<Ruleset> {
    let document: Value = serde_json::from_str(json).map_err(|error| format!("its JSON cannot be read: {error}"))?;
    let items = document["nftables"].as_array().ok_or("its JSON has no `nftables`")?;
    let of = |kind: &'static str| items.iter().filter_map(move |item| item.get(kind));
    let maps: Maps<'_> =
        of("map").map(|map| (key(map, "name"), map["elem"].as_array().map_or(&[][..], Vec::as_slice))).collect();
    let written = written(text);
    let lines: Vec<Line<'_>> = of("rule").map(|item| Line::new(item, &written)).collect();
    let calls = Calls::read(of("chain"), &bound(text), lines.iter().flat_map(|line| line.calls(&maps)));
    let mut flowtables: Vec<Flowtable> = of("flowtable").map(|table| flowtable(table, text)).collect();
    lines.iter().for_each(|line| line.feed(&mut flowtables));
    let rules = lines.iter().filter_map(|line| line.rule(&maps, calls.ways(&line.chain))).collect();
    Ok(Ruleset { rules, flowtables })
}

fn word(item: &Value, field: &str) -> String {
    item[field].as_str().unwrap_or_default().to_owned()
}

fn key(item: &Value, chain: &str) -> Key {
    (word(item, "family"), word(item, "table"), word(item, chain))
}

fn flowtable(item: &Value, text: &str) -> Flowtable {
    let (family, table, name) = key(item, "name");
    Flowtable {
        hardware: is_hardware(item, text, &name),
        table: format!("{family} {table}"),
        name,
        interfaces: strings(&item["dev"]),
        fed_by: Vec::new(),
    }
}

/// Not every version of nft has the flags in its JSON.
fn is_hardware(item: &Value, text: &str, name: &str) -> bool {
    let header = format!("flowtable {name} {{");
    let block = text.split(&header).nth(1).and_then(|rest| rest.split('}').next());
    // The block's `devices = { ... }` ends the search, which the flags may follow.
    let behind = text.split(&header).nth(1).and_then(|rest| rest.split('}').nth(1));
    let in_text = |part: Option<&str>| {
        part.is_some_and(|part| part.lines().any(|line| line.trim().starts_with("flags") && line.contains("offload")))
    };
    strings(&item["flags"]).iter().any(|flag| flag == "offload") || in_text(block) || in_text(behind)
}

/// One text, or a list of them.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Each line of a chain, with table and chain.
fn in_chains(text: &str) -> Vec<(String, String, &str)> {
    let (mut table, mut chain) = (String::new(), String::new());
    let mut lines = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        let head = trimmed.split(" {").next().unwrap_or_default();
        if let Some(name) = head.strip_prefix("table ").filter(|_| !line.starts_with('\t')) {
            table = name.to_owned();
        } else if let Some(name) = head.strip_prefix("chain ").filter(|_| trimmed.contains('{')) {
            chain = name.to_owned();
        } else {
            lines.push((table.clone(), chain.clone(), trimmed));
        }
    }
    lines
}

/// How each rule is written, by table, chain and handle.
fn written(text: &str) -> BTreeMap<(String, String, String), String> {
    let rules = in_chains(text).into_iter().filter_map(|(table, chain, line)| {
        let (rule, handle) = line.rsplit_once(" # handle ")?;
        Some(((table, chain, handle.to_owned()), rule.to_owned()))
    });
    rules.collect()
}

/// The devices that a chain is bound to, by table and chain. Not every version of nft has them in its JSON.
fn bound(text: &str) -> BTreeMap<(String, String), Vec<String>> {
    let chains = in_chains(text).into_iter().filter_map(|(table, chain, line)| {
        let (_, behind) = line.strip_prefix("type ")?.split_once(" device")?;
        let (list, _) = behind.split_once(" priority ")?;
        let names = list.trim_start_matches("s = ").trim().trim_start_matches('{').trim_end_matches('}').split(',');
        Some(((table, chain), names.map(|name| name.trim().trim_matches('"').to_owned()).collect()))
    });
    chains.collect()
}

/// A rule as nft has it.
struct Line<'a> {
    chain: Key,
    handle: String,
    text: Option<&'a String>,
    expressions: &'a [Value],
}

impl<'a> Line<'a> {
    fn new(item: &'a Value, written: &'a BTreeMap<Key, String>) -> Self {
        let chain = key(item, "chain");
        let handle = item["handle"].to_string();
        let table = format!("{} {}", chain.0, chain.1);
        Self {
            text: written.get(&(table, chain.2.clone(), handle.clone())),
            expressions: item["expr"].as_array().map_or(&[], Vec::as_slice),
            chain,
            handle,
        }
    }

    fn place(&self) -> String {
        let (family, table, chain) = &self.chain;
        format!("nft table {family} {table} chain {chain} handle {}", self.handle)
    }

    fn removal(&self) -> Command {
        let (family, table, chain) = &self.chain;
        let place = Command::new("nft delete rule").word(family).word(table).word(chain);
        place.words("handle").word(&self.handle)
    }

    fn feed(&self, flowtables: &mut [Flowtable]) {
        let (family, table, _) = &self.chain;
        for name in self.expressions.iter().filter_map(|expression| expression["flow"]["flowtable"].as_str()) {
            let name = name.trim_start_matches('@');
            let fed = flowtables.iter_mut().find(|fed| fed.name == name && fed.table == format!("{family} {table}"));
            if let Some(fed) = fed {
                fed.fed_by.push((self.place(), self.removal()));
            }
        }
    }

    fn asks(&self) -> Asks {
        asks(&self.chain.0, self.expressions)
    }

    /// Its verdicts, with all that it asks before it comes to them.
    fn verdicts(&self, maps: &Maps<'a>) -> impl Iterator<Item = (Asks, Verdict<'a>)> + use<'a> {
        let asks = self.asks();
        verdicts(&self.chain, self.expressions, maps).into_iter().map(move |(more, verdict)| (asks.and(&more), verdict))
    }

    /// The chains that it calls: caller, what it asks, and the one that is called.
    fn calls(&self, maps: &Maps<'a>) -> Vec<(Key, Asks, Key)> {
        let called = |(asks, verdict)| match verdict {
            Verdict::Call(name) => {
                let (family, table, _) = &self.chain;
                Some((self.chain.clone(), asks, (family.clone(), table.clone(), name.to_owned())))
            }
            Verdict::Take(_) => None,
        };
        self.verdicts(maps).filter_map(called).collect()
    }

    /// What matters here of it, if packets come to it by one of these ways.
    fn rule(&self, maps: &Maps<'a>, by: &[Way]) -> Option<Rule> {
        let (does, ways) = match self.expressions.iter().find_map(does) {
            Some(does) => (does, narrowed(by, &self.asks())),
            None => self.takes(maps, by)?,
        };
        let text = self.text.map_or_else(|| in_words(does), String::clone);
        (!ways.is_empty()).then(|| Rule { place: self.place(), text, does, ways, removal: self.removal() })
    }

    /// What it drops or rejects by the mark: of all that firewalls drop, the rest is nothing to us.
    fn takes(&self, maps: &Maps<'a>, by: &[Way]) -> Option<(Does, Vec<Way>)> {
        let taken: Vec<_> =
            self.verdicts(maps).filter_map(|(asks, verdict)| verdict.takes().map(|word| (asks, word))).collect();
        let ways = taken.iter().flat_map(|(asks, _)| narrowed(by, asks));
        let ways: Vec<_> = ways.filter(|way| way.asks.packets.dscps != Packets::ALL.dscps).collect();
        let (_, word) = taken.first()?;
        Some((Does::Take(word), ways))
    }
}

/// The same ways, as far as they lead on.
fn narrowed(ways: &[Way], asks: &Asks) -> Vec<Way> {
    let on = ways.iter().map(|way| Way { asks: way.asks.and(asks), ..*way });
    on.filter(|way| !way.asks.packets.are_none()).collect()
}

#[cfg(test)]
mod tests {
    use qos_common::ds::Dscp;

    use super::*;
    use crate::{
        diagnosis::outside::{Outside, Stage},
        hook::Direction,
    };

    /// What nft 1.0.6 said of a ruleset on Linux 6.18.
    const JSON: &str = include_str!("testdata/nft.json");
    const TEXT: &str = include_str!("testdata/nft.txt");

    fn rules() -> Vec<Rule> {
        read(JSON, TEXT).unwrap().rules
    }

    fn of_chain(chain: &str) -> Vec<Rule> {
        rules().into_iter().filter(|rule| rule.place.contains(&format!(" chain {chain} "))).collect()
    }

    #[test]
    fn rules_that_mark_are_found_with_handle_and_text() {
        let rules = of_chain("post");
        let marks: Vec<_> = rules.iter().map(|rule| (rule.words(), rule.does)).collect();
        let mark = |value| Does::Mark(Dscp::new(value));
        let place = "nft table inet qos chain post handle";
        assert_eq!(
            marks,
            [
                (format!("{place} 6: oifname \"wan0\" ip dscp ef ip dscp set cs0"), mark(0)),
                (format!("{place} 8: oifname {{ \"wan0\", \"wan1\" }} ip6 dscp set af41 comment \"x\""), mark(34)),
                (
                    format!("{place} 10: oifname @s ip dscp {{ ef, cs6 }} counter packets 0 bytes 0 ip dscp set 0x2a"),
                    mark(42)
                ),
                (format!("{place} 12: meta nfproto ipv4 @nh,8,8 set 0xb8"), mark(46)),
                (format!("{place} 14: oif \"wan0\" ip dscp 0x2e-0x30 ip dscp set cs1"), mark(8)),
                (format!("{place} 15: oifname != \"lan0\" ip dscp ef ip dscp set 0x03"), mark(3)),
            ]
        );
        assert_eq!(rules[0].removal.to_string(), "nft delete rule inet qos post handle 6");
        assert!(rules.iter().all(|rule| rule.ways[0].stage == Stage::Outgoing));
    }

    #[test]
    fn which_packets_a_rule_concerns_is_known() {
        let rules = of_chain("post");
        let at = |interface: &str| {
            let concerned = rules.iter().filter(|rule| rule.concerns(interface, Direction::Egress));
            concerned.map(|rule| rule.place.rsplit_once(' ').unwrap().1).collect::<Vec<_>>()
        };
        assert_eq!(at("wan0"), ["6", "8", "10", "12", "14", "15"]);
        assert_eq!(at("lan0"), ["10", "12"], "a set by its name may mean any interface");
        assert_eq!(at("wan2"), ["10", "12", "15"]);
        let dscps: Vec<_> = rules.iter().map(|rule| rule.packets().dscps).collect();
        let ef = 1 << 46;
        assert_eq!(dscps, [ef, u64::MAX, ef | 1 << 48, u64::MAX, ef | 1 << 47 | 1 << 48, ef]);
        let takes = |rule: &Rule, dscp| rule.takes_between(Packets::of(&[dscp]), &["lan0"], &["wan0"]);
        assert!(takes(&rules[0], Dscp::EF) && !takes(&rules[0], Dscp::CS6));
        assert!(!takes(&rules[3], Dscp::EF), "it sets what is there");
    }

    #[test]
    fn chains_that_are_called_and_those_of_devices_are_read() {
        let stage = |chain: &str| of_chain(chain)[0].ways[0].stage;
        assert_eq!(["sub", "in", "eg"].map(stage), [Stage::Outgoing, Stage::Incoming, Stage::Outgoing]);
        let sub = &of_chain("sub")[0];
        let by = |name: &str| sub.takes_between(Packets::ALL, &[name], &["wan0"]);
        assert!(by("lan7") && !by("wan1"), "as its caller asks");
    }

    /// What nft 1.0.6 said on Linux 6.18: its JSON has no devices.
    #[test]
    fn a_chain_of_a_device_is_about_that_device_alone() {
        let json = r#"{"nftables": [
            {"chain": {"family": "netdev", "table": "t", "name": "two", "handle": 3, "type": "filter", "hook": "ingress",
                       "prio": 1, "policy": "accept"}},
            {"chain": {"family": "netdev", "table": "t", "name": "eg", "handle": 1, "type": "filter", "hook": "egress",
                       "prio": 0, "policy": "accept"}},
            {"rule": {"family": "netdev", "table": "t", "chain": "two", "handle": 6, "expr": [
                {"mangle": {"key": {"payload": {"protocol": "ip", "field": "dscp"}}, "value": "cs1"}}]}},
            {"rule": {"family": "netdev", "table": "t", "chain": "eg", "handle": 4, "expr": [
                {"mangle": {"key": {"payload": {"protocol": "ip6", "field": "dscp"}}, "value": "cs0"}}]}}]}"#;
        let text = "table netdev t { # handle 1\n\tchain two { # handle 3\n\
                    \t\ttype filter hook ingress devices = { x0, y0 } priority filter + 1; policy accept;\n\
                    \t\tip dscp set cs1 # handle 6\n\t}\n\n\tchain eg { # handle 1\n\
                    \t\ttype filter hook egress device \"x0\" priority filter; policy accept;\n\
                    \t\tip6 dscp set cs0 # handle 4\n\t}\n}\n";
        let rules = read(json, text).unwrap().rules;
        let concerned = |rule: &Rule, direction| ["x0", "y0", "z0"].map(|name| rule.concerns(name, direction));
        assert_eq!(concerned(&rules[0], Direction::Ingress), [true, true, false]);
        assert_eq!(concerned(&rules[0], Direction::Egress), [true; 3], "it leaves by any");
        assert_eq!(concerned(&rules[1], Direction::Egress), [true, false, false]);
        assert_eq!([rules[0].packets().families, rules[1].packets().families], [[true, false], [false, true]]);
        assert_eq!(rules[0].text, "ip dscp set cs1");
    }

    /// What nft 1.0.6 said of another ruleset on Linux 6.18.
    fn verdicts() -> Vec<Rule> {
        read(include_str!("testdata/verdicts.json"), include_str!("testdata/verdicts.txt")).unwrap().rules
    }

    #[test]
    fn what_is_dropped_by_its_mark_is_found_with_verdict_and_codepoints() {
        let words: Vec<_> =
            verdicts().iter().filter(|rule| matches!(rule.does, Does::Take(_))).map(Rule::words).collect();
        let said: Vec<_> =
            words.iter().map(|words| words.split_once(" handle ").unwrap().1.split_once(' ').unwrap().1).collect();
        assert_eq!(
            said,
            [
                "drops CS1: limit rate over 10/second drop",
                "drops EF: ip dscp ef limit rate over 100/second counter packets 0 bytes 0 drop",
                "rejects EF: ip6 dscp ef reject with icmpv6 admin-prohibited",
                "drops 6 codepoints: ip dscp vmap { 0x0a-0x0e : drop, cs2 : accept, cs3 : jump sub2, ef : drop }",
                "drops EF: meta nfproto ipv4 (@nh,8,8 & 0xfc) >> 2 vmap @m",
                "drops EF: @nh,8,8 & 0xfc == 0xb8 drop",
                "drops 8 codepoints: meta nfproto ipv4 (@nh,8,8 & 0xfc) >> 2 & 0x38 == 0x28 drop",
            ]
        );
    }

    #[test]
    fn a_called_chain_has_the_packets_of_its_callers() {
        let rules = verdicts();
        let of = |chain: &str| rules.iter().find(|rule| rule.place.contains(&format!(" chain {chain} "))).unwrap();
        let ways: Vec<_> = of("sub2")
            .ways
            .iter()
            .map(|way| {
                (
                    way.asks.packets.marks(),
                    way.concerns("lan0", Direction::Ingress),
                    way.concerns("wan0", Direction::Ingress),
                )
            })
            .collect();
        assert_eq!(ways, [("CS3".to_owned(), true, true), ("64 codepoints".to_owned(), true, false)]);
        let shared = of("shared");
        assert_eq!(["lo", "lan0"].map(|name| shared.concerns(name, Direction::Ingress)), [true, false]);
        assert!(!rules.iter().any(|rule| rule.place.contains(" chain nobody ")), "no packet comes there");
    }

    /// As many ways as nobody tells apart, and chains that call each other, which nft refuses.
    #[test]
    fn calls_without_end_are_followed_to_an_end() {
        let chain = |name: &str, hook: &str| {
            format!(r#"{{"chain": {{"family": "ip", "table": "t", "name": "{name}"{hook}}}}}"#)
        };
        let call = |from: &str, port: &str, to: &str| {
            format!(
                r#"{{"rule": {{"family": "ip", "table": "t", "chain": "{from}", "handle": 1, "expr": [
                {{"match": {{"op": "==", "left": {{"meta": {{"key": "iifname"}}}}, "right": "{port}"}}}},
                {{"jump": {{"target": "{to}"}}}}]}}}}"#
            )
        };
        let mut items = vec![chain("base", r#", "hook": "forward""#), chain("a", ""), chain("b", "")];
        items.extend((0..MANY).map(|port| call("base", &format!("x{port}"), "a")));
        items.extend([call("a", "y", "b"), call("b", "y", "a")]);
        items.push(
            r#"{"rule": {"family": "ip", "table": "t", "chain": "b", "handle": 9, "expr": [
            {"mangle": {"key": {"payload": {"protocol": "ip", "field": "dscp"}}, "value": "cs1"}}]}}"#
                .to_owned(),
        );
        let rules = read(&format!(r#"{{"nftables": [{}]}}"#, items.join(",")), "").unwrap().rules;
        assert!(rules[0].concerns("y", Direction::Ingress), "{rules:?}");
    }

    const MANY: usize = 1000;

    #[test]
    fn which_family_a_rule_is_about_is_known() {
        let families: Vec<_> = of_chain("post").iter().map(|rule| rule.packets().families).collect();
        let (v4, v6) = ([true, false], [false, true]);
        assert_eq!(families, [v4, v6, v4, v4, v4, v4]);
    }

    /// A bridge hands packets up and down, which go through this host all the same.
    #[test]
    fn rules_of_bridges_see_packets_of_their_ports_alone() {
        let table = |hook: &str| {
            let json = format!(
                r#"{{"nftables": [
                {{"chain": {{"family": "bridge", "table": "b", "name": "base", "hook": "{hook}"}}}},
                {{"chain": {{"family": "bridge", "table": "b", "name": "called"}}}},
                {{"rule": {{"family": "bridge", "table": "b", "chain": "base", "handle": 1, "expr": [
                    {{"jump": {{"target": "called"}}}}]}}}},
                {{"rule": {{"family": "bridge", "table": "b", "chain": "called", "handle": 2, "expr": [
                    {{"mangle": {{"key": {{"payload": {{"protocol": "ip", "field": "dscp"}}}}, "value": "cs1"}}}}]}}}}]}}"#
            );
            Outside { nft: read(&json, ""), iptables: Vec::new() }
        };
        let bridges = ["br0", "p1"].map(str::to_owned);
        let between = |hook: &str, from: &str, to: &str| {
            let known = table(hook).among(&bridges);
            known.markers().any(|rule| rule.takes_between(Packets::ALL, &[from], &[to]))
        };
        let ways = [("p1", "br0"), ("p1", "wan0"), ("wan0", "p1"), ("lan0", "wan0")];
        for (hook, expected) in [
            ("prerouting", [true, true, false, false]),
            ("input", [true, true, false, false]),
            ("forward", [true, false, false, false]),
            ("output", [true, false, true, false]),
            ("postrouting", [true, false, true, false]),
        ] {
            assert_eq!(ways.map(|(from, to)| between(hook, from, to)), expected, "{hook}");
            assert_eq!(table(hook).among(&[]).markers().count(), 0, "{hook}: no bridge, no packet");
        }
    }

    #[test]
    fn translations_are_found() {
        let nat: Vec<_> =
            of_chain("nat").iter().map(|rule| (rule.does, rule.ways[0].asks.oif[0].patterns.clone())).collect();
        assert_eq!(nat, [(Does::SourceNat, vec!["wan0".to_owned()]), (Does::SourceNat, vec!["wan1".to_owned()])]);
        assert_eq!(of_chain("pre")[0].does, Does::DestinationNat);
        assert_eq!(of_chain("pre")[0].ways[0].asks.iif[0].patterns, ["wan0"]);
    }

    /// libnftables-json(5) has these fields; this kernel has no flowtables to list.
    #[test]
    fn a_flowtable_counts_if_a_rule_puts_flows_into_it() {
        let json = r#"{"nftables": [
            {"table": {"family": "inet", "name": "fw", "handle": 1}},
            {"flowtable": {"family": "inet", "name": "ft", "table": "fw", "handle": 2, "hook": "ingress", "prio": 0,
                           "dev": ["lan0", "wan0"]}},
            {"flowtable": {"family": "inet", "name": "idle", "table": "fw", "handle": 3, "hook": "ingress", "prio": 0,
                           "dev": "lan0"}},
            {"chain": {"family": "inet", "table": "fw", "name": "fwd", "handle": 4, "type": "filter",
                       "hook": "forward", "prio": 0, "policy": "accept"}},
            {"rule": {"family": "inet", "table": "fw", "chain": "fwd", "handle": 5,
                      "expr": [{"flow": {"op": "add", "flowtable": "@ft"}}]}}]}"#;
        let tables = |text| read(json, text).unwrap().flowtables;
        let [ft, idle] = &tables("")[..] else { panic!("two tables") };
        assert_eq!(ft.interfaces, ["lan0", "wan0"]);
        assert_eq!(
            ft.fed_by,
            [("nft table inet fw chain fwd handle 5".to_owned(), Command::new("nft delete rule inet fw fwd handle 5"))]
        );
        assert!(!ft.hardware && idle.fed_by.is_empty() && idle.interfaces == ["lan0"]);
        let text = "table inet fw { # handle 1\n\tflowtable ft {\n\t\thook ingress priority filter\n\
                    \t\tdevices = { lan0, wan0 }\n\t\tflags offload\n\t}\n}\n";
        assert!(tables(text)[0].hardware && !tables(text)[1].hardware);
    }

    #[test]
    fn what_is_no_ruleset_says_so() {
        assert!(read("", "").unwrap_err().contains("cannot be read"));
        assert!(read("{}", "").is_err());
    }
}
