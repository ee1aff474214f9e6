//! The hash of what a policy means, whatever it was written in.

use std::collections::{BTreeMap, BTreeSet};

use qos_common::policy::Local;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    hook::{Direction, Layer, Via},
    policy::{
        canonical,
        check::Checked,
        compile::{Match, RemarkEntry, RemarkTable, Target},
        interfaces::Interface,
    },
};

/// Everything with a meaning, sorted, codepoints as numbers, defaults filled in.
#[derive(Serialize)]
struct Canonical<'a> {
    version: u32,
    name: &'a str,
    classes: BTreeMap<&'a str, BTreeSet<u8>>,
    interfaces: BTreeMap<&'a str, Section<'a>>,
    remark: BTreeMap<&'a str, BTreeMap<String, Option<u8>>>,
    // A policy without them has the hash that it had before there were any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sets: BTreeMap<&'a str, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tests: Vec<Value>,
}

#[derive(Serialize)]
struct Section<'a> {
    ingress: Option<&'a str>,
    egress: Option<&'a str>,
    local: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<Via>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inside: Option<&'a [Layer]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outer: Option<&'a str>,
}

/// The first eight hexadecimal digits of the SHA-256 of the canonical form.
pub(super) fn hash(policy: &Checked) -> String {
    let Checked { name, classes, interfaces, tables, sets, rules, tests, .. } = policy;
    let canonical = Canonical {
        version: super::VERSION,
        name,
        classes: classes.iter().map(|class| (&*class.name, class.dscps.iter().map(|d| d.value()).collect())).collect(),
        interfaces: interfaces.iter().map(|interface| (&*interface.pattern, section(interface))).collect(),
        remark: tables.iter().map(|table| (&*table.name, entries(table))).collect(),
        sets: sets.iter().map(|set| (&*set.name, canonical::prefixes(&set.prefixes))).collect(),
        rules: rules.iter().map(|written| canonical::rule(&written.rule)).collect(),
        tests: tests.iter().map(canonical::test).collect(),
    };
    // Strings, numbers and maps with string keys: there is nothing in it that JSON could refuse.
    let bytes = serde_json::to_vec(&canonical).unwrap_or_default();
    Sha256::digest(bytes).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn section(interface: &Interface) -> Section<'_> {
    let table = |direction| interface.bound(direction).map(|bound| &*bound.table);
    let local = match interface.local {
        Local::Policy => 0,
        Local::KeepControl => 1,
        Local::Keep => 2,
    };
    Section {
        ingress: table(Direction::Ingress),
        egress: table(Direction::Egress),
        local,
        hook: interface.hook,
        inside: interface.inside.as_deref(),
        outer: interface.outer.as_ref().map(|bound| &*bound.table),
    }
}

/// Codepoints by number, classes by name, which cannot be a number; `null` is "keep".
fn entries(table: &RemarkTable) -> BTreeMap<String, Option<u8>> {
    table.entries.iter().chain([&table.other]).map(|entry| (key(entry), value(entry.to))).collect()
}

fn key(entry: &RemarkEntry) -> String {
    match entry.on {
        Match::Dscp(dscp) => dscp.value().to_string(),
        Match::Class(_) | Match::Other => entry.key.clone(),
    }
}

const fn value(to: Target) -> Option<u8> {
    match to {
        Target::Keep => None,
        Target::Mark(dscp) => Some(dscp.value()),
    }
}
