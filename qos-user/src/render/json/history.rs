//! `policy history --json`.

use serde::Serialize;
use serde_json::json;

use super::SCHEMA;
use crate::{render::text::rfc3339, status::PastPolicy};

/// The document, the latest first.
#[must_use]
pub fn history(past: &[PastPolicy]) -> impl Serialize + use<> {
    let policies = past.iter().map(|past| {
        json!({
            "number": past.number,
            "time": rfc3339(past.when),
            "by": past.by,
            "name": past.name,
            "hash": past.hash,
            "file": past.file,
            "in_force": past.in_force,
            "taken_back": past.taken_back,
        })
    });
    json!({ "schema": SCHEMA, "policies": policies.collect::<Vec<_>>() })
}
