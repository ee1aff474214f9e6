//! `doctor` and `why` on real faults: each is named, and its cure works when it is typed in.

mod behind;
mod cures;
mod doctor;
mod meant;
mod operator;
mod own;
mod pasted;
mod qdisc;
mod remedy;
mod suspects;
mod way;
mod why;
