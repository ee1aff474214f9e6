//! `dscp`: a codepoint in every notation, and what it means to whom.

use qos_common::ds::{DsField, Dscp};

pub mod facts;
pub mod filters;
mod json;
mod text;

pub use json::{Codepoint, list, single};
pub use text::{page, table};

/// A codepoint as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The codepoint.
    pub dscp: Dscp,
    /// The whole byte, where that was given.
    pub tos: Option<DsField>,
    /// The codepoint that the same number is as a ToS byte, where a person may have meant that.
    pub as_tos: Option<Dscp>,
    /// The class that has it in the policy in force here.
    pub class: Option<&'a str>,
}

impl From<Dscp> for Asked<'_> {
    fn from(dscp: Dscp) -> Self {
        Self { dscp, tos: None, as_tos: None, class: None }
    }
}
