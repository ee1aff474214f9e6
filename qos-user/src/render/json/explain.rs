//! `policy explain --json` and `policy test --json`.

use qos_common::{
    abi::{Limited, Uncounted},
    meter::Color,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::SCHEMA;
use crate::explain::{Decider, Decision, Explained, Leaves, PassedOver, RulePlace, Stage, Summary, TestRun, summary};

/// The document of one packet: the hook, and beside it all that is known of the packet.
#[must_use]
pub fn explained(stage: &Stage, explained: &Explained) -> impl Serialize + use<> {
    let mut document = head(stage);
    if let Value::Object(fields) = packet(explained) {
        document.extend(fields);
    }
    Value::Object(document)
}

/// The document of a capture.
#[must_use]
pub fn capture(stage: &Stage, packets: &[Result<Explained, String>], left_out: usize) -> impl Serialize + use<> {
    let mut document = head(stage);
    let each = packets.iter().map(|found| found.as_ref().map_or_else(|why| json!({ "error": why }), packet));
    document.insert("packets".to_owned(), each.collect());
    let sums = summary(packets)
        .into_iter()
        .map(|Summary { by, packets }| json!({ "decided_by": by.as_ref().map(decider), "packets": packets }));
    document.insert("summary".to_owned(), sums.collect());
    document.insert("left_out".to_owned(), left_out.into());
    Value::Object(document)
}

/// The document of `policy test`.
#[must_use]
pub fn test_runs(policy: (&str, &str, &str), tests: &[TestRun]) -> impl Serialize + use<> {
    let (name, hash, file) = policy;
    let mut document = Map::new();
    document.insert("schema".to_owned(), SCHEMA.into());
    document.insert("policy".to_owned(), json!({ "name": name, "hash": hash, "file": file }));
    document.extend(of_tests(tests));
    Value::Object(document)
}

/// How many tests pass and fail, and each.
pub(super) fn of_tests(tests: &[TestRun]) -> Map<String, Value> {
    let passed = tests.iter().filter(|test| test.passes()).count();
    let fields = [
        ("passed", passed.into()),
        ("failed", (tests.len() - passed).into()),
        ("tests", tests.iter().map(test).collect()),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

fn head(stage: &Stage) -> Map<String, Value> {
    let policy = stage.policy.as_ref();
    let head = json!({
        "schema": SCHEMA,
        "hook": stage.hook,
        "mechanism": stage.via,
        "policy": policy.map(|(name, hash)| json!({ "name": name, "hash": hash, "file": stage.file })),
        "in_force": stage.in_force,
        "outdated": stage.outdated,
        "other_version": stage.other_version,
        "bypassed": stage.bypassed,
        "table": stage.table,
    });
    match head {
        Value::Object(head) => head,
        _ => Map::new(),
    }
}

fn packet(explained: &Explained) -> Value {
    let Explained { packet, decision, passed_over } = explained;
    let Decision { by, came, leaves, priority, mark, color, counted, limited } = decision;
    json!({
        "packet": packet,
        "decided_by": decider(by),
        "before": came.map(|ds| ds.dscp().value()),
        "ecn": came.map(|ds| ds.ecn() as u8),
        "after": after(*leaves),
        "dropped": *leaves == Leaves::Dropped,
        "priority": priority,
        "mark": mark,
        "color": color.map(|color| match color {
            Color::Green => "green",
            Color::Yellow => "yellow",
            Color::Red => "red",
        }),
        "counted_by": counted.iter().map(place).collect::<Vec<_>>(),
        "limited": limited.map(|limited| match limited {
            Limited::LaterFragment => "later_fragment",
            Limited::HeaderChainTooLong => "header_chain_too_long",
        }),
        "passed_over": passed_over.iter().map(over).collect::<Vec<_>>(),
    })
}

fn after(leaves: Leaves) -> Option<u8> {
    match leaves {
        Leaves::As(dscp) => Some(dscp.value()),
        Leaves::Untouched | Leaves::Dropped => None,
    }
}

/// `kind` tells what the other fields are.
fn decider(by: &Decider) -> Value {
    match by {
        Decider::Rule(RulePlace { name, line }) => json!({ "kind": "rule", "rule": name, "line": line }),
        Decider::Entry { table, key, line } => json!({ "kind": "entry", "table": table, "entry": key, "line": line }),
        Decider::Outer { inner, table, key, line } => {
            json!({ "kind": "outer", "inner": inner.value(), "table": table, "entry": key, "line": line })
        }
        Decider::Local(word) => json!({ "kind": "local", "local": word }),
        Decider::Nobody => json!({ "kind": "nobody" }),
        Decider::Uncounted(Uncounted::NotIp) => json!({ "kind": "not_ip" }),
        Decider::Uncounted(Uncounted::Malformed) => json!({ "kind": "malformed" }),
    }
}

fn place(rule: &RulePlace) -> Value {
    json!({ "rule": rule.name, "line": rule.line })
}

fn over(over: &PassedOver) -> Value {
    json!({ "rule": over.rule.name, "line": over.rule.line, "not_so": over.because })
}

fn test(test: &TestRun) -> Value {
    json!({
        "test": test.name,
        "line": test.line,
        "hook": test.hook,
        "packet": test.packet,
        "passes": test.passes(),
        "expected": after(test.expected),
        "expected_drop": test.expected == Leaves::Dropped,
        "got": after(test.got.leaves),
        "got_drop": test.got.leaves == Leaves::Dropped,
        "decided_by": decider(&test.got.by),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Layout, document},
        *,
    };
    use crate::render::sample;

    #[test]
    fn the_documents_are_as_promised() {
        let one = document(&explained(&sample::stage(), &sample::explained()), Layout::Pretty).unwrap();
        insta::assert_snapshot!("a_packet", one);
        let packets = [Ok(sample::explained()), Err("a frame of 9 bytes".to_owned())];
        insta::assert_snapshot!(
            "a_capture",
            document(&capture(&sample::stage(), &packets, 7), Layout::Pretty).unwrap()
        );
        let runs = test_runs(("edge", "91be02aa", "edge.toml"), &sample::test_runs());
        insta::assert_snapshot!("the_tests", document(&runs, Layout::Pretty).unwrap());
    }
}
