//! Links of every kind that Linux has, as far as this kernel has them: marked traffic over each is counted, remarked and
//! delivered. What a kernel lacks is said.

mod card;
mod devices;
mod encapsulated;
mod hidden;
mod inside;
mod lists;
mod marks;
mod outer;
mod pppoe;
mod storm;
mod sums;
mod twice;
mod wireguard;
