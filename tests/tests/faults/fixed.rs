//! What is the same in every run of what was said of a fault: all but numbers, and names of maps.

use std::iter;

use anyhow::ensure;

/// Whether two cells of the table say the same.
pub fn is_same(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(fixed);
    let (one, other): (Vec<_>, Vec<_>) = (one.split(" / ").collect(), other.split(" / ").collect());
    one.len() == other.len() && one.into_iter().zip(other).all(|(one, other)| is_same_line(one, other))
}

/// Lines are cut for their width, and a number in one may be longer than in the other: it then lacks a word at its end, or a
/// command, which has a line of its own.
fn is_same_line(one: &str, other: &str) -> bool {
    const WORD: usize = 12;
    let (shorter, longer) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let rest = longer.strip_prefix(shorter);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ') && (rest.len() <= WORD || shorter.ends_with(':')))
}

/// Without numbers, which are counts, identifiers and parts of the names of namespaces; without the names of maps, of which the
/// kernel refuses any first; and without the spaces that make columns.
fn fixed(text: &str) -> String {
    said_once(&without_numbers(&without_maps(text)))
}

/// A map is named behind the word, or in quotes.
fn without_maps(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let before = iter::once("").chain(words.iter().copied());
    let words = words.iter().zip(before).map(|(word, before)| match word.trim_end_matches([':', ',', ';']) {
        name if before == "map" && is_map(name) => word.replace(name, "MAP"),
        _ => (*word).to_owned(),
    });
    ['`', '"'].into_iter().fold(words.collect::<Vec<_>>().join(" "), |text, quote| {
        let parts = text.split(quote).map(|part| if is_map(part) { "MAP" } else { part });
        parts.collect::<Vec<_>>().join(&quote.to_string())
    })
}

/// Two programs are told of only where the kernel refuses another map of each.
fn said_once(text: &str) -> String {
    let (before, rest) = text.split_once(", and to the program for packets in several pieces: ").unwrap_or((text, ""));
    let (again, behind) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    if before.ends_with(again) { format!("{before}{behind}") } else { text.to_owned() }
}

fn is_map(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

fn without_numbers(text: &str) -> String {
    let mut fixed = String::new();
    let mut rest = text;
    while let Some((before, number)) = rest.find(|c: char| c.is_ascii_digit()).map(|at| rest.split_at(at)) {
        fixed.push_str(before);
        fixed.push('#');
        // 1,234 and 8:3 are one, as is 2844-3 in the name of a namespace.
        rest = number.trim_start_matches(|c: char| c.is_ascii_digit() || "-.:,".contains(c));
    }
    fixed + rest
}

/// Two runs of the same are told from a message that has changed.
pub fn tells_runs_from_changes() -> anyhow::Result<()> {
    for (one, other) in [
        ("0 of 1810 lost; as DSCP: 279 as 34, 921 as 46", "0 of 90 lost; as DSCP: 1 as 34, 2,000 as 46"),
        (
            "error: key with no value / --> FOLDER/wrong:8:3 / \\|",
            "error: key with no value / --> FOLDER/wrong:11:3 / \\|",
        ),
        ("failed to create map `ROWS`: os error 12", "failed to create map `AYA_LOGS`: os error 12"),
        ("no room for the pin of the map RULES: No space", "no room for the pin of the map BUCKETS: No space"),
        ("map `Some(\"COLORS\")` requested pinning", "map `Some(\"RULES\")` requested pinning"),
        (
            "lo: refused map `ROWS`, and to the program for packets in several pieces: refused map `RULES`; tcx: no",
            "lo: refused map `EVENTS`; tcx: no",
        ),
        ("network namespace qosbpf-2844-edge / x", "network namespace qosbpf-31-3-edge / x"),
        ("! wan0:egress  MISSING  -    out        0", "! wan0:egress  MISSING  -       out        0"),
        ("/ nothing is attached: qosbpf attach IFACE", "/ nothing is attached:"),
        ("program 619926 \"a\" is qosbpf's own, and no / b", "program 99 \"a\" is qosbpf's own, and no pin / b"),
    ] {
        ensure!(is_same(one, other) && is_same(other, one), "taken for a change: {one}\n{other}");
    }
    for (one, other) in [
        ("0 of 180 lost, all remarked", "0 of 180 lost while it lasted, 0 beyond"),
        ("`status`, `attach` and `detach` succeed", "`status`, `apply` and `detach` succeed"),
        ("rm -r BPFFS/qosbpf/v1/netns-1/if-2/egress/state", "rm -r BPFFS/qosbpf/v1/netns-1/if-2/egress"),
        ("lan0:ingress: cannot attach", "lan0:egress: cannot attach"),
        ("the file is empty / a policy begins", "the file is empty"),
        (
            "lo: refused map `ROWS`, and to the program for packets in several pieces: no memory; tcx: no",
            "lo: refused map `ROWS`; tcx: no",
        ),
        ("hooks go on as they are", "hooks go on as they are; nothing else was done"),
    ] {
        ensure!(!is_same(one, other) && !is_same(other, one), "not taken for a change: {one}\n{other}");
    }
    Ok(())
}
