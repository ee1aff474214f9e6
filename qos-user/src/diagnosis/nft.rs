//! Rules of nftables, from `nft -j -a list ruleset`; how each is written, from the same list as text.

use std::collections::BTreeMap;

use qos_common::ds::Dscp;
use serde_json::Value;

use super::{
    Command,
    facts::Asked,
    outside::{Does, Interfaces, Packets, Rule, Stage, family},
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

type Key = (String, String, String);

/// Reads a ruleset; of `text` only what rules say is taken, and it may be empty.
///
/// # Errors
///
/// That it is no list of nft.
pub fn read(json: &str, text: &str) -> Asked<Ruleset> {
    let document: Value = serde_json::from_str(json).map_err(|error| format!("its JSON cannot be read: {error}"))?;
    let items = document["nftables"].as_array().ok_or("its JSON has no `nftables`")?;
    let (written, bound) = (written(text), bound(text));
    let of = |kind: &'static str| items.iter().filter_map(move |item| item.get(kind));
    let stages: BTreeMap<Key, Stage> = of("chain").map(|chain| (key(chain, "name"), stage(chain))).collect();
    let mut flowtables: Vec<Flowtable> = of("flowtable").map(|table| flowtable(table, text)).collect();
    let mut rules = Vec::new();
    for item in of("rule") {
        let line = Line::new(item, &stages, &written, &bound);
        line.feed(&mut flowtables);
        rules.extend(line.rule());
    }
    Ok(Ruleset { rules, flowtables })
}

fn word(item: &Value, field: &str) -> String {
    item[field].as_str().unwrap_or_default().to_owned()
}

fn key(item: &Value, chain: &str) -> Key {
    (word(item, "family"), word(item, "table"), word(item, chain))
}

fn stage(chain: &Value) -> Stage {
    Stage::of(chain["hook"].as_str().unwrap_or_default())
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
    stage: Stage,
    text: Option<&'a String>,
    bound: Option<&'a Vec<String>>,
    expressions: &'a [Value],
}

impl<'a> Line<'a> {
    fn new(
        item: &'a Value,
        stages: &BTreeMap<Key, Stage>,
        written: &'a BTreeMap<Key, String>,
        bound: &'a BTreeMap<(String, String), Vec<String>>,
    ) -> Self {
        let chain = key(item, "chain");
        let handle = item["handle"].to_string();
        let table = format!("{} {}", chain.0, chain.1);
        Self {
            stage: stages.get(&chain).copied().unwrap_or(Stage::Called),
            bound: bound.get(&(table.clone(), chain.2.clone())),
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

    fn rule(&self) -> Option<Rule> {
        let does = self.expressions.iter().find_map(does)?;
        let matches = || self.expressions.iter().filter_map(|expression| expression.get("match"));
        let interfaces = |stage, keys: [&str; 2]| {
            let asked = || matches().find_map(|found| interfaces(found, keys)).unwrap_or_default();
            self.bound_at(stage).unwrap_or_else(asked)
        };
        Some(Rule {
            place: self.place(),
            text: self.text.map_or_else(|| in_words(does), String::clone),
            does,
            stage: self.stage,
            iif: interfaces(Stage::Incoming, ["iifname", "iif"]),
            oif: interfaces(Stage::Outgoing, ["oifname", "oif"]),
            packets: Packets {
                dscps: matches().filter_map(codepoints).fold(u64::MAX, |all, these| all & these),
                families: self.families(),
            },
            removal: self.removal(),
        })
    }

    /// The interfaces of a chain that sees no packet of any other.
    fn bound_at(&self, stage: Stage) -> Option<Interfaces> {
        let patterns = self.bound.filter(|_| self.stage == stage)?.clone();
        Some(Interfaces { patterns, negated: false })
    }

    /// By the table's family, and by the headers that it looks at or writes to.
    fn families(&self) -> [bool; 2] {
        let words = self.expressions.iter().filter_map(family_word).chain([self.chain.0.as_str()]);
        words.filter_map(family).fold([true; 2], |all, these| [all[0] && these[0], all[1] && these[1]])
    }
}

fn in_words(does: Does) -> String {
    match does {
        Does::Mark(Some(dscp)) => format!("dscp set {dscp}"),
        Does::Mark(None) => "dscp set".to_owned(),
        Does::SourceNat => "snat".to_owned(),
        Does::DestinationNat => "dnat".to_owned(),
    }
}

fn does(expression: &Value) -> Option<Does> {
    let (verb, argument) = expression.as_object()?.iter().next()?;
    match verb.as_str() {
        "masquerade" | "snat" => Some(Does::SourceNat),
        "dnat" | "redirect" => Some(Does::DestinationNat),
        "mangle" => mangles(argument),
        _ => None,
    }
}

/// `ip dscp set ...`, or the same by offset: the second byte of IPv4, bits 4 to 11 of IPv6.
fn mangles(argument: &Value) -> Option<Does> {
    let payload = argument["key"].get("payload")?;
    if payload["field"] == "dscp" {
        return Some(Does::Mark(codepoint(&argument["value"])));
    }
    let raw = payload["base"] == "nh" && [4, 8].iter().any(|offset| payload["offset"] == *offset);
    let byte = payload["len"] == 8;
    let value = argument["value"].as_u64().filter(|_| byte).and_then(|byte| Dscp::new(u8::try_from(byte >> 2).ok()?));
    raw.then_some(Does::Mark(value))
}

/// Where nft looks at a field of a header, it has asked for the family before.
fn family_word(expression: &Value) -> Option<&str> {
    let found = &expression["match"];
    let is_family =
        matches!(found["left"]["meta"]["key"].as_str(), Some("nfproto" | "protocol")) && found["op"] == "==";
    let of = [&found["left"], &expression["mangle"]["key"]];
    let asked = of.into_iter().find_map(|value| value["payload"]["protocol"].as_str());
    asked.or_else(|| found["right"].as_str().filter(|_| is_family))
}

/// `"ef"`, `46`.
fn codepoint(value: &Value) -> Option<Dscp> {
    match value {
        Value::String(name) => name.parse().ok(),
        Value::Number(number) => Dscp::new(u8::try_from(number.as_u64()?).ok()?),
        _ => None,
    }
}

fn interfaces(found: &Value, keys: [&str; 2]) -> Option<Interfaces> {
    let key = found["left"]["meta"]["key"].as_str()?;
    if !keys.contains(&key) {
        return None;
    }
    let right = found["right"].get("set").unwrap_or(&found["right"]);
    // A set by its name is not read: then any interface may be meant.
    let patterns: Vec<_> = strings(right).into_iter().filter(|name| !name.starts_with('@')).collect();
    let negated = found["op"] == "!=" && !patterns.is_empty();
    Some(Interfaces { patterns, negated })
}

/// The codepoints that a match on them lets through.
fn codepoints(found: &Value) -> Option<u64> {
    if found["left"]["payload"]["field"] != "dscp" {
        return None;
    }
    let right = found["right"].get("set").unwrap_or(&found["right"]);
    let list = right.as_array().map_or(std::slice::from_ref(right), Vec::as_slice);
    let bits = list.iter().map(bits).try_fold(0, |all, these| Some(all | these?))?;
    match found["op"].as_str() {
        Some("==" | "in") => Some(bits),
        Some("!=") => Some(!bits),
        _ => None,
    }
}

fn bits(value: &Value) -> Option<u64> {
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        let range = codepoint(first)?.value()..=codepoint(last)?.value();
        return Some(range.fold(0, |all, dscp| all | 1 << dscp));
    }
    codepoint(value).map(|dscp| 1 << dscp.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Direction;

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
        assert!(rules.iter().all(|rule| rule.stage == Stage::Outgoing));
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
        let dscps: Vec<_> = rules.iter().map(|rule| rule.packets.dscps).collect();
        let ef = 1 << 46;
        assert_eq!(dscps, [ef, u64::MAX, ef | 1 << 48, u64::MAX, ef | 1 << 47 | 1 << 48, ef]);
        assert!(rules[0].takes(Dscp::EF) && !rules[0].takes(Dscp::CS6));
        assert!(!rules[3].takes(Dscp::EF), "it sets what is there");
    }

    #[test]
    fn chains_that_are_called_and_those_of_devices_are_read() {
        assert_eq!(of_chain("sub")[0].stage, Stage::Called);
        assert_eq!(of_chain("in")[0].stage, Stage::Incoming);
        assert_eq!(of_chain("eg")[0].stage, Stage::Outgoing);
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
        assert_eq!([rules[0].packets.families, rules[1].packets.families], [[true, false], [false, true]]);
        assert_eq!(rules[0].text, "ip dscp set cs1");
    }

    #[test]
    fn which_family_a_rule_is_about_is_known() {
        let families: Vec<_> = of_chain("post").iter().map(|rule| rule.packets.families).collect();
        let (v4, v6) = ([true, false], [false, true]);
        assert_eq!(families, [v4, v6, v4, v4, v4, v4]);
    }

    #[test]
    fn translations_are_found() {
        let nat: Vec<_> = of_chain("nat").iter().map(|rule| (rule.does, rule.oif.patterns.clone())).collect();
        assert_eq!(nat, [(Does::SourceNat, vec!["wan0".to_owned()]), (Does::SourceNat, vec!["wan1".to_owned()])]);
        assert_eq!(of_chain("pre")[0].does, Does::DestinationNat);
        assert_eq!(of_chain("pre")[0].iif.patterns, ["wan0"]);
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
