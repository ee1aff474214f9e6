//! Rules of iptables, from `iptables-save`.

use qos_common::ds::{DsField, Dscp};

use super::{
    Command,
    outside::{Asks, Does, Interfaces, Packets, Rule, Stage, Way},
};

/// Reads what `iptables-save` or `ip6tables-save` said; `program` is the one that changes its rules.
#[must_use]
pub fn read(program: &str, saved: &str) -> Vec<Rule> {
    let mut table = "";
    let mut rules: Vec<Rule> = Vec::new();
    let mut numbers = std::collections::BTreeMap::<String, usize>::new();
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some(rule) = line.strip_prefix("-A ") {
            let words = words(rule);
            let number = numbers.entry(format!("{table} {}", words.first().map_or("", String::as_str))).or_default();
            *number += 1;
            rules.extend(read_rule(program, table, rule, &words, *number));
        }
    }
    rules
}

fn read_rule(program: &str, table: &str, text: &str, words: &[String], number: usize) -> Option<Rule> {
    let chain = words.first()?;
    let does = does(words)?;
    let removal = Command::new("").word(program).words("-t").word(table).words("-D");
    let removal = words.iter().fold(removal, |removal, word| removal.word(word));
    Some(Rule {
        place: format!("{program} -t {table} {chain} {number}"),
        text: text.split_once(' ').map_or(text, |(_, rule)| rule).to_owned(),
        does,
        ways: vec![Way { stage: Stage::of(chain), asks: asks(program, words), bridged: false }],
        removal,
    })
}

fn asks(program: &str, words: &[String]) -> Asks {
    let families = [program != "ip6tables", program == "ip6tables"];
    Asks {
        iif: interfaces(words, "-i").into_iter().collect(),
        oif: interfaces(words, "-o").into_iter().collect(),
        packets: Packets { dscps: codepoints(words), families },
    }
}

/// Words as iptables-save quotes them: `"a b"`, with a backslash before a quote.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    let mut begun = false;
    for c in line.chars() {
        match c {
            _ if escaped => {
                word.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            // In the middle of a word it is a part of it, such as of a name of an interface.
            '"' if quoted || word.is_empty() => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

/// The word behind an option.
fn behind<'a>(words: &'a [String], option: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| word == option)?;
    words.get(at + 1).map(String::as_str)
}

fn is_negated(words: &[String], option: &str) -> bool {
    words.windows(2).any(|pair| pair[0] == "!" && pair[1] == option)
}

fn does(words: &[String]) -> Option<Does> {
    match behind(words, "-j")? {
        "DSCP" => Some(Does::Mark(behind(words, "--set-dscp").and_then(|value| value.parse().ok()))),
        "TOS" => tos(words),
        "MASQUERADE" | "SNAT" | "NETMAP" => Some(Does::SourceNat),
        "DNAT" | "REDIRECT" => Some(Does::DestinationNat),
        // Of all that firewalls drop, what has a mark.
        "DROP" => Some(Does::Take("drop")).filter(|_| codepoints(words) != u64::MAX),
        "REJECT" => Some(Does::Take("reject")).filter(|_| codepoints(words) != u64::MAX),
        _ => None,
    }
}

/// `--set-tos VALUE/MASK`: the byte, of which the mask says which bits. A codepoint is known if all six bits are set.
fn tos(words: &[String]) -> Option<Does> {
    let (value, mask) = behind(words, "--set-tos")?.split_once('/')?;
    let byte = |word: &str| u8::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let (value, mask) = (byte(value)?, byte(mask)?);
    let whole = mask & 0xfc == 0xfc;
    (mask & 0xfc != 0).then(|| Does::Mark(whole.then(|| DsField::new(value).dscp())))
}

/// iptables writes a prefix of interfaces with a plus.
fn interfaces(words: &[String], option: &str) -> Option<Interfaces> {
    let name = behind(words, option)?;
    let pattern = name.strip_suffix('+').map_or_else(|| name.to_owned(), |prefix| format!("{prefix}*"));
    Some(Interfaces { patterns: vec![pattern], negated: is_negated(words, option) })
}

fn codepoints(words: &[String]) -> u64 {
    let Some(dscp) = behind(words, "--dscp").and_then(|value| value.parse::<Dscp>().ok()) else { return u64::MAX };
    let bit = 1 << dscp.value();
    if is_negated(words, "--dscp") { !bit } else { bit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::Direction;

    /// What iptables-save 1.8.9 said on Linux 6.18.
    const SAVED: &str = include_str!("testdata/iptables.txt");

    #[test]
    fn rules_that_mark_or_translate_are_found_with_their_numbers() {
        let rules = read("iptables", SAVED);
        let words: Vec<_> = rules.iter().map(Rule::words).collect();
        assert_eq!(
            words,
            [
                "iptables -t mangle FORWARD 1: -o wan+ -j DSCP --set-dscp 0x08",
                "iptables -t mangle POSTROUTING 1: ! -o lan0 -m dscp --dscp 0x2e -m comment --comment \"a b\" \
                 -j TOS --set-tos 0x10/0xff",
                "iptables -t nat PREROUTING 1: -i wan0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.3",
                "iptables -t nat POSTROUTING 1: -o wan0 -j MASQUERADE",
            ]
        );
        let does: Vec<_> = rules.iter().map(|rule| rule.does).collect();
        let mark = |value| Does::Mark(Dscp::new(value));
        assert_eq!(does, [mark(8), mark(4), Does::DestinationNat, Does::SourceNat]);
        assert_eq!(
            rules[1].removal.to_string(),
            "iptables -t mangle -D POSTROUTING '!' -o lan0 -m dscp --dscp 0x2e -m comment --comment 'a b' \
             -j TOS --set-tos 0x10/0xff"
        );
    }

    #[test]
    fn which_packets_a_rule_concerns_is_known() {
        let rules = read("iptables", SAVED);
        assert!(rules[0].concerns("wan7", Direction::Egress) && !rules[0].concerns("lan0", Direction::Egress));
        assert!(rules[1].concerns("wan0", Direction::Egress) && !rules[1].concerns("lan0", Direction::Egress));
        assert_eq!([rules[0].packets().dscps, rules[1].packets().dscps], [u64::MAX, 1 << 46]);
        assert_eq!(rules[0].packets().families, [true, false]);
        assert_eq!(read("ip6tables", SAVED)[0].packets().families, [false, true]);
    }

    #[test]
    fn what_is_dropped_by_its_mark_is_found_and_nothing_else_that_is_dropped() {
        let read = |rule: &str| read("iptables", &format!("*filter\n-A FORWARD {rule}\n"));
        let drop = &read("-o wan0 -m dscp --dscp 0x2e -j DROP")[0];
        assert_eq!(drop.words(), "iptables -t filter FORWARD 1 drops EF: -o wan0 -m dscp --dscp 0x2e -j DROP");
        assert_eq!(
            read("-m dscp --dscp 0x08 -j REJECT --reject-with icmp-port-unreachable")[0].does,
            Does::Take("reject")
        );
        assert!(read("-i wan0 -j DROP").is_empty());
    }

    #[test]
    fn a_tos_that_leaves_bits_alone_gives_no_fixed_codepoint() {
        let set = |line: &str| read("iptables", &format!("*mangle\n-A FORWARD -j TOS --set-tos {line}"));
        assert_eq!(set("0xb8/0xff")[0].does, Does::Mark(Some(Dscp::EF)));
        assert_eq!(set("0x10/0x3f")[0].does, Does::Mark(None));
        assert!(set("0x01/0x03").is_empty(), "ECN alone");
    }

    #[test]
    fn words_are_those_of_the_line() {
        assert_eq!(words(r#"A --comment "say \"x\" now" -j B"#), ["A", "--comment", "say \"x\" now", "-j", "B"]);
        assert_eq!(words(r#"A --comment "" "#), ["A", "--comment", ""]);
        assert_eq!(words(r#"A -o q"uo -j B"#), ["A", "-o", "q\"uo", "-j", "B"]);
    }
}
