//! A row of `stats`: some codepoints, before and after, and what we did to them.

use qos_common::{abi::Counter, ds::Dscp};

use crate::{
    render::text::{self, count, rate, shorten},
    snapshot::{
        Counts, EntryLabel, Hook,
        made::{BY_ANOTHER, Change, Maker},
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
        let mut did = self.sent(hook, out);
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

    fn sent(&self, hook: &Hook, out: impl Iterator<Item = (Dscp, Dscp, Counter)>) -> Vec<String> {
        let several = self.dscps.len() > 1;
        out.map(|(from, to, amount)| {
            let packets = count(amount.packets);
            let what = if several { format!("{packets} {from} -> {to}") } else { format!("{packets} -> {to}") };
            format!("{what}  {}", by_whom(hook, Change::remark(from, to)))
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

/// What is in force and was hit, as far as it may have done it; else an earlier policy.
fn by_whom(hook: &Hook, change: Change) -> String {
    let made = hook.made(change).words(names, count);
    if made == BY_ANOTHER { format!("({made})") } else { made }
}

/// The first of them, and how many more there are.
fn names(makers: &[Maker<'_>]) -> String {
    let name = |maker: &Maker<'_>| match maker {
        Maker::Rule(rule) => format!("rule: {}", shorten(&rule.name, 28)),
        Maker::Outer(table, _) => format!("outer: {}", shorten(&table.name, 20)),
        Maker::Entry(_, entry) => by_entry(entry),
    };
    match makers {
        [] => String::new(),
        [one] => name(one),
        [one, others @ ..] => format!("{} and {} more", name(one), others.len()),
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
