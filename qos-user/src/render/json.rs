//! The JSON documents: `stats`, `status`, and errors. Every one carries `"schema": 1`.

use anyhow::Context as _;
use qos_common::abi::Counter;
use serde::Serialize;

use crate::{error::Failure, snapshot::PolicyLabel};

mod diagnosis;
mod diff;
mod explain;
mod history;
mod policy;
mod stats;
mod status;
mod trend;

pub use diagnosis::diagnosis;
pub use diff::diff;
pub use explain::{capture, explained, test_runs};
pub use history::history;
pub use policy::policy;
pub use stats::stats;
pub use status::status;

/// The version of the documents: within one, fields are only ever added.
pub const SCHEMA: u32 = 1;

/// How a document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Over many lines, for people.
    Pretty,
    /// On one line, for streams.
    Line,
}

/// A document as text, with a line end.
///
/// # Errors
///
/// If a value has no form in JSON, which none of this crate's has.
pub fn document(value: &impl Serialize, layout: Layout) -> anyhow::Result<String> {
    let text = match layout {
        Layout::Pretty => serde_json::to_string_pretty(value),
        Layout::Line => serde_json::to_string(value),
    };
    Ok(text.context("cannot write JSON")? + "\n")
}

/// An error for machines: `{"schema":1,"error":{"code","message","hint","file","line","column"}}`.
#[must_use]
pub fn failure(failure: &Failure) -> impl Serialize + use<> {
    Document { schema: SCHEMA, error: Some(ErrorDocument::from(failure)), errors: None }
}

/// The same for all mistakes of a file: `error` is the first, `errors` all of them.
#[must_use]
pub fn failures(failures: &[Failure]) -> impl Serialize + use<> {
    let errors: Vec<_> = failures.iter().map(ErrorDocument::from).collect();
    Document { schema: SCHEMA, error: errors.first().cloned(), errors: Some(errors) }
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    error: Option<ErrorDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<ErrorDocument>>,
}

#[derive(Clone, Serialize)]
struct ErrorDocument {
    code: &'static str,
    message: String,
    hint: Option<String>,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
}

impl From<&Failure> for ErrorDocument {
    fn from(failure: &Failure) -> Self {
        let place = failure.place.clone();
        let (line, column) = place.as_ref().map(|place| (place.line, place.column)).unzip();
        Self {
            code: failure.code,
            message: failure.message.clone(),
            hint: failure.hint.clone(),
            file: place.map(|place| place.file).or_else(|| failure.file.clone()),
            line,
            column,
        }
    }
}

#[derive(Serialize)]
struct Policy<'a> {
    name: &'a str,
    hash: &'a str,
    saved: bool,
}

impl<'a> From<&'a PolicyLabel> for Policy<'a> {
    fn from(policy: &'a PolicyLabel) -> Self {
        Self { name: &policy.name, hash: &policy.hash, saved: policy.saved }
    }
}

#[derive(Clone, Copy, Serialize)]
struct Amount {
    packets: u64,
    bytes: u64,
}

impl From<Counter> for Amount {
    fn from(Counter { packets, bytes }: Counter) -> Self {
        Self { packets, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_all_its_fields_even_where_they_are_null() {
        let bare = Failure::new("no-such-interface", "no interface \"wan9\"");
        let text = document(&failure(&bare), Layout::Line).unwrap();
        assert_eq!(
            text,
            "{\"schema\":1,\"error\":{\"code\":\"no-such-interface\",\"message\":\"no interface \\\"wan9\\\"\",\
             \"hint\":null,\"file\":null,\"line\":null,\"column\":null}}\n"
        );
        let place = crate::error::Place { file: "policy.toml".to_owned(), line: 3, column: 7 };
        let whole = Failure::new("policy", "bad").hint("write `other`").at(place);
        let text = document(&failure(&whole), Layout::Line).unwrap();
        assert!(text.contains(r#""hint":"write `other`","file":"policy.toml","line":3,"column":7"#), "{text}");
    }
}
