//! The data path of qosbpf, as one piece of plain Rust.
//!
//! The kernel programs and the host tests run this same code: it locates the DS field of the outermost IP header,
//! counts, decides, and rewrites ([`process`](process::process) is all of it on one screen). What differs between a
//! packet in the kernel and a slice in a test is behind two traits, [`Packet`](packet::Packet) and
//! [`Tables`](process::Tables).
//!
//! The words are those of RFC 2474 (DS field), RFC 2475 (marker, meter, dropper) and RFC 3168 (ECN).
//!
//! # No panic
//!
//! Nothing here panics, whatever the bytes of a packet, the values of a map or the word of a user are: in the kernel there
//! is nobody to catch it, and the verifier accepts no program that could. What a packet claims is compared with its end
//! before it is read; a packet that is not understood is counted and left alone. Two things are the caller's: a
//! [`Header`](locate::Header) comes from [`locate`](locate::locate) on the same packet, and `Tables::remarked` returns the
//! half that `RemarkedHalf::of` names. If not, counts are wrong, and still nothing panics. Fuzzing, and property tests over any bytes
//! under any table, hold us to it.
//!
//! # What is not here
//!
//! No `unsafe`, no allocation, no knowledge of aya, of maps, of clocks or of files.
#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod checksum;
pub mod classify;
pub mod condition;
pub mod ds;
pub mod event;
pub mod flow;
pub mod gso;
pub mod inside;
pub mod locate;
pub mod meter;
pub mod notation;
pub mod packet;
pub mod policy;
pub mod process;
pub mod remark;
pub mod rules;
pub mod tunnel;
