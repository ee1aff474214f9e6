//! Meters against the text of their RFCs.

mod contention;
mod exact;
mod long_run;
mod oracle;
mod rounding;
