//! One file a command.

pub mod dscp;
