//! What the tests of this folder render, and how.

use jiff::tz::TimeZone;

use super::Look;
pub use crate::snapshot::sample::*;

pub fn look() -> Look {
    Look { zone: TimeZone::UTC, ascii: true, color: false, quiet: false }
}
