//! MF rules on real packets: a router with masquerade between a LAN and a WAN.

mod fields;
mod globs;
mod hand_over;
mod imported;
mod log;
mod masquerade;
mod names;
mod odd;
mod policy;
mod reader;
