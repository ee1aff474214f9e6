//! The schema takes what the reader takes, and knows every key.

use serde_json::{Value, json};

use super::{EDGE, FULL, read};
use crate::policy::schema;

fn validates(policy: &Value) -> bool {
    jsonschema::draft202012::new(&schema()).unwrap().is_valid(policy)
}

fn example(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn it_is_a_schema() {
    assert!(jsonschema::meta::is_valid(&schema()));
}

#[test]
fn the_examples_validate() {
    for text in [EDGE, FULL] {
        let example = example(text);
        let schema = schema();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors = validator.iter_errors(&example).map(|error| error.to_string()).collect::<Vec<_>>();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn unknown_keys_do_not() {
    for place in ["", "/interface/lan0", "/rule/0", "/rule/0/match", "/rule/2/meter", "/rule/2/color", "/test/0"] {
        let mut policy = example(FULL);
        assert!(validates(&policy));
        policy.pointer_mut(place).unwrap()["nonsense"] = json!("EF");
        assert!(!validates(&policy), "{place}");
    }
}

#[test]
fn what_is_missing_or_wrong_does_not() {
    for (place, key) in [
        ("", "version"),
        ("", "name"),
        ("/rule/0", "name"),
        ("/rule/0", "on"),
        ("/remark/to-isp", "other"),
        ("/rule/2/meter", "pir"),
        ("/rule/2/meter", "type"),
        ("/test/0", "packet"),
        ("/test/0", "expect"),
    ] {
        let mut policy = example(FULL);
        policy.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        assert!(!validates(&policy), "{place} {key}");
    }
    for (place, value) in [
        ("/version", json!(2)),
        ("/rule/0/on", json!("lan0")),
        ("/rule/0/log", json!("1/d")),
        ("/rule/0/set", json!(64)),
        ("/rule/2/meter/cir", json!(8)),
        ("/rule/2/meter/cir", json!("8MBit")),
        ("/rule/3/priority", json!("6")),
        ("/rule/0/match/dscp", json!([])),
        ("/rule/3/match/dst-port", json!(65536)),
        ("/sets/pbx", json!("10.0.0.1")),
    ] {
        let mut policy = example(FULL);
        *policy.pointer_mut(place).unwrap() = value;
        assert!(!validates(&policy), "{place}");
    }
}

#[test]
fn every_key_that_is_read_is_in_it() {
    let schema = schema();
    let keys = |place: &str| schema.pointer(place).unwrap().as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    // A wrong key is answered with those that are known, if none is near.
    for (text, place) in [
        ("zzzzzzzzz = 1", "/properties"),
        ("[interface.a]\nzzzzzzzzz = 1", "/$defs/interface/properties"),
        ("[[rule]]\nzzzzzzzzz = 1", "/$defs/rule/properties"),
        ("[[rule]]\nmeter = { type = \"srtcm\", zzzzzzzzz = 1 }", "/$defs/meter/properties"),
        ("[[rule]]\nmatch = { zzzzzzzzz = 1 }", "/$defs/match/properties"),
        ("[[test]]\nzzzzzzzzz = 1", "/$defs/test/properties"),
    ] {
        let report = read(&format!("{text}\n")).unwrap_err();
        let unknown = report.diagnostics().iter().find(|found| found.title().contains("zzzzzzzzz")).unwrap();
        let mut read = unknown.help().unwrap().split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        if place.contains("match") {
            read.extend(read.clone().iter().map(|field| format!("{field}-not")));
        }
        let mut known = keys(place);
        read.sort();
        known.sort();
        assert_eq!(read, known, "{place}");
    }
}
