//! Real packets through a real router: what is counted is what was sent, and what is remarked arrives so.
//!
//! Needs root, iproute2, iputils-ping, tcpdump and ethtool.

mod device;
mod local;
mod marks;
mod pieces;
mod tags;
mod tcp;
mod tun;
