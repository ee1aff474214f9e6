//! A rule of IPv4 and the same one of IPv6 are one rule, as `iptables-save` and `ip6tables-save` of one set of rules
//! have them.

use std::rc::Rc;

use super::{
    condition::{Condition, V4, V6},
    first_match::{Entry, Fate, List, Outcome},
};

/// Makes one entry of two. That of IPv6 moves up to that of IPv4, so what is between them must not decide on IPv6.
pub(super) fn merge(list: &mut List) {
    let mut entries: Vec<Rc<Entry>> = Vec::with_capacity(list.entries.len());
    for entry in list.entries.drain(..) {
        let passed = entries.iter().rev().take_while(|earlier| earlier.when.families == V4).count();
        let start = entries.len() - passed;
        match entries[start..].iter_mut().find(|earlier| is_same_but_family(earlier, &entry)) {
            Some(earlier) => *earlier = both(earlier, &entry),
            None => entries.push(entry),
        }
    }
    list.entries = without_what_happens_anyway(entries, &list.last);
}

/// The end of one family's chain was followed by the rules of the other, which are gone from there now.
fn without_what_happens_anyway(entries: Vec<Rc<Entry>>, last: &Outcome) -> Vec<Rc<Entry>> {
    let mut behind = 0;
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries.into_iter().rev() {
        if entry.outcome != *last || entry.when.families & behind != 0 {
            behind |= entry.when.families;
            kept.push(entry);
        }
    }
    kept.reverse();
    kept
}

/// A meter of both would be one bucket where there were two.
fn is_same_but_family(v4: &Entry, v6: &Entry) -> bool {
    let as_v4 = || Condition { families: V4, ..v6.when.clone() };
    v6.when.families == V6
        && v4.outcome == v6.outcome
        && !matches!(v4.outcome.fate, Fate::Meter(_))
        && v4.when == as_v4()
}

fn both(v4: &Entry, v6: &Entry) -> Rc<Entry> {
    let when = Condition { families: V4 | V6, ..v4.when.clone() };
    // The last line says what the rule is called, and where it stands.
    let lines = v6.lines.iter().chain(&v4.lines).copied().collect();
    Rc::new(Entry { when, lines, ..v4.clone() })
}
