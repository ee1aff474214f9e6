//! The policy: parse, check, compile. Pure: no file, no clock, no kernel.
