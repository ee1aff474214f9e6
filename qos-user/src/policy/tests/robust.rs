//! Whatever is in a file, it is read or refused with a report, and the report can be printed.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{EDGE, FULL, read};
use crate::policy::{MAX_DIAGNOSTICS, Source, parse};

/// Reads and, if there is anything to say, says it. What is accepted is TOML or JSON by another reader's judgement too.
fn survive(bytes: Vec<u8>) {
    let result = Source::new("policy.toml", bytes.clone()).and_then(|source| parse(&source));
    if result.is_ok() {
        let text = String::from_utf8(bytes).unwrap();
        let text = text.trim_start_matches('\u{feff}');
        let json = serde_json::from_str::<serde_json::Value>(text).map(drop).map_err(|error| error.to_string());
        let toml = toml::from_str::<toml::Table>(text).map(drop).map_err(|error| error.to_string());
        assert!(json.is_ok() || toml.is_ok(), "{text}\n{json:?}\n{toml:?}");
    }
    let report = match &result {
        Ok(policy) => policy.warnings(),
        Err(report) => {
            assert!(!report.is_empty());
            report
        }
    };
    assert!(report.diagnostics().len() <= MAX_DIAGNOSTICS);
    let text = report.render(false);
    assert_eq!(text.is_empty(), report.is_empty());
    assert!(!text.contains('\u{1b}'), "{text:?}");
    for found in report.diagnostics() {
        assert!(found.place().line >= 1 && found.place().column >= 1);
        assert!(found.title().chars().all(|c| !c.is_control() && c != '\u{202e}'), "{:?}", found.title());
    }
}

const JSON: &str = r#"{"version": 1, "name": "x", "classes": {"v": ["EF", 44]},
 "interface": {"ppp*": {"egress": "a", "local": "keep"}}, "remark": {"a": {"v": "tos=8", "other": "keep"}}}"#;

/// Every field and action, in JSON.
const RULES: &str = r#"{"version": 1, "name": "x", "sets": {"s": ["10.0.0.0/8", "::/0", "10.0.0.1-10.0.0.9"]}, "rule": [
 {"name": "a", "on": ["x:egress", "*:egress"], "match": {"dscp": "1-9", "family": 4, "proto": "udp", "src": "@s",
  "dst-not": "10.0.0.1", "port": [1, "2-3"], "vlan": 1, "pcp": 7, "length": "20-99", "fragment": "no", "mark": "1/1",
  "from": "a*"}, "drop": true, "log": "1/s"},
 {"name": "b", "on": "all", "match": {"icmp-type": 8}, "count": true, "priority": "10:200", "mark": "0x1/0xf"},
 {"name": "c", "on": "x:ingress", "meter": {"type": "rfc4115", "cir": "8mbit", "cbs": "64kB", "eir": "1.5gbit",
  "ebs": "2MiB", "overhead": -4}, "color": {"red": ["EF"]}, "green": "keep", "yellow": 8, "red": "drop"}],
 "test": [{"name": "t", "on": "x:egress", "packet": "icmp 192.0.2.1 > 192.0.2.2 dscp EF pcp 5 origin local ecn ce",
  "expect": "drop"}]}"#;

/// Pieces that mean something to a parser.
const PIECES: &[&str] = &[
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\r",
    "\r\n",
    "#",
    "\\",
    "\\u0000",
    "\0",
    "\u{1b}[31m",
    "\u{feff}",
    "é",
    "日本",
    "\u{202e}",
    "\t",
    "1",
    "-",
    "0x",
    "1e9",
    "1979-05-27",
    "true",
    "null",
    ":",
    "remark",
    "[remark.a]",
    "other",
    "keep",
    "EF",
    "tos=",
    "99999999999999999999",
    "*",
    " ",
    "[[rule]]",
    "[[test]]",
    "[rule.match]",
    "on = \"all\"",
    "-not",
    "@s",
    "/",
    "::",
    "10.0.0.0/8",
    "8mbit",
    "1-2",
    " > ",
    "tcp",
];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        survive(bytes);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        survive(text.clone().into_bytes());
        survive(format!("{{{text}").into_bytes());
    }

    #[test]
    fn any_pieces(pieces in vec(piece(), 0..40)) {
        survive(pieces.concat());
        survive([b"{".to_vec(), pieces.concat()].concat());
    }

    #[test]
    fn mutations_of_a_valid_file(
        text in proptest::sample::select(&[JSON, EDGE, FULL, RULES]),
        mutations in vec((any::<Index>(), 0usize..12, piece()), 1..6),
    ) {
        let mut bytes = text.as_bytes().to_vec();
        for (index, removed, piece) in mutations {
            let start = index.index(bytes.len() + 1);
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, piece);
        }
        survive(bytes);
    }
}

#[test]
fn every_truncation() {
    for text in [EDGE, JSON, FULL, RULES] {
        assert!(read(text).is_ok());
        for end in 0..text.len() {
            survive(text.as_bytes()[..end].to_vec());
        }
    }
}

#[test]
fn a_large_file_of_one_line_or_of_many() {
    let keys: String = (0..30_000).map(|n| format!("\"k{n}\": 1, ")).collect();
    survive(format!("{{{keys}}}").into_bytes());
    let lines: String = (0..30_000).map(|n| format!("k{n} = 1\n")).collect();
    survive(format!("[remark.a]\n{lines}").into_bytes());
    survive("[remark.a]\n".repeat(30_000).into_bytes());
    let classes: String = (0..3_000).map(|n| format!("class{n} = []\n")).collect();
    let keys: String = (0..3_000).map(|n| format!("clas{n} = 1\n")).collect();
    survive(format!("[classes]\n{classes}[remark.a]\n{keys}").into_bytes());
    let sections: String = (0..20_000).map(|n| format!("[interface.eth{n}]\negress = \"a\"\n")).collect();
    survive(format!("version = 1\nname = \"x\"\n[remark.a]\nother = 0\n{sections}").into_bytes());
}
