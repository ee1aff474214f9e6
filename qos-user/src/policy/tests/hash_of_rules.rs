//! The hash of rules, sets and tests: of their meaning, and of nothing else.

use super::{FULL, policy, read};

/// The same in JSON by another reader and another writer.
fn as_json(text: &str) -> String {
    serde_json::to_string(&toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn json_means_the_same() {
    let (from_toml, from_json) = (read(FULL).unwrap(), read(&as_json(FULL)).unwrap());
    assert_eq!(from_toml.hash(), from_json.hash());
    for (one, other) in from_toml.rules().iter().zip(from_json.rules()) {
        assert!(one.conditions.iter().all(|condition| other.conditions.contains(condition)));
        assert_eq!((&one.name, &one.on, &one.action), (&other.name, &other.on, &other.action));
        assert_eq!((one.log, one.priority), (other.log, other.priority));
    }
    assert_eq!(from_toml.tests()[0].packet, from_json.tests()[0].packet);
}

const RULES: &str = "[sets]\na = [\"10.0.0.0/24\", \"10.0.1.0/24\"]\n\
    [[rule]]\nname = \"one\"\non = [\"x:egress\", \"y:egress\"]\nmatch = { dscp = \"EF\", src = \"@a\", dst-port = [5, 6] }\nset = \"DF\"\ncount = true\nlog = \"1/s\"\n\
    [[rule]]\nname = \"two\"\non = \"all\"\nmeter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"2kB\" }\npriority = 6\nmark = \"1/1\"\n\
    [[test]]\nname = \"t\"\non = \"x:egress\"\npacket = \"esp 192.0.2.1 > 192.0.2.2 dscp EF\"\nexpect = \"DF\"\n";

#[test]
fn the_hash_is_of_the_meaning_of_rules() {
    let same = policy(RULES).hash().to_owned();
    for (from, to) in [
        ("\"10.0.0.0/24\", \"10.0.1.0/24\"", "\"10.0.0.0/23\""),
        ("[5, 6]", "\"5-6\""),
        ("\"EF\", src", "[46], src"),
        ("[\"x:egress\", \"y:egress\"]", "[\"y:egress\", \"x:egress\"]"),
        ("dscp = \"EF\", src = \"@a\"", "src = \"@a\", dscp = \"EF\""),
        ("8mbit", "8000kbit"),
        ("set = \"DF\"", "set = 0"),
        ("> 192.0.2.2", ">   192.0.2.2"),
    ] {
        assert!(RULES.contains(from), "{from}");
        assert_eq!(policy(&RULES.replacen(from, to, 1)).hash(), same, "{from} {to}");
    }
}

#[test]
fn another_meaning_of_rules_is_another_hash() {
    let changes = [
        ("10.0.1.0/24", "10.0.2.0/24"),
        ("a = [", "b = ["),
        ("\"one\"", "\"three\""),
        ("x:egress\", ", "z:egress\", "),
        ("dscp =", "dscp-not ="),
        ("\"EF\"", "\"VA\""),
        ("[5, 6]", "[5]"),
        ("dst-port", "src-port"),
        ("set = \"DF\"", "set = \"keep\""),
        ("count = true", "count = false"),
        ("1/s", "1/min"),
        ("\"all\"", "\"*:egress\""),
        ("srtcm", "rfc4115"),
        ("8mbit", "9mbit"),
        ("64kB", "65kB"),
        ("priority = 6", "priority = 5"),
        ("\"1/1\"", "\"1/3\""),
        ("ebs = \"2kB\" }", "ebs = \"2kB\" }\nred = \"drop\""),
        ("ebs = \"2kB\" }", "ebs = \"2kB\" }\ncolor = { red = 1 }"),
        ("ebs = \"2kB\" }", "ebs = \"2kB\", overhead = 4 }"),
        ("> 192.0.2.2", "> 192.0.2.3"),
        ("expect = \"DF\"", "expect = \"drop\""),
        ("on = \"x:egress\"", "on = \"y:egress\""),
    ];
    let mut hashes = vec![policy(RULES).hash().to_owned()];
    for (from, to) in changes {
        let mut text = RULES
            .replacen(from, to, 1)
            .replace("src = \"@a\"", if from == "a = [" { "src = \"@b\"" } else { "src = \"@a\"" });
        if to == "rfc4115" {
            text = text.replace("ebs =", "eir = \"8mbit\", ebs =");
        }
        hashes.push(policy(&text).hash().to_owned());
    }
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn the_order_of_rules_has_a_meaning() {
    let rule =
        |name: &str| format!("[[rule]]\nname = \"{name}\"\non = \"all\"\nmatch = {{ dscp = \"EF\" }}\ncount = true\n");
    let (one, other) = (policy(&(rule("a") + &rule("b"))), policy(&(rule("b") + &rule("a"))));
    assert_ne!(one.hash(), other.hash());
}

#[test]
fn the_hash_of_rules_stays_between_releases() {
    assert_eq!(policy(RULES).hash(), "4d991065");
}
