//! The language as a JSON Schema (draft 2020-12), with which an editor completes and underlines. It says which keys
//! there are and what kind of value each has; what a value means is for [`parse`](super::parse) to judge.

use qos_common::ds::Dscp;
use serde_json::{Map, Value, json};

use crate::{
    hook::Layer,
    policy::{protocols, rules},
};

/// The schema of a policy file, in TOML or JSON.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "qosbpf policy",
        "description": "What becomes of DS fields on the interfaces of one network namespace",
        "type": "object",
        "required": ["version", "name"],
        "additionalProperties": false,
        "properties": {
            "version": { "const": super::VERSION },
            "name": name("Shown by status, stats and metrics"),
            "classes": named("Names for groups of DSCPs; a DSCP is in at most one", list_of("dscp")),
            "sets": named("Names for addresses and prefixes of both families", list_of("address")),
            "interface": named("By name, or by a prefix with a star at its end", reference("interface")),
            "remark": named("Remark tables: DSCP to DSCP", reference("table")),
            "rule": { "type": "array", "description": "Asked in their order", "items": reference("rule") },
            "test": { "type": "array", "description": "Run before every apply", "items": reference("test") },
        },
        "$defs": {
            "dscp": dscp(),
            "mark": { "description": "A DSCP or keep", "anyOf": [{ "const": "keep" }, reference("dscp")] },
            "verdict": {
                "description": "A DSCP, keep or drop",
                "anyOf": [{ "enum": ["keep", "drop"] }, reference("dscp")],
            },
            "address": text("An address, a prefix, or a range of addresses", "^[0-9A-Fa-f.:/ -]+$"),
            "place": text("INTERFACE:ingress, INTERFACE:egress or all", "^(all|[^:/ ]+:(ingress|egress))$"),
            "rate": text("In bits a second", "^[0-9]+(\\.[0-9]+)? *(bit|kbit|mbit|gbit)$"),
            "size": text("In bytes", "^[0-9]+(\\.[0-9]+)? *(B|kB|MB|KiB|MiB)$"),
            "skb-mark": text("Bits of the skb mark: value/mask", "^(0[xX][0-9A-Fa-f]+|[0-9]+)/(0[xX][0-9A-Fa-f]+|[0-9]+)$"),
            "interface": interface(),
            "table": table(),
            "rule": rule(),
            "match": fields(),
            "meter": meter(),
            "test": test(),
        },
    })
}

fn reference(definition: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{definition}") })
}

fn text(description: &str, pattern: &str) -> Value {
    json!({ "type": "string", "description": description, "pattern": pattern })
}

fn name(description: &str) -> Value {
    json!({ "type": "string", "description": description, "minLength": 1, "maxLength": 64 })
}

fn list_of(definition: &str) -> Value {
    json!({ "type": "array", "minItems": 1, "items": reference(definition) })
}

fn one_or_list(item: &Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "minItems": 1, "items": item }] })
}

fn named(description: &str, value: Value) -> Value {
    json!({ "type": "object", "description": description, "additionalProperties": value })
}

/// An object with no other keys than these.
fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}

fn dscp() -> Value {
    let names = Dscp::all().filter_map(Dscp::name).collect::<Vec<_>>();
    json!({
        "description": "A DSCP: EF, 46, 0x2e, 0b101110, tos=184",
        "anyOf": [
            { "enum": names },
            { "type": "string", "pattern": "^([A-Za-z]+[0-9]{0,2}|[Vv][Oo][Ii][Cc][Ee]-[Aa][Dd][Mm][Ii][Tt])$" },
            { "type": "string", "pattern": "^([Tt][Oo][Ss]=)?(0[xX][0-9A-Fa-f]+|0[bB][01]+|[0-9]+)$" },
            { "type": "integer", "minimum": 0, "maximum": 63 },
        ],
    })
}

fn interface() -> Value {
    object(
        &[],
        json!({
            "ingress": name("The table for what comes in"),
            "egress": name("The table for what goes out"),
            "outer": name("The table for outer headers that this host makes, asked with the DSCP inside"),
            "local": {
                "description": "What this host made that is never remarked, metered or dropped",
                "enum": ["keep-control", "keep", "policy"],
                "default": "keep-control",
            },
            "hook": {
                "description": "The mechanism by which the program is attached",
                "enum": ["auto", "xdp", "xdp-generic", "tcx", "clsact"],
                "default": "auto",
            },
            "inside": {
                "type": "array",
                "description": "Headers behind which to look for the IP header",
                "items": { "enum": Layer::ALL.map(Layer::as_str) },
            },
        }),
    )
}

fn table() -> Value {
    json!({
        "type": "object",
        "required": ["other"],
        "properties": { "other": reference("mark") },
        "additionalProperties": reference("mark"),
    })
}

fn rule() -> Value {
    let verdict = || reference("verdict");
    object(
        &["name", "on"],
        json!({
            "name": name("Its identity: counters follow it"),
            "on": one_or_list(&reference("place")),
            "match": reference("match"),
            "set": reference("mark"),
            "drop": { "type": "boolean" },
            "meter": reference("meter"),
            "color": {
                "type": "object",
                "description": "Which DSCPs arrive colored; absent: the meter is color-blind",
                "additionalProperties": false,
                "properties": { "yellow": dscps(), "red": dscps() },
            },
            "green": verdict(),
            "yellow": verdict(),
            "red": verdict(),
            "count": { "type": "boolean" },
            "log": text("So many events in so long", "^[0-9]+/(s|min|h)$"),
            "priority": {
                "description": "The skb priority: a number, or a class of tc in hexadecimal",
                "anyOf": [
                    { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                    { "type": "string", "pattern": "^[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}$" },
                ],
            },
            "mark": reference("skb-mark"),
        }),
    )
}

/// Every field, and its `-not` form.
fn fields() -> Value {
    let mut properties = Map::new();
    for name in rules::FIELDS {
        properties.insert(name.to_owned(), field(name));
        properties.insert(format!("{name}-not"), field(name));
    }
    object(&[], Value::Object(properties))
}

fn field(name: &str) -> Value {
    match name {
        "dscp" => dscps(),
        "family" => one_or_list(&json!({ "enum": ["ipv4", "ipv6", "4", "6", 4, 6] })),
        "proto" => protocol(),
        "src" | "dst" => one_or_list(&json!({ "anyOf": [reference("address"), text("A set", "^@.+$")] })),
        "src-port" | "dst-port" | "port" | "length" => numbers(u16::MAX.into()),
        "vlan" => numbers(4094),
        "pcp" => numbers(7),
        "icmp-type" => numbers(255),
        "fragment" => one_or_list(&json!({ "enum": ["no", "first", "later"] })),
        "mark" => reference("skb-mark"),
        "origin" => one_or_list(&json!({ "enum": ["local", "forwarded"] })),
        _ => one_or_list(&json!({ "type": "string", "description": "An interface, or a prefix and a star" })),
    }
}

/// Codepoints, and names of classes, which may be any word.
fn dscps() -> Value {
    one_or_list(&json!({
        "description": "A DSCP, a class, or a range",
        "anyOf": [reference("dscp"), { "type": "string", "minLength": 1 }],
    }))
}

fn numbers(most: u32) -> Value {
    one_or_list(&json!({
        "anyOf": [
            { "type": "integer", "minimum": 0, "maximum": most },
            { "type": "string", "pattern": "^[0-9]+( *- *[0-9]+)?$" },
        ],
    }))
}

fn protocol() -> Value {
    let names = protocols::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    one_or_list(&json!({
        "anyOf": [
            { "enum": names },
            { "type": "integer", "minimum": 0, "maximum": 255 },
            { "type": "string", "pattern": "^([0-9]+( *- *[0-9]+)?|[A-Za-z0-9-]+)$" },
        ],
    }))
}

fn meter() -> Value {
    let mut meter = object(
        &["type", "cir", "cbs"],
        json!({
            "type": {
                "description": "RFC 2697, RFC 2698, RFC 4115",
                "enum": ["srtcm", "trtcm", "rfc4115"],
            },
            "cir": reference("rate"),
            "cbs": reference("size"),
            "pir": reference("rate"),
            "pbs": reference("size"),
            "eir": reference("rate"),
            "ebs": reference("size"),
            "overhead": { "type": "integer", "minimum": -64, "maximum": 256, "description": "Bytes a packet" },
        }),
    );
    meter["oneOf"] = json!([
        of_type("srtcm", &["ebs"], &["pir", "pbs", "eir"]),
        of_type("trtcm", &["pir", "pbs"], &["eir", "ebs"]),
        of_type("rfc4115", &["eir", "ebs"], &["pir", "pbs"]),
    ]);
    meter
}

fn of_type(word: &str, required: &[&str], absent: &[&str]) -> Value {
    let absent = absent.iter().map(|key| json!({ "required": [key] })).collect::<Vec<_>>();
    json!({ "properties": { "type": { "const": word } }, "required": required, "not": { "anyOf": absent } })
}

fn test() -> Value {
    object(
        &["name", "on", "packet", "expect"],
        json!({
            "name": name("Shown when it fails"),
            "on": text("The hook of one interface", "^[^:/ *]+:(ingress|egress)$"),
            "packet": { "type": "string", "description": "udp 192.0.2.1:5060 > 198.51.100.1:5060 dscp EF" },
            "expect": reference("verdict"),
        }),
    )
}
