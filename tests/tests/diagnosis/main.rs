//! `doctor` and `why` on real faults: each is named, and its cure works when it is typed in.

mod behind;
mod bridge;
mod cures;
mod decided;
mod doctor;
mod families;
mod flows;
mod forgotten;
mod meant;
mod operator;
mod outdated;
mod own;
mod pasted;
mod qdisc;
mod remedy;
mod suspects;
mod tunnel;
mod unseen;
mod way;
mod why;
mod younger;
