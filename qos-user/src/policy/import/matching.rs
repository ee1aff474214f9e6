//! A condition as the text of `match`.

use core::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use qos_common::ds::Dscp;

use super::{
    condition::{Addresses, Bits, Condition, FIRST, LATER, Number, V4, V6, WHOLE},
    spans::Spans,
};
use crate::policy::protocols;

/// A list in a rule with more members than this becomes a set.
const MOST_IN_A_RULE: usize = 12;

/// The sets of the policy, by what is in them.
#[derive(Debug, Default)]
pub(super) struct Sets {
    known: Vec<(String, Addresses)>,
    used: Vec<bool>,
}

impl Sets {
    /// Those that the text names.
    pub fn new(known: Vec<(String, Addresses)>) -> Self {
        let used = vec![false; known.len()];
        Self { known, used }
    }

    fn find(&mut self, addresses: &Addresses) -> Option<String> {
        let at = self.known.iter().position(|(_, members)| members == addresses)?;
        self.used[at] = true;
        Some(format!("\"@{}\"", self.known[at].0))
    }

    fn make(&mut self, addresses: &Addresses) -> String {
        let mut number = self.known.len() + 1;
        while self.known.iter().any(|(name, _)| *name == format!("set-{number}")) {
            number += 1;
        }
        self.known.push((format!("set-{number}"), addresses.clone()));
        self.used.push(true);
        format!("\"@set-{number}\"")
    }

    /// `[sets]`, with those that a rule names.
    pub fn section(&self) -> String {
        let used = self.known.iter().zip(&self.used).filter(|(_, used)| **used);
        let lines = used.map(|((name, members), _)| {
            let words = address_words(members).join(", ");
            format!("{} = [{words}]\n", key(name))
        });
        let lines = lines.collect::<String>();
        if lines.is_empty() { lines } else { format!("\n[sets]\n{lines}") }
    }
}

/// A key of TOML, in quotes if it needs them.
pub(super) fn key(word: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !word.is_empty() && word.chars().all(bare) { word.to_owned() } else { quoted(word) }
}

/// A string of TOML.
pub(super) fn quoted(word: &str) -> String {
    toml::Value::from(word).to_string()
}

/// A codepoint by its name, else its number.
pub(super) fn dscp_word(dscp: u8) -> String {
    Dscp::new(dscp).map_or_else(|| dscp.to_string(), |dscp| dscp.to_string())
}

/// `{ dscp = "EF", ... }` without the interface; nothing if it holds for every packet.
pub(super) fn text(when: &Condition, sets: &mut Sets) -> String {
    let mut fields = Vec::new();
    fields.extend(local(when));
    fields.extend(dscp(when.dscp));
    if when.src.is_none() && when.dst.is_none() && when.families != V4 | V6 {
        fields.push(format!("family = \"{}\"", if when.families == V4 { "ipv4" } else { "ipv6" }));
    }
    fields.extend(when.numbers.iter().map(|(field, spans)| number(*field, spans)));
    for (key, addresses) in [("src", &when.src), ("dst", &when.dst)] {
        if let Some(addresses) = addresses {
            fields.push(address(key, &addresses.clone().of_families(when.families_of_addresses()), sets));
        }
    }
    fields.extend(fragments(when.fragments));
    fields.extend(when.mark.iter().map(|bits| format!("mark = {}", mark(*bits))));
    fields.extend(when.mark_not.first().map(|bits| format!("mark-not = {}", mark(*bits))));
    if fields.is_empty() { String::new() } else { format!("{{ {} }}", fields.join(", ")) }
}

fn local(when: &Condition) -> Vec<String> {
    let list = |names: &[String]| list(names.iter().map(|name| quoted(name)).collect());
    let origin = match when.local {
        Some(true) => Some("origin = \"local\"".to_owned()),
        Some(false) if when.from.is_none() => Some("origin = \"forwarded\"".to_owned()),
        _ => None,
    };
    let from = when.from.as_deref().map(|names| format!("from = {}", list(names)));
    let not = (!when.from_not.is_empty()).then(|| format!("from-not = {}", list(&when.from_not)));
    origin.into_iter().chain(from).chain(not).collect()
}

fn mark((value, mask): Bits) -> String {
    format!("\"{value:#x}/{mask:#x}\"")
}

fn dscp(bits: u64) -> Option<String> {
    if bits == u64::MAX {
        return None;
    }
    let spans = |bits: u64| Spans::of((0..64).filter(|dscp| bits >> dscp & 1 == 1).map(|dscp| (dscp, dscp)));
    let words = |bits: u64| spans(bits).ranges().iter().flat_map(|range| dscp_words(*range)).collect::<Vec<_>>();
    let (plain, turned) = (words(bits), words(!bits));
    Some(if turned.len() < plain.len() {
        format!("dscp-not = {}", list(turned))
    } else {
        format!("dscp = {}", list(plain))
    })
}

/// A long range is one word, a short one a word for each codepoint.
fn dscp_words((first, last): (u128, u128)) -> Vec<String> {
    let word = |dscp: u128| dscp_word(u8::try_from(dscp).unwrap_or_default());
    if last - first > 3 {
        return vec![format!("\"{first}-{last}\"")];
    }
    (first..=last).map(|dscp| quoted(&word(dscp))).collect()
}

fn number(field: Number, spans: &Spans) -> String {
    let words = |spans: &Spans| spans.ranges().iter().map(|range| number_word(field, *range)).collect::<Vec<_>>();
    let (plain, turned) = (words(spans), words(&spans.complement(field.most())));
    // Either port outside of a range is not the same as neither inside of it.
    if field != Number::Port && !turned.is_empty() && turned.len() < plain.len() {
        return format!("{}-not = {}", field.key(), list(turned));
    }
    format!("{} = {}", field.key(), list(plain))
}

fn number_word(field: Number, (first, last): (u128, u128)) -> String {
    if first != last {
        return format!("\"{first}-{last}\"");
    }
    let name = protocols::NAMES.iter().find(|(_, number)| field == Number::Proto && u128::from(*number) == first);
    name.map_or_else(|| first.to_string(), |(name, _)| quoted(name))
}

fn address(key: &str, addresses: &Addresses, sets: &mut Sets) -> String {
    let turned = addresses.complement();
    // Turned around, it has to be about the same families.
    let may_turn = turned.families() == addresses.families();
    if let Some(name) = sets.find(addresses) {
        return format!("{key} = {name}");
    }
    if let Some(name) = Some(()).filter(|()| may_turn).and_then(|()| sets.find(&turned)) {
        return format!("{key}-not = {name}");
    }
    let (plain, other) = (address_words(addresses), address_words(&turned));
    let (key, words, members) = match may_turn && other.len() < plain.len() {
        true => (format!("{key}-not"), other, turned),
        false => (key.to_owned(), plain, addresses.clone()),
    };
    let value = if words.len() > MOST_IN_A_RULE { sets.make(&members) } else { list(words) };
    format!("{key} = {value}")
}

/// Prefixes, and ranges where one says it shorter.
fn address_words(addresses: &Addresses) -> Vec<String> {
    let v4 = addresses.v4.ranges().iter().flat_map(|(first, last)| {
        let [first, last] = [first, last].map(|bits| Ipv4Addr::from(u32::try_from(*bits).unwrap_or(u32::MAX)));
        let nets = Ipv4Subnets::new(first, last, 0).map(|net: Ipv4Net| (net.to_string(), net.prefix_len() == 32));
        in_words(nets.collect(), &first, &last)
    });
    let v6 = addresses.v6.ranges().iter().flat_map(|(first, last)| {
        let [first, last] = [first, last].map(|bits| Ipv6Addr::from(*bits));
        let nets = Ipv6Subnets::new(first, last, 0).map(|net: Ipv6Net| (net.to_string(), net.prefix_len() == 128));
        in_words(nets.collect(), &first, &last)
    });
    v4.chain(v6).collect()
}

fn in_words(nets: Vec<(String, bool)>, first: &impl ToString, last: &impl ToString) -> Vec<String> {
    if nets.len() > 2 {
        return vec![format!("\"{}-{}\"", first.to_string(), last.to_string())];
    }
    let shown = nets.into_iter().map(|(net, is_host)| match net.split_once('/') {
        Some((host, _)) if is_host => host.to_owned(),
        _ => net,
    });
    shown.map(|net| quoted(&net)).collect()
}

fn fragments(bits: u8) -> Option<String> {
    if bits == WHOLE | FIRST | LATER {
        return None;
    }
    let names = [(WHOLE, "no"), (FIRST, "first"), (LATER, "later")];
    let words = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| quoted(name)).collect();
    Some(format!("fragment = {}", list(words)))
}

/// One word as it is, more as a list.
pub(super) fn list(words: Vec<String>) -> String {
    match &*words {
        [one] => one.clone(),
        _ => format!("[{}]", words.join(", ")),
    }
}
