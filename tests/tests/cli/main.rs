//! The command line as scripts know it: help, errors, exit codes, and what goes to which stream.
//!
//! Needs root and iproute2, and promtool of Prometheus.

mod errors;
mod exits;
mod expect;
mod formats;
mod help;
mod import;
mod policy;
mod streams;
