//! What a policy means: bindings, compiled tables, labels, hashes.

use qos_common::{ds::Dscp, policy::Local};

use super::{EDGE, policy, read};
use crate::{
    hook::Direction::{self, Egress, Ingress},
    policy::model::Action,
};

fn dscp(word: &str) -> Dscp {
    word.parse().unwrap()
}

fn bound(sections: &str, interface: &str, direction: Direction) -> Option<String> {
    let tables = "[remark.a]\nother = 0\n[remark.b]\nother = 1\n[remark.c]\nother = 2\n";
    policy(&format!("{sections}{tables}")).bind(interface, direction).map(|bound| bound.table.name().to_owned())
}

/// The examples of the page go together.
#[test]
fn the_examples_of_the_page_are_one_policy() {
    let page = include_str!("../../../../docs/policy.md");
    let examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let policy = read(&examples.collect::<String>()).unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
    let metered = policy.rules().iter().filter(|rule| matches!(rule.action, Action::Meter(_)));
    assert_eq!((metered.count(), policy.rules().len(), policy.tests().len()), (1, 2, 1));
}

#[test]
fn the_example_says_what_its_comments_say() {
    let policy = read(EDGE).unwrap();
    assert_eq!(policy.name(), "edge-standard");
    let classes = policy.classes().iter().map(|(name, _)| &**name).collect::<Vec<_>>();
    assert_eq!(classes, ["voice", "video", "control", "bulk"]);
    assert_eq!(policy.classes()[0].1, [dscp("EF"), dscp("VA")]);

    let bound = policy.bind("ppp0", Egress).unwrap();
    assert_eq!(
        (bound.table.name(), bound.local, bound.pattern, bound.line),
        ("to-isp", Local::KeepControl, "ppp*", 18)
    );
    let to = |word| bound.table.compile().get(dscp(word));
    let expected =
        [("VA", "EF"), ("EF", "EF"), ("AF43", "AF41"), ("CS6", "DF"), ("LE", "DF"), ("CS1", "DF"), ("54", "54")];
    for (from, wanted) in expected {
        assert_eq!(to(from), dscp(wanted), "{from}");
    }
    let washed = policy.bind("ppp0", Ingress).unwrap().table.compile();
    assert_eq!((washed.get(dscp("EF")), washed.get(dscp("CS5"))), (dscp("EF"), Dscp::DF));
    assert!(!policy.bind("wan0.832", Egress).unwrap().table.compile().changes_anything());
    assert!(policy.bind("wan0", Egress).is_none());
    assert!(policy.bind("lan0", Egress).is_none());
}

#[test]
fn every_line_that_binds_is_listed() {
    let policy = read(EDGE).unwrap();
    let bindings = policy.bindings().into_iter().map(|b| (b.pattern, b.direction, b.table, b.line, b.is_glob()));
    let expected = [
        ("lan0", Ingress, Some("from-lan"), 14, false),
        ("ppp*", Ingress, Some("from-isp"), 17, true),
        ("ppp*", Egress, Some("to-isp"), 18, true),
        ("wan0.832", Egress, Some("untouched"), 22, false),
    ];
    assert_eq!(bindings.collect::<Vec<_>>(), expected);
}

#[test]
fn an_exact_name_beats_the_longest_glob() {
    let sections =
        "[interface.\"*\"]\negress = \"a\"\n[interface.\"ppp*\"]\negress = \"b\"\n[interface.ppp0]\negress = \"c\"\n";
    let expected = [("ppp0", "c"), ("ppp1", "b"), ("ppp", "b"), ("pp", "a"), ("ppp00", "b"), ("eth0", "a")];
    for (interface, table) in expected {
        assert_eq!(bound(sections, interface, Egress).as_deref(), Some(table), "{interface}");
    }
    assert_eq!(bound(sections, "ppp0", Ingress), None);
}

#[test]
fn the_section_that_wins_is_whole() {
    let sections = "[interface.\"ppp*\"]\ningress = \"a\"\negress = \"b\"\n[interface.ppp0]\negress = \"c\"\n";
    assert_eq!(bound(sections, "ppp0", Ingress), None);
    assert_eq!(bound(sections, "ppp0", Egress).as_deref(), Some("c"));
    assert_eq!(bound(sections, "ppp1", Ingress).as_deref(), Some("a"));
}

#[test]
fn loopback_only_by_its_own_name() {
    let globs = "[interface.\"*\"]\negress = \"a\"\n[interface.\"lo*\"]\negress = \"b\"\n";
    assert_eq!(bound(globs, "lo", Egress), None);
    assert_eq!(bound(globs, "lo0", Egress).as_deref(), Some("b"));
    let named = format!("{globs}[interface.lo]\negress = \"c\"\n");
    assert_eq!(bound(&named, "lo", Egress).as_deref(), Some("c"));
}

#[test]
fn local_is_read() {
    for (word, local) in [("policy", Local::Policy), ("keep", Local::Keep), ("keep-control", Local::KeepControl)] {
        let sections = format!("[interface.x]\negress = \"a\"\nlocal = \"{word}\"\n[remark.a]\nother = 0");
        assert_eq!(policy(&sections).bind("x", Egress).unwrap().local, local);
    }
}

#[test]
fn a_codepoint_beats_its_class_and_a_class_beats_other() {
    let sections = "[classes]\nvoice = [\"EF\", \"VA\"]\n[interface.x]\ningress = \"a\"\n\
        [remark.a]\nother = \"LE\"\nvoice = \"CS5\"\nVA = \"keep\"\n";
    let policy = policy(sections);
    let table = policy.bind("x", Ingress).unwrap().table;
    let (compiled, label) = (table.compile(), table.label());
    assert_eq!((&*label.name, label.entries.len()), ("a", 64));
    for dscp in Dscp::all() {
        let (key, to, line) = match dscp.value() {
            44 => ("VA", 44, 10),
            46 => ("voice", 40, 9),
            _ => ("other", 1, 8),
        };
        let entry = &label.entries[dscp.index()];
        assert_eq!((&*entry.key, entry.to.value(), entry.line), (key, to, line));
        assert_eq!(compiled.get(dscp), entry.to);
    }
}

#[test]
fn keep_gives_the_codepoint_itself() {
    let policy = policy("[interface.x]\ningress = \"a\"\n[remark.a]\nother = \"keep\"");
    let label = policy.tables()[0].label();
    assert!(Dscp::all().zip(&label.entries).all(|(dscp, entry)| entry.to == dscp && entry.key == "other"));
}

#[test]
fn keys_and_values_take_every_notation() {
    let sections = "[remark.a]\n\"46\" = 26\nva = \"tos=184\"\n\"tos=0x20\" = \"0b1\"\n0x01 = 0x08\nother = 0";
    let compiled = policy(sections).tables()[0].compile();
    for (from, to) in [("EF", "AF31"), ("VA", "EF"), ("CS1", "LE"), ("LE", "CS1"), ("CS5", "DF")] {
        assert_eq!(compiled.get(dscp(from)), dscp(to), "{from}");
    }
}

#[test]
fn the_label_names_the_policy() {
    let label = read(EDGE).unwrap().label(true);
    assert_eq!((&*label.name, &*label.file, label.saved), ("edge-standard", "policy.toml", true));
    assert_eq!(label.hash.len(), 8);
    assert_eq!(label.classes.len(), 4);
}

const TOML: &str = r#"
version = 1
name = "same"
[classes]
voice = ["EF", "VA"]
bulk = ["LE", 8]
[interface."ppp*"]
ingress = "a"
[interface.lan0]
egress = "b"
local = "keep"
[remark.a]
voice = "tos=40"
"46" = "keep"
other = "DF"
[remark.b]
other = "keep"
"#;

/// The same in JSON, in another order and other notations, with a default written out.
const JSON: &str = r#"
  {"remark": {"b": {"other": "keep"}, "a": {"other": 0, "ef": "keep", "voice": "AF11"}},
   "interface": {"lan0": {"local": "keep", "egress": "b"}, "ppp*": {"local": "keep-control", "ingress": "a"}},
   "classes": {"bulk": ["CS1", "le"], "voice": ["VOICE-ADMIT", "0x2e"]},
   "name": "s\u0061me", "version": 1}
"#;

#[test]
fn the_hash_is_of_the_meaning() {
    let hash = |text: &str| read(text).unwrap_or_else(|report| panic!("{}", report.render(false))).hash().to_owned();
    let same = hash(TOML);
    assert_eq!(same.len(), 8);
    assert!(same.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    assert_eq!(hash(JSON), same);
    assert_eq!(hash(&format!("\u{feff}# with a byte order mark\r\n{}", TOML.replace('\n', "\r\n"))), same);
    assert_eq!(hash(&format!("\u{feff}{JSON}")), same);
}

#[test]
fn another_meaning_is_another_hash() {
    let hash = |text: &str| read(text).unwrap().hash().to_owned();
    let changes = [
        ("\"same\"", "\"other\""),
        ("tos=40", "AF12"),
        ("\"46\" = \"keep\"", "\"46\" = 0"),
        ("\"46\" = \"keep\"", "VA = \"keep\""),
        ("egress", "ingress"),
        ("local = \"keep\"", "local = \"policy\""),
        ("ppp*", "ppp0"),
        ("\"LE\", 8", "\"LE\""),
        ("egress = \"b\"", "egress = \"a\""),
    ];
    let mut hashes = changes.map(|(from, to)| hash(&TOML.replacen(from, to, 1))).to_vec();
    hashes.push(hash(TOML));
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), changes.len() + 1);
}

#[test]
fn the_hash_stays_between_releases() {
    // `status` on a router that was upgraded must not call the running policy another one.
    assert_eq!(read(TOML).unwrap().hash(), "a0d2fee8");
}

#[test]
fn toml_in_its_other_forms() {
    let sections = "remark.a.other = \"keep\"\nremark.a.EF = 0\ninterface = { lan0 = { ingress = \"a\" } }\n";
    assert_eq!(policy(sections).bind("lan0", Ingress).unwrap().line, 5);
    let headers = "[remark.a]\nother = 0\n[remark]\nb.other = 1\n[interface]\nlan0.ingress = \"b\"\n";
    assert_eq!(policy(headers).bind("lan0", Ingress).unwrap().table.name(), "b");
}

/// It is for the egress alone, of the section that wins, and makes a hook of it that the policy names.
#[test]
fn a_table_for_outer_headers() {
    let text = "[interface.\"wan*\"]\nouter = \"a\"\n[interface.wan1]\negress = \"b\"\n[remark.a]\nother = 46\n[remark.b]\nother = 1\n";
    let policy = policy(text);
    let outer = |interface| policy.outer(interface).map(|table| table.name().to_owned());
    assert_eq!((outer("wan0"), outer("wan1"), outer("lan0")), (Some("a".to_owned()), None, None));
    assert!(policy.bind("wan0", Egress).is_none());
    assert_eq!((policy.names("wan0", Egress), policy.names("wan0", Ingress)), (Some(("wan*", None)), None));
    let bindings: Vec<_> =
        policy.bindings().iter().map(|found| (found.pattern, found.direction, found.table)).collect();
    assert_eq!(bindings, [("wan*", Egress, None), ("wan1", Egress, Some("b"))]);
    let without = text.replace("outer = \"a\"", "egress = \"a\"");
    assert_ne!(super::policy(&without).hash(), policy.hash());
}
