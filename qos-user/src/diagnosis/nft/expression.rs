//! What a rule of nftables asks of a packet and does with it, from its expressions.

use std::collections::BTreeMap;

use qos_common::ds::Dscp;
use serde_json::Value;

use super::{Key, strings};
use crate::diagnosis::outside::{Asks, Does, Interfaces, Packets, family};

/// The elements of maps.
pub(super) type Maps<'a> = BTreeMap<Key, &'a [Value]>;

/// How a rule, or an element of its map, ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// The packet does not go on: the word for it.
    Take(&'static str),
    /// Another chain is asked.
    Call(&'a str),
}

impl Verdict<'_> {
    pub(super) const fn takes(self) -> Option<&'static str> {
        match self {
            Self::Take(word) => Some(word),
            Self::Call(_) => None,
        }
    }
}

/// What the matches of a rule ask, in a table of this family.
pub(super) fn asks(table: &str, expressions: &[Value]) -> Asks {
    let matches = || expressions.iter().filter_map(|expression| expression.get("match"));
    let interfaces = |keys| matches().filter_map(move |found| interfaces(found, keys)).collect();
    let words = expressions.iter().filter_map(family_word).chain([table]);
    Asks {
        iif: interfaces(IN),
        oif: interfaces(OUT),
        packets: Packets {
            dscps: matches().filter_map(codepoints).fold(u64::MAX, |all, these| all & these),
            families: words.filter_map(family).fold([true; 2], |all, these| [all[0] && these[0], all[1] && these[1]]),
        },
    }
}

const IN: [&str; 2] = ["iifname", "iif"];
const OUT: [&str; 2] = ["oifname", "oif"];

/// Where nft looks at a field of a header, it has asked for the family before.
fn family_word(expression: &Value) -> Option<&str> {
    let found = &expression["match"];
    let is_family =
        matches!(found["left"]["meta"]["key"].as_str(), Some("nfproto" | "protocol")) && found["op"] == "==";
    let of = [&found["left"], &expression["mangle"]["key"], &expression["vmap"]["key"]];
    let asked = of.into_iter().find_map(|value| value["payload"]["protocol"].as_str());
    asked.or_else(|| found["right"].as_str().filter(|_| is_family))
}

fn interfaces(found: &Value, keys: [&str; 2]) -> Option<Interfaces> {
    let key = found["left"]["meta"]["key"].as_str()?;
    if !keys.contains(&key) {
        return None;
    }
    let right = found["right"].get("set").unwrap_or(&found["right"]);
    // A set by its name is not read: then any interface may be meant.
    let patterns: Vec<_> = strings(right).into_iter().filter(|name| !name.starts_with('@')).collect();
    let negated = found["op"] == "!=";
    (!patterns.is_empty()).then_some(Interfaces { patterns, negated })
}

/// The codepoints that a match on them lets through.
fn codepoints(found: &Value) -> Option<u64> {
    let right = found["right"].get("set").unwrap_or(&found["right"]);
    let list = right.as_array().map_or(std::slice::from_ref(right), Vec::as_slice);
    let bits = |value| bits(&found["left"], value);
    let bits = list.iter().map(bits).try_fold(0, |all, these| Some(all | these?))?;
    match found["op"].as_str() {
        Some("==" | "in") => Some(bits),
        Some("!=") => Some(!bits),
        _ => None,
    }
}

/// The codepoints of which what is looked at is a value, or in a range; `None` if something else is looked at.
fn bits(left: &Value, right: &Value) -> Option<u64> {
    if !looks_at_mark(left) {
        return None;
    }
    let (first, last) = match right["range"].as_array().map(Vec::as_slice) {
        Some([first, last]) => (number(first, 0)?, number(last, 0)?),
        _ => (number(right, 0)?, number(right, 0)?),
    };
    let is_meant = |ds: &u8| number(left, *ds).is_some_and(|seen| (first..=last).contains(&seen));
    number(left, 0)?;
    Some((0..=u8::MAX).filter(is_meant).fold(0, |all, ds| all | 1 << (ds >> 2)))
}

/// What an expression is of a packet with a DS field: names and numbers, the codepoint, the second byte of IPv4, and what
/// nft makes of them.
fn number(value: &Value, ds: u8) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(name) => Some(name.parse::<Dscp>().ok()?.value().into()),
        Value::Object(_) if mark_bits(value).is_some() => mark_bits(value).map(|bits| u64::from(ds) >> (8 - bits)),
        Value::Object(operation) => {
            let (sign, operands) = operation.iter().next()?;
            let [left, right] = operands.as_array()?.as_slice() else { return None };
            calculated(sign, number(left, ds)?, number(right, ds)?)
        }
        _ => None,
    }
}

fn calculated(sign: &str, left: u64, right: u64) -> Option<u64> {
    match sign {
        "&" => Some(left & right),
        "|" => Some(left | right),
        "^" => Some(left ^ right),
        ">>" => left.checked_shr(right.try_into().ok()?),
        "<<" => left.checked_shl(right.try_into().ok()?),
        _ => None,
    }
}

/// How many bits of the DS field a field of a header is, from the first one on: by its name, or by its offset in IPv4.
fn mark_bits(value: &Value) -> Option<u64> {
    let payload = value.get("payload")?;
    if payload["field"] == "dscp" {
        return Some(6);
    }
    let by_offset = payload["base"] == "nh" && payload["offset"] == 8;
    payload["len"].as_u64().filter(|bits| by_offset && (1..=8).contains(bits))
}

fn looks_at_mark(value: &Value) -> bool {
    match value {
        Value::Object(parts) => mark_bits(value).is_some() || parts.values().any(looks_at_mark),
        Value::Array(parts) => parts.iter().any(looks_at_mark),
        _ => false,
    }
}

/// How a rule of a chain may end, and what is asked for that beside its matches.
pub(super) fn verdicts<'a>(
    (family, table, _): &Key,
    expressions: &'a [Value],
    maps: &Maps<'a>,
) -> Vec<(Asks, Verdict<'a>)> {
    let elements = |data: &'a Value| match data.as_str() {
        Some(name) => {
            let key = (family.clone(), table.clone(), name.trim_start_matches('@').to_owned());
            maps.get(&key).copied().unwrap_or_default()
        }
        None => data["set"].as_array().map_or(&[][..], Vec::as_slice),
    };
    let of = |expression: &'a Value| {
        let map = &expression["vmap"];
        let chosen = elements(&map["data"]).iter().filter_map(|element| {
            let verdict = verdict(element.get(1)?)?;
            Some((chosen_by(&map["key"], element.get(0)?), verdict))
        });
        verdict(expression).map(|verdict| (Asks::NOTHING, verdict)).into_iter().chain(chosen).collect::<Vec<_>>()
    };
    expressions.iter().flat_map(of).collect()
}

fn verdict(expression: &Value) -> Option<Verdict<'_>> {
    let (verb, argument) = expression.as_object()?.iter().next()?;
    match verb.as_str() {
        "drop" => Some(Verdict::Take("drop")),
        "reject" => Some(Verdict::Take("reject")),
        "jump" | "goto" => argument["target"].as_str().map(Verdict::Call),
        _ => None,
    }
}

/// What an element of a map asks of the packets that it is chosen for.
fn chosen_by(key: &Value, element: &Value) -> Asks {
    let value = element["elem"].get("val").unwrap_or(element);
    let chosen = serde_json::json!({ "op": "==", "left": key, "right": value });
    Asks {
        iif: interfaces(&chosen, IN).into_iter().collect(),
        oif: interfaces(&chosen, OUT).into_iter().collect(),
        packets: Packets { dscps: codepoints(&chosen).unwrap_or(u64::MAX), ..Packets::ALL },
    }
}

/// What a rule does, where nft does not tell how it is written.
pub(super) fn in_words(does: Does) -> String {
    match does {
        Does::Mark(Some(dscp)) => format!("dscp set {dscp}"),
        Does::Mark(None) => "dscp set".to_owned(),
        Does::SourceNat => "snat".to_owned(),
        Does::DestinationNat => "dnat".to_owned(),
        Does::Take(verdict) => verdict.to_owned(),
    }
}

/// What an expression changes of a packet that matters here.
pub(super) fn does(expression: &Value) -> Option<Does> {
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

/// `"ef"`, `46`.
fn codepoint(value: &Value) -> Option<Dscp> {
    match value {
        Value::String(name) => name.parse().ok(),
        Value::Number(number) => Dscp::new(u8::try_from(number.as_u64()?).ok()?),
        _ => None,
    }
}
