//! A row of `stats`: some codepoints, before and after, and what we did to them.

use qos_common::{abi::Counter, ds::Dscp};

use crate::{
    render::text::{self, count, rate, shorten},
    snapshot::{
        Counts, EntryLabel, Hook,
        named::OTHER,
        rates::{self, HookRates, Rate},
        total,
    },
};

/// Some codepoints that are shown together: one, or those of a class.
pub struct Row {
    /// The first cells.
    pub label: Vec<String>,
    /// What it is about.
    pub dscps: Vec<Dscp>,
}

impl Row {
    /// All cells of the row; rates only if there are any.
    pub fn cells(self, hook: &Hook, counts: &Counts, rates: Option<&HookRates>, since: &str) -> Vec<String> {
        let before = total(self.dscps.iter().map(|dscp| counts.before(*dscp)));
        let after = total(self.dscps.iter().map(|dscp| counts.after(*dscp)));
        let did = self.did(hook, counts, before, since).join("   ");
        let mut cells = self.label;
        cells.extend(numbers(before, rates.map(|rates| sum(&self.dscps, &rates.before))));
        cells.extend(numbers(after, rates.map(|rates| sum(&self.dscps, &rates.after))));
        cells.push(did);
        cells
    }

    /// The sentences of the column WHAT WE DID.
    fn did(&self, hook: &Hook, counts: &Counts, before: Counter, since: &str) -> Vec<String> {
        let has = |dscp: &Dscp| self.dscps.contains(dscp);
        let out = counts.changes().filter(|(from, _, _)| has(from));
        let mut did = self.sent(hook, counts, out);
        let within = counts.changes().filter(|(from, to, _)| has(to) && !has(from));
        did.extend(within.map(|(from, _, amount)| format!("{} <- {from}", count(amount.packets))));
        let dropped = total(self.dscps.iter().map(|dscp| counts.dropped(*dscp)));
        if dropped.packets > 0 {
            did.push(format!("{} dropped", count(dropped.packets)));
        }
        if did.is_empty() {
            did.extend(if before.packets == 0 { Some(format!("none came in since {since}")) } else { self.note() });
        }
        did
    }

    fn sent(&self, hook: &Hook, counts: &Counts, out: impl Iterator<Item = (Dscp, Dscp, Counter)>) -> Vec<String> {
        let several = self.dscps.len() > 1;
        out.map(|(from, to, amount)| {
            let packets = count(amount.packets);
            let what = if several { format!("{packets} {from} -> {to}") } else { format!("{packets} -> {to}") };
            format!("{what}  {}", by_whom(hook, counts, from, to))
        })
        .collect()
    }

    /// What unnamed codepoints usually are.
    fn note(&self) -> Option<String> {
        let [dscp] = self.dscps.as_slice() else { return None };
        match dscp.value() {
            54 => Some("(Linux ICMP errors look like this)".to_owned()),
            2 | 4 | 6 => Some("(left over when a router clears the ToS precedence)".to_owned()),
            _ => None,
        }
    }
}

/// The rules and the entry that decide so now and were hit; what was counted under an earlier policy has none.
fn by_whom(hook: &Hook, counts: &Counts, from: Dscp, to: Dscp) -> String {
    let hit = hook.rules.iter().filter(|count| count.counted.packets > 0 && count.rule.may_send(from, to));
    let mut names: Vec<String> = hit.map(|count| format!("rule: {}", shorten(&count.rule.name, 28))).collect();
    names.extend(hook.outer_that_sends(from, to).map(|table| format!("outer: {}", shorten(&table.name, 20))));
    let entry = hook.table.as_ref().and_then(|table| table.entries.get(from.index()));
    let asked = counts.tabled(from).packets > 0;
    names.extend(entry.filter(|entry| asked && entry.to == to).map(by_entry));
    match names.as_slice() {
        [] => "(by an earlier policy)".to_owned(),
        [one] => one.clone(),
        [one, others @ ..] => format!("{one} and {} more", others.len()),
    }
}

fn by_entry(entry: &EntryLabel) -> String {
    let key = if entry.key == OTHER { OTHER.to_owned() } else { shorten(&entry.key, 20) };
    format!("table: {key} (line {})", entry.line)
}

/// Packets, and bit/s if there are rates.
pub fn numbers(amount: Counter, rate_now: Option<Rate>) -> Vec<String> {
    let packets = std::iter::once(count(amount.packets));
    packets.chain(rate_now.map(|now| rate(now.bits))).collect()
}

/// The headings in front of [`Row::cells`]'s cells.
pub fn headings(label: &[&'static str], with_rates: bool) -> Vec<&'static str> {
    let mut headings = label.to_vec();
    for packets in [">BEFORE pkts", ">AFTER pkts"] {
        headings.push(packets);
        if with_rates {
            headings.push(">bit/s");
        }
    }
    headings.push("WHAT WE DID");
    headings
}

/// The rates of some codepoints together.
pub fn sum(dscps: &[Dscp], all: &[Rate; Dscp::COUNT]) -> Rate {
    rates::total(dscps.iter().map(|dscp| all[dscp.index()]))
}

/// `EF` and `46`; the number alone where there is no name.
pub fn label(dscp: Dscp) -> Vec<String> {
    match dscp.name() {
        Some(name) => vec![name.to_owned(), dscp.value().to_string()],
        None => vec![text::mark(dscp), String::new()],
    }
}
