//! How things look: tables, JSON, CSV, Prometheus text. Pure: no clock, no terminal.

use jiff::tz::TimeZone;

use crate::invocation::Invocation;

pub mod csv;
pub mod dscp;
mod event;
pub mod json;
pub mod prometheus;
#[cfg(test)]
pub(crate) mod sample;
mod screen;
pub mod table;
mod text;

pub use event::{document as event_document, event, fields as event_fields};
pub use screen::WIDTH;
pub use text::{hanging, harmless, one_line};

/// What a screen depends on beside its numbers.
#[derive(Clone, Debug)]
pub struct Look {
    /// The time zone in which times are shown.
    pub zone: TimeZone,
    /// Whether the terminal shows nothing but ASCII.
    pub ascii: bool,
    /// Whether to color; it never carries anything that the text does not say.
    pub color: bool,
    /// Leaves out explanations and footnotes.
    pub quiet: bool,
    /// How our commands are typed in here.
    pub invocation: Invocation,
}
