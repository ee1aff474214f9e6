//! The data path of qosbpf, as one piece of plain Rust.
//!
//! The kernel programs and the host tests run this same code: it locates the DS field of the outermost IP header,
//! counts, decides, and rewrites ([`process`](process::process) is all of it on one screen). What differs between a
//! packet in the kernel and a slice in a test is behind two traits, [`Packet`](packet::Packet) and
//! [`Tables`](process::Tables).
//!
//! The words are those of RFC 2474 (DS field), RFC 2475 (marker, meter, dropper) and RFC 3168 (ECN).
//!
//! # What is not here
//!
//! No `unsafe`, no allocation, no panic on any input, no knowledge of aya, of maps, of clocks or of files.
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod checksum;
pub mod ds;
pub mod flow;
pub mod gso;
pub mod locate;
pub mod notation;
pub mod packet;
pub mod policy;
pub mod process;
pub mod remark;
