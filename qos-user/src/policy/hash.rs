//! The hash of what a policy means, whatever it was written in.

use std::collections::{BTreeMap, BTreeSet};

use qos_common::policy::Local;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    hook::Direction,
    policy::{
        classes::Class,
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
}

#[derive(Serialize)]
struct Section<'a> {
    ingress: Option<&'a str>,
    egress: Option<&'a str>,
    local: u8,
}

/// The first eight hexadecimal digits of the SHA-256 of the canonical form.
pub(super) fn hash(name: &str, classes: &[Class], interfaces: &[Interface], tables: &[RemarkTable]) -> String {
    let canonical = Canonical {
        version: super::VERSION,
        name,
        classes: classes.iter().map(|class| (&*class.name, class.dscps.iter().map(|d| d.value()).collect())).collect(),
        interfaces: interfaces.iter().map(|interface| (&*interface.pattern, section(interface))).collect(),
        remark: tables.iter().map(|table| (&*table.name, entries(table))).collect(),
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
    Section { ingress: table(Direction::Ingress), egress: table(Direction::Egress), local }
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
